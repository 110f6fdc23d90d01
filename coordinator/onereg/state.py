"""The classes of a hart's own state: CORE, CSR, FP_F, FP_D and VECTOR. See `coordinator.onereg`.

pc, x registers and the general CSRs are those of the hart, which must stand. hartstorm's harts have no F, D, V, Ssaia,
Smstateen or Zicfiss: VMs offer none, and their registers are absent. The checks are here all the same, for they are
part of the kernel's order.
"""

from __future__ import annotations

import errno

from coordinator.onereg.steps import (
    DONE,
    Access,
    Step,
    at_rest,
    by_name,
    by_subtype,
    copied,
    extension_on,
    in_order,
    keep,
    listed,
    must_equal,
    own_name,
    own_size,
    size,
    stored,
    word,
)
from coordinator.registers import VECTOR_DATAP, Csr

# CORE: index 0 is pc, 1 to 31 are x1 to x31, 32 is mode

MODE_S = 1
"""KVM's values of core.mode: 1 for S, the guest's most privileged mode, 0 for U. A bare hart's only mode is M, which
is shown as S (`hart.supervisor_view`); rule `simulator` refuses to set another, rule `kvm` stores it without effect."""


def _get_x(a: Access) -> int:
    return a.vcpu.machine.get_x(a.vcpu.hart, a.register.index)


def _set_x(a: Access) -> int:
    a.vcpu.machine.set_x(a.vcpu.hart, a.register.index, a.value)
    return DONE


def _get_pc(a: Access) -> int:
    return a.vcpu.machine.get_pc(a.vcpu.hart)


def _set_pc(a: Access) -> int:
    a.vcpu.machine.set_pc(a.vcpu.hart, a.value)
    return DONE


def _set_mode(a: Access) -> int:
    if a.value != MODE_S and a.vcpu.machine.spec.rules == "simulator":
        raise a.refuse(errno.EINVAL, f"{a.value:#x}: the harts have one mode, shown as {MODE_S} (S)")
    a.vcpu.keep(a.register, MODE_S if a.value == MODE_S else 0)
    return DONE


GET_CORE: Step = in_order(
    word,
    listed,
    by_name(
        {"pc": in_order(at_rest, _get_pc), "mode": stored(lambda v: MODE_S)},
        otherwise=in_order(at_rest, _get_x),
    ),
)
SET_CORE: Step = in_order(
    word,
    listed,
    copied,
    by_name({"pc": in_order(at_rest, _set_pc), "mode": _set_mode}, otherwise=in_order(at_rest, _set_x)),
)


# CSR

_VSIP_VALID = 1 << 1 | 1 << 5 | 1 << 9
"""The sip bits that reach the hypervisor's view: software, timer and external interrupt of S-mode."""

_NEEDS = {Csr.AIA: "Ssaia", Csr.SMSTATEEN: "Smstateen", Csr.ZICFISS: "Zicfiss"}


def _get_csr(a: Access) -> int:
    return a.vcpu.machine.get_csr(a.vcpu.hart, own_name(a))


def _set_csr(a: Access) -> int:
    value = a.value & _VSIP_VALID if own_name(a) == "sip" else a.value
    a.vcpu.machine.set_csr(a.vcpu.hart, own_name(a), value)
    return DONE


def _csr(of_the_hart: Step, others: Step) -> Step:
    gated: dict[int, Step] = {s: in_order(extension_on(name), listed, others) for s, name in _NEEDS.items()}
    return by_subtype(gated | {Csr.GENERAL: in_order(listed, at_rest, of_the_hart)})


GET_CSR: Step = in_order(word, _csr(_get_csr, stored()))
SET_CSR: Step = in_order(word, copied, _csr(_set_csr, keep))


# FP and VECTOR


def _accessible(a: Access) -> None:
    if a.register.index == VECTOR_DATAP:
        raise a.refuse(errno.ENOENT, "never accessible")


GET_FP_F: Step = in_order(extension_on("F"), size(4), listed, stored())
SET_FP_F: Step = in_order(extension_on("F"), size(4), listed, copied, keep)
GET_FP_D: Step = in_order(extension_on("D"), listed, own_size, stored())
SET_FP_D: Step = in_order(extension_on("D"), listed, own_size, copied, keep)
GET_VECTOR: Step = in_order(
    extension_on("V"),
    listed,
    own_size,
    _accessible,
    by_name({"vlenb": lambda a: a.vcpu.host.vlenb}, otherwise=stored()),
)
SET_VECTOR: Step = in_order(
    extension_on("V"),
    listed,
    own_size,
    _accessible,
    copied,
    by_name({"vlenb": must_equal(lambda v: v.host.vlenb)}, otherwise=keep),
)
