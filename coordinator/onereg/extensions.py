"""The classes ISA_EXT and SBI_EXT: extensions one by one and by the word. See `coordinator.onereg`."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import suppress

from coordinator.onereg.steps import (
    DONE,
    Access,
    Step,
    boolean,
    by_subtype,
    copied,
    in_order,
    listed,
    not_run,
    word,
)
from coordinator.refusal import Refusal
from coordinator.registers import SBI_EXTENSIONS, WORD_BITS, Ext, RegisterId
from coordinator.vcpu import MASK_64, Vcpu
from hart.isa.extensions import BY_KVM_ID, Extension

_On = Callable[[Vcpu], Iterator[int]]
"""The ids of a vCPU's extensions that are on, of those that a GET would find."""


def _row(a: Access) -> Extension:
    return BY_KVM_ID[a.register.index]


def _isa_offered(a: Access) -> None:
    if a.register.index not in BY_KVM_ID:
        raise a.refuse(errno.ENOENT, f"no ISA extension has id {a.register.index}")
    if not a.vcpu.offers(_row(a)):
        raise a.refuse(errno.ENOENT, f"the host lacks {_row(a).required_host}")


def _get_isa(a: Access) -> int:
    return int(_row(a).name in a.vcpu.enabled)


def _isa_on(vcpu: Vcpu) -> Iterator[int]:
    return (n for n, row in BY_KVM_ID.items() if row.name in vcpu.enabled and vcpu.offers(row))


def _isa_unchanged(a: Access) -> int | None:
    return DONE if a.value == _get_isa(a) else None


def _switch_isa(a: Access) -> int:
    a.vcpu.switch(_row(a), bool(a.value))
    return DONE


def _sbi_offered(a: Access) -> None:
    if a.register.index >= len(SBI_EXTENSIONS):
        raise a.refuse(errno.ENOENT, f"no SBI extension has id {a.register.index}")
    if _sbi_name(a) not in a.vcpu.host.sbi_extensions:
        raise a.refuse(errno.ENOENT, f"SBI extension {_sbi_name(a)} is not available")


def _sbi_name(a: Access) -> str:
    return SBI_EXTENSIONS[a.register.index]


def _get_sbi(a: Access) -> int:
    return int(_sbi_name(a) in a.vcpu.sbi)


def _sbi_on(vcpu: Vcpu) -> Iterator[int]:
    return (n for n, name in enumerate(SBI_EXTENSIONS) if name in vcpu.sbi & vcpu.host.sbi_extensions)


def _switch_sbi(a: Access) -> int:
    a.vcpu.switch_sbi(_sbi_name(a), bool(a.value))
    return DONE


def _singles(a: Access) -> list[Access]:
    """The SINGLE registers behind the bits of a MULTI one, in order; the value is the bit."""
    first = a.register.index * WORD_BITS
    return [
        Access(a.vcpu, RegisterId(a.register.kind, Ext.SINGLE, first + bit, 8), a.value >> bit & 1)
        for bit in range(WORD_BITS)
    ]


def _multi_get(on: _On, complement: bool) -> Step:
    """Every bit whose SINGLE register reads 1. The complement is of all 64: ids that do not exist read 1 there.

    Not put together from 64 GETs: most would be refused, and clients ask for this of each hart that they set up.
    """

    def read(a: Access) -> int:
        first = a.register.index * WORD_BITS
        value = sum(1 << number - first for number in on(a.vcpu) if first <= number < first + WORD_BITS)
        return ~value & MASK_64 if complement else value

    return in_order(listed, read)


def _multi_set(single: Step, on: bool) -> Step:
    """Try each set bit; what it refuses is dropped, and clear bits do nothing."""

    def write(a: Access) -> int:
        for one in _singles(a):
            if one.value:
                with suppress(Refusal):
                    single(one._replace(value=int(on)))
        return DONE

    return in_order(listed, write)


def _extensions_get(single: Step, on: _On) -> Step:
    return by_subtype(
        {
            Ext.SINGLE: single,
            Ext.MULTI_EN: _multi_get(on, complement=False),
            Ext.MULTI_DIS: _multi_get(on, complement=True),
        }
    )


def _extensions_set(single: Step) -> Step:
    return by_subtype(
        {
            Ext.SINGLE: single,
            Ext.MULTI_EN: _multi_set(single, on=True),
            Ext.MULTI_DIS: _multi_set(single, on=False),
        }
    )


_single_isa_set = in_order(_isa_offered, _isa_unchanged, not_run, boolean, _switch_isa)
_single_sbi_set = in_order(boolean, _sbi_offered, _switch_sbi)

GET_ISA: Step = in_order(word, _extensions_get(in_order(_isa_offered, _get_isa), _isa_on))
SET_ISA: Step = in_order(word, copied, _extensions_set(_single_isa_set))
GET_SBI: Step = in_order(word, _extensions_get(in_order(_sbi_offered, _get_sbi), _sbi_on))
SET_SBI: Step = in_order(word, not_run, copied, _extensions_set(_single_sbi_set))
