"""The CONFIG class: misa letters, block sizes, machine ids. See `coordinator.onereg`."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress

from coordinator.onereg.steps import (
    DONE,
    Access,
    Step,
    by_name,
    copied,
    in_order,
    listed,
    must_equal,
    not_run,
    own_name,
    word,
)
from coordinator.refusal import Refusal
from coordinator.vcpu import Vcpu
from hart.isa.extensions import BY_KVM_ID, Extension


def _letters(vcpu: Vcpu) -> int:
    return sum(1 << _letter_bit(row) for row in _LETTERS if row.name in vcpu.enabled)


def _letter_bit(row: Extension) -> int:
    return ord(row.name) - ord("A")


_LETTERS = [row for row in BY_KVM_ID.values() if len(row.name) == 1]


def _letters_in_range(a: Access) -> None:
    if a.value >> 25 & 0x7F:
        raise a.refuse(errno.EINVAL, f"{a.value:#x} has bits from 31 to 25 set")


def _letters_unchanged(a: Access) -> int | None:
    return DONE if a.value == _letters(a.vcpu) else None


def _clamp_letters(a: Access) -> int:
    """Switch what may be switched, leave the rest as it is, report nothing."""
    for row in _LETTERS:
        on = bool(a.value >> _letter_bit(row) & 1)
        if a.vcpu.offers(row) and on != (row.name in a.vcpu.enabled):
            with suppress(Refusal):
                a.vcpu.switch(row, on)
    return DONE


def _get_id(a: Access) -> int:
    return a.vcpu.machine.get_machine_id(a.vcpu.hart, own_name(a))


def _id_unchanged(a: Access) -> int | None:
    return DONE if a.value == _get_id(a) else None


def _set_id(a: Access) -> int:
    a.vcpu.machine.set_machine_id(a.vcpu.hart, own_name(a), a.value)
    return DONE


_machine_id: tuple[Step, Step] = (_get_id, in_order(_id_unchanged, not_run, _set_id))


def _block_size(of_host: Callable[[Vcpu], int]) -> tuple[Step, Step]:
    return lambda a: of_host(a.vcpu), must_equal(of_host, or_zero=True)


_CONFIG: dict[str, tuple[Step, Step]] = {
    "isa": (
        lambda a: _letters(a.vcpu),
        in_order(_letters_in_range, _letters_unchanged, not_run, _clamp_letters),
    ),
    "zicbom_block_size": _block_size(lambda v: v.host.zicbom_block_size),
    "zicbop_block_size": _block_size(lambda v: v.host.zicbop_block_size),
    "zicboz_block_size": _block_size(lambda v: v.host.zicboz_block_size),
    "mvendorid": _machine_id,
    "marchid": _machine_id,
    "mimpid": _machine_id,
    "satp_mode": (lambda a: a.vcpu.host.satp_mode, must_equal(lambda v: v.host.satp_mode)),
}


GET: Step = in_order(word, listed, by_name({name: get for name, (get, _) in _CONFIG.items()}))
SET: Step = in_order(word, copied, listed, by_name({name: put for name, (_, put) in _CONFIG.items()}))
