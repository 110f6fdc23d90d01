"""KVM's GET_ONE_REG, SET_ONE_REG and GET_REG_LIST on a vCPU: the kernel's errnos in the kernel's order of
checks.

Owns the order of checks: for each class two sequences of steps, one for GET and one for SET, read top to
    bottom as
in `arch/riscv/kvm/vcpu_onereg.c` and its neighbours. The first step that refuses or answers ends the access.
Knows ids (`coordinator.registers`) and vCPUs (`coordinator.vcpu`), no messages.

There is no user memory here; a value that does not fit the size that the id gives stands where the kernel
fails to read one, and is EFAULT. Beyond the kernel, which makes such callers wait: pc and x registers of a
running hart are EBUSY.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from coordinator.machine import MachineState
from coordinator.refusal import Refusal
from coordinator.registers import (
    LAYOUT,
    SBI_EXTENSIONS,
    VECTOR_DATAP,
    WORD_BITS,
    Class,
    Csr,
    Ext,
    RegisterId,
    SbiState,
    decode,
    known,
    width,
)
from coordinator.vcpu import MASK_64, Vcpu
from hart.isa.extensions import BY_KVM_ID, Extension


@dataclass(frozen=True, slots=True)
class Access:
    """One GET (value None) or SET."""

    vcpu: Vcpu
    register: RegisterId
    value: int

    @property
    def name(self) -> str:
        """The register, for messages."""
        return self.register.name

    def refuse(self, number: int, why: str) -> Refusal:
        """The refusal of this access."""
        return Refusal(number, f"{self.name}: {why}")


Step = Callable[[Access], int | None]
"""Goes on (None), refuses (raises Refusal), or ends the access: with the value of a GET, with DONE for a
SET."""

DONE = 0


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


# Combining steps


def _in_order(*steps: Step) -> Step:
    def run(a: Access) -> int | None:
        for step in steps:
            result = step(a)
            if result is not None:
                return result
        return None

    return run


def _by_subtype(branches: Mapping[int, Step]) -> Step:
    def run(a: Access) -> int | None:
        _subtype_known(a)
        return branches[a.register.subtype or 0](a)

    return run


def _by_name(branches: Mapping[str, Step], otherwise: Step | None = None) -> Step:
    """Branch on the register's own name; comes after `_listed`."""

    def run(a: Access) -> int | None:
        branch = branches.get(_own_name(a), otherwise)
        assert branch is not None, f"no step for {a.name}"
        return branch(a)

    return run


def _own_name(a: Access) -> str:
    return LAYOUT[a.register.kind, a.register.subtype][a.register.index]


# Checks


def _size(*allowed: int) -> Step:
    def check(a: Access) -> None:
        if a.register.size not in allowed:
            sizes = " or ".join(map(str, allowed))
            raise a.refuse(errno.EINVAL, f"the id says {a.register.size} bytes, the register has {sizes}")

    return check


_word = _size(8)


def _own_size(a: Access) -> None:
    _size(width(a.register.kind, a.register.index, a.vcpu.host.vlenb))(a)


def _copied(a: Access) -> None:
    if not 0 <= a.value < 1 << 8 * a.register.size:
        raise a.refuse(errno.EFAULT, f"{a.value:#x} is no unsigned value of {a.register.size} bytes")


def _listed(a: Access) -> None:
    names = LAYOUT[a.register.kind, a.register.subtype]
    if a.register.index >= len(names):
        raise a.refuse(errno.ENOENT, f"index {a.register.index:#x} is past the last, {len(names) - 1}")


def _subtype_known(a: Access) -> None:
    if (a.register.kind, a.register.subtype) not in LAYOUT:
        raise a.refuse(errno.ENOENT, f"no subtype {a.register.subtype}")


def _at_rest(a: Access) -> None:
    if a.vcpu.machine.state is MachineState.RUNNING:
        raise a.refuse(errno.EBUSY, "the hart is running; pause the VM first")


def _not_run(a: Access) -> None:
    if a.vcpu.has_run:
        raise a.refuse(errno.EBUSY, "cannot be set once the vCPU has run")


def _extension_on(name: str) -> Step:
    def check(a: Access) -> None:
        if name not in a.vcpu.enabled:
            raise a.refuse(errno.ENOENT, f"there is no such register while {name} is off")

    return check


def _boolean(a: Access) -> None:
    if a.value not in (0, 1):
        raise a.refuse(errno.EINVAL, f"{a.value:#x} is neither 0 nor 1")


def _must_equal(what: Callable[[Vcpu], int], or_zero: bool = False) -> Step:
    def check(a: Access) -> int:
        wanted = what(a.vcpu)
        if a.value != wanted and not (or_zero and a.value == 0):
            raise a.refuse(errno.EINVAL, f"{a.value:#x} is not the host's {wanted:#x}")
        return DONE

    return check


def _keep(a: Access) -> int:
    a.vcpu.keep(a.register, a.value)
    return DONE


def _stored(default: Callable[[Vcpu], int] = lambda vcpu: 0) -> Step:
    return lambda a: a.vcpu.recall(a.register, default(a.vcpu))


# CONFIG


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


def _unchanged(default: Callable[[Vcpu], int]) -> Step:
    return lambda a: DONE if a.value == a.vcpu.recall(a.register, default(a.vcpu)) else None


def _machine_id(of_host: Callable[[Vcpu], int]) -> tuple[Step, Step]:
    return _stored(of_host), _in_order(_unchanged(of_host), _not_run, _keep)


def _block_size(of_host: Callable[[Vcpu], int]) -> tuple[Step, Step]:
    return lambda a: of_host(a.vcpu), _must_equal(of_host, or_zero=True)


_CONFIG: dict[str, tuple[Step, Step]] = {
    "isa": (
        lambda a: _letters(a.vcpu),
        _in_order(_letters_in_range, _letters_unchanged, _not_run, _clamp_letters),
    ),
    "zicbom_block_size": _block_size(lambda v: v.host.zicbom_block_size),
    "zicbop_block_size": _block_size(lambda v: v.host.zicbop_block_size),
    "zicboz_block_size": _block_size(lambda v: v.host.zicboz_block_size),
    "mvendorid": _machine_id(lambda v: v.host.mvendorid),
    "marchid": _machine_id(lambda v: v.host.marchid),
    "mimpid": _machine_id(lambda v: v.host.mimpid),
    "satp_mode": (lambda a: a.vcpu.host.satp_mode, _must_equal(lambda v: v.host.satp_mode)),
}


# CORE: index 0 is pc, 1 to 31 are x1 to x31, 32 is mode


MODE_S = 1
"""KVM's values of core.mode: 1 for S, 0 for U. A bare hart is in M-mode, which KVM has no value for: the
register is kept, and tells the guest nothing."""


def _get_x(a: Access) -> int:
    _at_rest(a)
    return a.vcpu.machine.get_x(a.vcpu.hart, a.register.index)


def _set_x(a: Access) -> int:
    _at_rest(a)
    a.vcpu.machine.set_x(a.vcpu.hart, a.register.index, a.value)
    return DONE


def _get_pc(a: Access) -> int:
    _at_rest(a)
    return a.vcpu.machine.get_pc(a.vcpu.hart)


def _set_pc(a: Access) -> int:
    _at_rest(a)
    a.vcpu.machine.set_pc(a.vcpu.hart, a.value)
    return DONE


def _set_mode(a: Access) -> int:
    a.vcpu.keep(a.register, MODE_S if a.value == MODE_S else 0)
    return DONE


# CSR


_VSIP_VALID = 1 << 1 | 1 << 5 | 1 << 9
"""The sip bits that reach the hypervisor's view: software, timer and external interrupt of S-mode."""

_CSR_NEEDS = {Csr.AIA: "Ssaia", Csr.SMSTATEEN: "Smstateen", Csr.ZICFISS: "Zicfiss"}


def _set_sip(a: Access) -> int:
    a.vcpu.keep(a.register, a.value & _VSIP_VALID)
    return DONE


def _csr(end: Step) -> Step:
    gated: dict[int, Step] = {
        s: _in_order(_extension_on(name), _listed, end) for s, name in _CSR_NEEDS.items()
    }
    return _by_subtype(gated | {Csr.GENERAL: _in_order(_listed, end)})


# TIMER


TIMER_OFF, TIMER_ON = 0, 1


def _set_time(a: Access) -> int:
    a.vcpu.clock.write(a.value)
    return DONE


def _set_timer_state(a: Access) -> int:
    if a.value != TIMER_ON and a.vcpu.recall(a.register) == TIMER_OFF:
        raise a.refuse(errno.EINVAL, "the timer is not armed")
    a.vcpu.keep(a.register, TIMER_ON if a.value == TIMER_ON else TIMER_OFF)
    return DONE


_TIMER: dict[str, tuple[Step, Step]] = {
    "frequency": (
        lambda a: a.vcpu.host.timer_frequency_hz,
        _must_equal(lambda v: v.host.timer_frequency_hz),
    ),
    "time": (lambda a: a.vcpu.clock.read(), _set_time),
    "compare": (_stored(), _keep),
    "state": (_stored(), _set_timer_state),
}


# VECTOR


def _accessible(a: Access) -> None:
    if a.register.index == VECTOR_DATAP:
        raise a.refuse(errno.ENOENT, "never accessible")


_vlenb = _must_equal(lambda v: v.host.vlenb)


# ISA_EXT and SBI_EXT


def _row(a: Access) -> Extension:
    return BY_KVM_ID[a.register.index]


def _isa_offered(a: Access) -> None:
    if a.register.index not in BY_KVM_ID:
        raise a.refuse(errno.ENOENT, f"no ISA extension has id {a.register.index}")
    if not a.vcpu.offers(_row(a)):
        raise a.refuse(errno.ENOENT, f"the host lacks {_row(a).required_host}")


def _get_isa(a: Access) -> int:
    return int(_row(a).name in a.vcpu.enabled)


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


def _multi_get(single: Step, complement: bool) -> Step:
    """Every enabled bit. The complement is taken of all 64, so that ids that do not exist read 1 there."""

    def read(a: Access) -> int:
        value = 0
        for bit, one in enumerate(_singles(a)):
            with suppress(Refusal):
                value |= (single(one) or 0) << bit
        return ~value & MASK_64 if complement else value

    return _in_order(_listed, read)


def _multi_set(single: Step, on: bool) -> Step:
    """Try each set bit; what it refuses is dropped, and clear bits do nothing."""

    def write(a: Access) -> int:
        for one in _singles(a):
            if one.value:
                with suppress(Refusal):
                    single(replace(one, value=int(on)))
        return DONE

    return _in_order(_listed, write)


def _extensions_get(single: Step) -> Step:
    return _by_subtype(
        {
            Ext.SINGLE: single,
            Ext.MULTI_EN: _multi_get(single, complement=False),
            Ext.MULTI_DIS: _multi_get(single, complement=True),
        }
    )


def _extensions_set(single: Step) -> Step:
    return _by_subtype(
        {
            Ext.SINGLE: single,
            Ext.MULTI_EN: _multi_set(single, on=True),
            Ext.MULTI_DIS: _multi_set(single, on=False),
        }
    )


# SBI_STATE


_STATE_OF = {subtype.value: subtype.name for subtype in SbiState}


def _state_on(a: Access) -> None:
    # EINVAL where every other class says ENOENT.
    if _STATE_OF.get(a.register.subtype or 0) not in a.vcpu.sbi:
        raise a.refuse(errno.EINVAL, "that SBI extension is not enabled")


_STA_DEFAULT = {"shmem_lo": MASK_64, "shmem_hi": 0}
"""No shared memory: an all-ones address."""


def _get_sta(a: Access) -> int:
    return a.vcpu.recall(a.register, _STA_DEFAULT[_own_name(a)])


def _set_sta(a: Access) -> int:
    if _own_name(a) == "shmem_hi" and a.value:
        raise a.refuse(errno.EINVAL, "an RV64 address has no high part: must be 0")
    return _keep(a)


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
    feature, part = _own_name(a).split(".")
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
    return _keep(a)


_BOOLEAN = frozenset({0, 1})

_any_size = _size(1, 2, 4, 8)


# The order of checks, class by class


_single_isa_set = _in_order(_isa_offered, _isa_unchanged, _not_run, _boolean, _switch_isa)
_single_sbi_set = _in_order(_boolean, _sbi_offered, _switch_sbi)

_GET: dict[int, Step] = {
    Class.CONFIG: _in_order(_word, _listed, _by_name({name: get for name, (get, _) in _CONFIG.items()})),
    Class.CORE: _in_order(
        _word, _listed, _by_name({"pc": _get_pc, "mode": _stored(lambda v: MODE_S)}, otherwise=_get_x)
    ),
    Class.CSR: _in_order(_word, _csr(_stored())),
    Class.TIMER: _in_order(_word, _listed, _by_name({name: get for name, (get, _) in _TIMER.items()})),
    Class.FP_F: _in_order(_extension_on("F"), _size(4), _listed, _stored()),
    Class.FP_D: _in_order(_extension_on("D"), _listed, _own_size, _stored()),
    Class.VECTOR: _in_order(
        _extension_on("V"),
        _listed,
        _own_size,
        _accessible,
        _by_name({"vlenb": lambda a: a.vcpu.host.vlenb}, otherwise=_stored()),
    ),
    Class.ISA_EXT: _in_order(_word, _extensions_get(_in_order(_isa_offered, _get_isa))),
    Class.SBI_EXT: _in_order(_word, _extensions_get(_in_order(_sbi_offered, _get_sbi))),
    Class.SBI_STATE: _in_order(
        _any_size,
        _state_on,
        _word,
        _by_subtype(
            {
                SbiState.STA: _in_order(_listed, _get_sta),
                SbiState.FWFT: _in_order(_listed, _feature_supported, _get_fwft),
            }
        ),
    ),
}

_SET: dict[int, Step] = {
    Class.CONFIG: _in_order(
        _word, _copied, _listed, _by_name({name: put for name, (_, put) in _CONFIG.items()})
    ),
    Class.CORE: _in_order(
        _word, _listed, _copied, _by_name({"pc": _set_pc, "mode": _set_mode}, otherwise=_set_x)
    ),
    Class.CSR: _in_order(_word, _copied, _csr(_by_name({"sip": _set_sip}, otherwise=_keep))),
    Class.TIMER: _in_order(
        _word, _listed, _copied, _by_name({name: put for name, (_, put) in _TIMER.items()})
    ),
    Class.FP_F: _in_order(_extension_on("F"), _size(4), _listed, _copied, _keep),
    Class.FP_D: _in_order(_extension_on("D"), _listed, _own_size, _copied, _keep),
    Class.VECTOR: _in_order(
        _extension_on("V"),
        _listed,
        _own_size,
        _accessible,
        _copied,
        _by_name({"vlenb": _vlenb}, otherwise=_keep),
    ),
    Class.ISA_EXT: _in_order(_word, _copied, _extensions_set(_single_isa_set)),
    Class.SBI_EXT: _in_order(_word, _not_run, _copied, _extensions_set(_single_sbi_set)),
    Class.SBI_STATE: _in_order(
        _any_size,
        _copied,
        _state_on,
        _word,
        _by_subtype(
            {
                SbiState.STA: _in_order(_listed, _set_sta),
                SbiState.FWFT: _in_order(_listed, _feature_supported, _set_fwft),
            }
        ),
    ),
}
