"""The SBI_STATE class: steal-time accounting (STA) and firmware features (FWFT). See `coordinator.onereg`."""

from __future__ import annotations

import errno
from collections.abc import Callable

from coordinator.onereg.steps import (
    DONE,
    Access,
    Step,
    by_subtype,
    copied,
    in_order,
    keep,
    listed,
    own_name,
    size,
    word,
)
from coordinator.registers import SbiState
from coordinator.vcpu import MASK_64, Vcpu

_STATE_OF = {subtype.value: subtype.name for subtype in SbiState}


def _state_on(a: Access) -> None:
    # EINVAL where every other class says ENOENT.
    if _STATE_OF.get(a.register.subtype or 0) not in a.vcpu.sbi:
        raise a.refuse(errno.EINVAL, "that SBI extension is not enabled")


_STA_DEFAULT = {"shmem_lo": MASK_64, "shmem_hi": 0}
"""No shared memory: an all-ones address."""


def _get_sta(a: Access) -> int:
    return a.vcpu.recall(a.register, _STA_DEFAULT[own_name(a)])


def _set_sta(a: Access) -> int:
    if own_name(a) == "shmem_hi" and a.value:
        raise a.refuse(errno.EINVAL, "an RV64 address has no high part: must be 0")
    return keep(a)


_FWFT_SUPPORTED: dict[str, Callable[[Vcpu], bool]] = {
    "misaligned_deleg": lambda v: v.host.misaligned_delegation,
    "pointer_masking": lambda v: "Smnpm" in v.enabled,
    "pte_ad_hw_updating": lambda v: {"Svade", "Svadu"} <= v.enabled,
    "landing_pad": lambda v: "Zicfilp" in v.enabled,
    "shadow_stack": lambda v: "Zicfiss" in v.enabled,
}
_FWFT_VALUES = {"pointer_masking": frozenset({0, 7, 16})}
_FWFT_LOCK = 1


def _fwft(a: Access) -> tuple[str, str]:
    feature, part = own_name(a).split(".")
    return feature, part


def _feature_supported(a: Access) -> None:
    feature, _ = _fwft(a)
    if not _FWFT_SUPPORTED[feature](a.vcpu):
        raise a.refuse(errno.ENOENT, f"{feature} is not supported for this guest")


def _get_fwft(a: Access) -> int:
    return a.vcpu.recall(a.register, int(_fwft(a)[1] == "enable"))


def _set_fwft(a: Access) -> int:
    feature, part = _fwft(a)
    if part == "flags":
        a.vcpu.keep(a.register, a.value & _FWFT_LOCK)
        return DONE
    allowed = _FWFT_VALUES.get(feature, _BOOLEAN) if part == "value" else _BOOLEAN
    if a.value not in allowed:
        raise a.refuse(errno.EINVAL, f"{a.value:#x} is not one of {', '.join(map(str, sorted(allowed)))}")
    return keep(a)


_BOOLEAN = frozenset({0, 1})

_any_size = size(1, 2, 4, 8)


GET: Step = in_order(
    _any_size,
    _state_on,
    word,
    by_subtype(
        {
            SbiState.STA: in_order(listed, _get_sta),
            SbiState.FWFT: in_order(listed, _feature_supported, _get_fwft),
        }
    ),
)
SET: Step = in_order(
    _any_size,
    copied,
    _state_on,
    word,
    by_subtype(
        {
            SbiState.STA: in_order(listed, _set_sta),
            SbiState.FWFT: in_order(listed, _feature_supported, _set_fwft),
        }
    ),
)
