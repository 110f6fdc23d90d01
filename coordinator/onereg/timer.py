"""The TIMER class: the VM's time and a vCPU's deadline, live. See `coordinator.onereg`.

`time` is the CLINT's mtime, which the time CSR reads too: one clock for the whole VM, which a SET lets go on from
another value. It runs while the VM is paused, as KVM's does.

`compare` is the hart's mtimecmp, and `state` says whether there is a deadline: an mtimecmp of all ones, which mtime
never reaches, is none. While there is none, `compare` is a stored value that arming may use:

- SET compare moves the deadline if there is one, and is stored otherwise;
- SET state to ON makes a deadline of 1, the very value written, as KVM does: the interrupt comes at once. Under rule
  `simulator` it makes one of the stored `compare`, so that a saved timer can be restored;
- SET state to OFF takes the deadline away, and stores it as `compare`.

These can be read and set while the hart runs: it sees them as it sees another hart's store to the CLINT.
"""

from __future__ import annotations

import errno

from coordinator.onereg.steps import DONE, Access, Step, by_name, copied, in_order, listed, must_equal, word
from coordinator.registers import find
from coordinator.vcpu import MASK_64, Vcpu

OFF, ON = 0, 1
_NEVER = MASK_64
_COMPARE = find("timer.compare")
_STATE = find("timer.state")


def _deadline(vcpu: Vcpu) -> int:
    return vcpu.machine.get_deadline(vcpu.hart)


def _armed(vcpu: Vcpu) -> bool:
    # Armed by a SET, and then given the deadline that never comes: KVM has that state too.
    return _deadline(vcpu) != _NEVER or vcpu.recall(_STATE, OFF) == ON


def _arm(vcpu: Vcpu, deadline: int) -> None:
    vcpu.keep(_STATE, ON if deadline == _NEVER else OFF)
    vcpu.machine.set_deadline(vcpu.hart, deadline)


def _get_time(a: Access) -> int:
    return a.vcpu.machine.get_time()


def _set_time(a: Access) -> int:
    a.vcpu.machine.set_time(a.value)
    return DONE


def _get_compare(a: Access) -> int:
    return _deadline(a.vcpu) if _armed(a.vcpu) else a.vcpu.recall(_COMPARE, _NEVER)


def _set_compare(a: Access) -> int:
    if _armed(a.vcpu):
        _arm(a.vcpu, a.value)
    else:
        a.vcpu.keep(_COMPARE, a.value)
    return DONE


def _set_state(a: Access) -> int:
    vcpu = a.vcpu
    if a.value == ON:
        stored = vcpu.recall(_COMPARE, _NEVER) if not _armed(vcpu) else _deadline(vcpu)
        _arm(vcpu, ON if vcpu.machine.spec.rules == "kvm" else stored)
        return DONE
    if not _armed(vcpu):
        raise a.refuse(errno.EINVAL, "the timer is not armed")
    vcpu.keep(_COMPARE, _deadline(vcpu))
    vcpu.keep(_STATE, OFF)
    vcpu.machine.set_deadline(vcpu.hart, _NEVER)
    return DONE


def _frequency(vcpu: Vcpu) -> int:
    return vcpu.host.timer_frequency_hz


GET: Step = in_order(
    word,
    listed,
    by_name(
        {
            "frequency": lambda a: _frequency(a.vcpu),
            "time": _get_time,
            "compare": _get_compare,
            "state": lambda a: ON if _armed(a.vcpu) else OFF,
        }
    ),
)
SET: Step = in_order(
    word,
    listed,
    copied,
    by_name(
        {
            "frequency": must_equal(_frequency),
            "time": _set_time,
            "compare": _set_compare,
            "state": _set_state,
        }
    ),
)
