"""KVM's GET_ONE_REG, SET_ONE_REG and GET_REG_LIST on a vCPU: the kernel's errnos in the kernel's order of checks.

Owns which class is whose: for each there are two sequences of steps, one for GET and one for SET, read top to bottom as
in `arch/riscv/kvm/vcpu_onereg.c` and its neighbours. The first step that refuses or answers ends the access.
Knows ids (`coordinator.registers`) and vCPUs (`coordinator.vcpu`), no messages.

There is no user memory here; a value that does not fit the size that the id gives stands where the kernel fails to read
one, and is EFAULT. Beyond the kernel, which makes such callers wait: pc, x registers and CSRs of a running hart are
EBUSY.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

from coordinator.onereg import config, extensions, sbi_state, state, timer
from coordinator.onereg.steps import Access, Step
from coordinator.refusal import Refusal
from coordinator.registers import Class, Ext, RegisterId, decode, known
from coordinator.vcpu import Vcpu

_GET: dict[int, Step] = {
    Class.CONFIG: config.GET,
    Class.CORE: state.GET_CORE,
    Class.CSR: state.GET_CSR,
    Class.TIMER: timer.GET,
    Class.FP_F: state.GET_FP_F,
    Class.FP_D: state.GET_FP_D,
    Class.VECTOR: state.GET_VECTOR,
    Class.ISA_EXT: extensions.GET_ISA,
    Class.SBI_EXT: extensions.GET_SBI,
    Class.SBI_STATE: sbi_state.GET,
}
_SET: dict[int, Step] = {
    Class.CONFIG: config.SET,
    Class.CORE: state.SET_CORE,
    Class.CSR: state.SET_CSR,
    Class.TIMER: timer.SET,
    Class.FP_F: state.SET_FP_F,
    Class.FP_D: state.SET_FP_D,
    Class.VECTOR: state.SET_VECTOR,
    Class.ISA_EXT: extensions.SET_ISA,
    Class.SBI_EXT: extensions.SET_SBI,
    Class.SBI_STATE: sbi_state.SET,
}


def get_one_reg(vcpu: Vcpu, number: int) -> int:
    """The value of the register with this id, unsigned.

    Raises:
        Refusal: as KVM_GET_ONE_REG.

    """
    return _access(_GET, Access(vcpu, decode(number), 0))


def set_one_reg(vcpu: Vcpu, number: int, value: int) -> None:
    """Set the register with this id.

    Raises:
        Refusal: as KVM_SET_ONE_REG.

    """
    _access(_SET, Access(vcpu, decode(number), value))


def register_list(vcpu: Vcpu) -> list[int]:
    """The ids of KVM_GET_REG_LIST, in its order: every register that GET finds, except the MULTI ones."""
    return [r.encode() for r in known(vcpu.host.vlenb) if not _is_multi(r) and _exists(vcpu, r)]


def _is_multi(register: RegisterId) -> bool:
    return register.kind in (Class.ISA_EXT, Class.SBI_EXT) and register.subtype != Ext.SINGLE


def _exists(vcpu: Vcpu, register: RegisterId) -> bool:
    try:
        _access(_GET, Access(vcpu, register, 0))
    except Refusal as e:
        return e.number == errno.EBUSY
    return True


def _access(table: Mapping[int, Step], access: Access) -> int:
    steps = table.get(access.register.kind)
    if steps is None:
        raise access.refuse(errno.ENOENT, f"no register class {access.register.kind}")
    result = steps(access)
    assert result is not None, f"no step ended the access to {access.name}"
    return result
