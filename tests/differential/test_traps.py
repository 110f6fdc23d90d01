"""mcause, mtval and mepc of each kind of exception, beside Spike's and as the manual has them.

Each case is a piece of assembly that traps once. The handler stores the three registers and ends the run, so that a
case may leave the machine anywhere. Expected values stand here as well: they are checked without Spike, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bus.layout import HartEnding
from hart.asm import assemble
from hart.causes import Cause
from hart.image import Image
from tests import local_hart
from tests.differential.comparison import Pair
from tests.differential.generator import MODELS, RAM, RAM_BYTES, Model

MISALIGNED_WORK, _, MISALIGNED_TRAP, NO_COMPRESSED = MODELS
END = RAM + RAM_BYTES
NOWHERE = 0x4000_0000

FRAME = """
.option norvc
.globl _start, tohost, fromhost
_start:
    la t0, handler
    csrw mtvec, t0
    la a0, data
    li a3, 1
    {body}
    li t0, 3              # not reached: exit code 1
    j done
.balign 4
handler:
    csrr s2, mcause
    csrr s3, mtval
    csrr s4, mepc
    li t0, 1
done:
    la t1, tohost
    sd t0, 0(t1)
    j .
.data
.balign 4096
data: .dword 1, 2, 3, 4
tohost: .dword 0
fromhost: .dword 0
"""


@dataclass(frozen=True)
class Case:
    """Code with the label `here` at what traps; mtval as an expression over `pc` and `data`."""

    body: str
    cause: Cause
    tval: str
    model: Model = MISALIGNED_TRAP
    epc: str = "pc"


def _atomics(setup: str, loads: Cause, stores: Cause, tval: str) -> dict[str, Case]:
    """Every width and kind of atomic access at the address that `setup` leaves in a1."""
    cases = {}
    for letter in "wd":
        cases[f"lr.{letter}"] = (f"lr.{letter} a2, (a1)", loads)
        cases[f"sc.{letter}"] = (f"sc.{letter} a2, a3, (a1)", stores)
        cases[f"sc.{letter} reserved"] = (f"lr.{letter} a2, (a0); here: sc.{letter} a2, a3, (a1)", stores)
    for letter in "bhwd":
        cases[f"amoadd.{letter}"] = (f"amoadd.{letter} a2, a3, (a1)", stores)
        cases[f"amocas.{letter}"] = (f"amocas.{letter} a2, a3, (a1)", stores)
        cases[f"l{letter}.aq"] = (f"l{letter}.aq a2, (a1)", loads)
        cases[f"s{letter}.rl"] = (f"s{letter}.rl a2, (a1)", stores)
    cases["amocas.q"] = ("amocas.q a2, a4, (a1)", stores)
    return {
        name: Case(f"{setup}; {code if 'here:' in code else 'here: ' + code}", cause, tval)
        for name, (code, cause) in cases.items()
    }


_LM, _SM, _LA, _SA = (
    Cause.LOAD_MISALIGNED, Cause.STORE_MISALIGNED, Cause.LOAD_ACCESS_FAULT, Cause.STORE_ACCESS_FAULT,
)  # fmt: skip
BYTES = {"amoadd.b", "amocas.b", "lb.aq", "sb.rl"}
CASES: dict[str, Case] = {}
for _where, _setup, _l, _s, _tval in (
    ("misaligned", "addi a1, a0, 1", _LM, _SM, "data + 1"),
    ("nowhere", f"li a1, {NOWHERE}", _LA, _SA, f"{NOWHERE}"),
    ("misaligned nowhere", f"li a1, {NOWHERE + 1}", _LM, _SM, f"{NOWHERE + 1}"),
    ("after RAM", f"li a1, {END}", _LA, _SA, f"{END}"),
    ("before RAM", f"li a1, {RAM - 16}", _LA, _SA, f"{RAM - 16}"),
):
    for _name, _case in _atomics(_setup, _l, _s, _tval).items():
        if not (_where.startswith("misaligned") and _name in BYTES):
            CASES[f"{_name} {_where}"] = _case

CASES |= {
    "lh misaligned": Case("here: lh a2, 1(a0)", _LM, "data + 1"),
    "sd misaligned": Case("here: sd a2, 4(a0)", _SM, "data + 4"),
    "ld nowhere": Case(f"li a1, {NOWHERE}; here: ld a2, 8(a1)", _LA, f"{NOWHERE + 8}"),
    "sb nowhere": Case(f"li a1, {NOWHERE}; here: sb a2, -1(a1)", _SA, f"{NOWHERE - 1}"),
    # The portion of the access that caused the fault (privileged manual, "Machine Trap Value").
    "ld across the end": Case(f"li a1, {END - 3}; here: ld a2, 0(a1)", _LA, f"{END}", MISALIGNED_WORK),
    "sw across the end": Case(f"li a1, {END - 3}; here: sw a2, 0(a1)", _SA, f"{END}", MISALIGNED_WORK),
    "ld across the start": Case(f"li a1, {RAM - 3}; here: ld a2, 0(a1)", _LA, f"{RAM - 3}", MISALIGNED_WORK),
    "sd at the top": Case("li a1, -8; here: sd a2, 0(a1)", _SA, f"{(1 << 64) - 8}"),
    # Fetch
    "jump nowhere": Case(f"li a1, {NOWHERE}; jr a1", Cause.INSTRUCTION_ACCESS_FAULT, f"{NOWHERE}", epc=f"{NOWHERE}"),
    "jump after RAM": Case(f"li a1, {END}; jr a1", Cause.INSTRUCTION_ACCESS_FAULT, f"{END}", epc=f"{END}"),
    "half an instruction at the end": Case(
        f"li a1, {END - 2}; li a2, 0x13; sh a2, 0(a1); jr a1",
        Cause.INSTRUCTION_ACCESS_FAULT, f"{END}", epc=f"{END - 2}",
    ),
    "jalr misaligned": Case(
        "la a1, here + 2; here: jr a1", Cause.INSTRUCTION_MISALIGNED, "pc + 2", NO_COMPRESSED
    ),
    "jal misaligned": Case("here: .4byte 0x0060006f", Cause.INSTRUCTION_MISALIGNED, "pc + 6", NO_COMPRESSED),
    "beq misaligned": Case("here: .4byte 0x00000363", Cause.INSTRUCTION_MISALIGNED, "pc + 6", NO_COMPRESSED),
    # Calls
    "ecall": Case("here: ecall", Cause.ECALL_FROM_M, "0"),
    "ebreak": Case("here: ebreak", Cause.BREAKPOINT, "pc"),
    "c.ebreak": Case("here: c.ebreak", Cause.BREAKPOINT, "pc"),
    # Illegal instructions: mtval holds the instruction's bits
    "zeros": Case("here: .2byte 0", Cause.ILLEGAL_INSTRUCTION, "0"),
    "ones": Case("here: .4byte 0xffffffff", Cause.ILLEGAL_INSTRUCTION, "0xffffffff"),
    "compressed reserved": Case("here: .2byte 0x2001", Cause.ILLEGAL_INSTRUCTION, "0x2001"),  # c.addiw x0
    "compressed without C": Case("here: .2byte 0x4505, 0", Cause.ILLEGAL_INSTRUCTION, "0x4505", NO_COMPRESSED),
    "c.fld without D": Case("here: .2byte 0x2000", Cause.ILLEGAL_INSTRUCTION, "0x2000"),
    "fld without D": Case("here: .4byte 0x00053007", Cause.ILLEGAL_INSTRUCTION, "0x00053007"),
    "amocas.q odd rd": Case("here: .4byte 0x28e5c6af", Cause.ILLEGAL_INSTRUCTION, "0x28e5c6af"),
    "amocas.q odd rs2": Case("here: .4byte 0x28f5c62f", Cause.ILLEGAL_INSTRUCTION, "0x28f5c62f"),
    "lr.w with rs2": Case("here: .4byte 0x1015262f", Cause.ILLEGAL_INSTRUCTION, "0x1015262f"),
    "lr.b": Case("here: .4byte 0x1005062f", Cause.ILLEGAL_INSTRUCTION, "0x1005062f"),
    "lw without aq": Case("here: .4byte 0x3005262f", Cause.ILLEGAL_INSTRUCTION, "0x3005262f"),
    "sw without rl": Case("here: .4byte 0x38c5202f", Cause.ILLEGAL_INSTRUCTION, "0x38c5202f"),
    "sret": Case("here: .4byte 0x10200073", Cause.ILLEGAL_INSTRUCTION, "0x10200073"),
    "sfence.vma": Case("here: .4byte 0x12000073", Cause.ILLEGAL_INSTRUCTION, "0x12000073"),
    "slliw by 32": Case("here: .4byte 0x0205151b", Cause.ILLEGAL_INSTRUCTION, "0x0205151b"),
    # CSRs
    "missing register": Case("here: csrr a2, 0x5c0", Cause.ILLEGAL_INSTRUCTION, "0x5c002673"),
    "missing register, write": Case("here: csrw 0x5c0, a2", Cause.ILLEGAL_INSTRUCTION, "0x5c061073"),
    "read-only register": Case("here: csrw mhartid, a3", Cause.ILLEGAL_INSTRUCTION, "0xf1469073"),
    "read-only, nothing to set": Case(
        "csrs mhartid, x0; here: csrs mhartid, a2", Cause.ILLEGAL_INSTRUCTION, "0xf1462073"
    ),
    "read-only counter": Case("here: csrwi cycle, 0", Cause.ILLEGAL_INSTRUCTION, "0xc0005073"),
}  # fmt: skip

EVERY = pytest.mark.parametrize("name", CASES)


def _image(case: Case) -> Image:
    return assemble(FRAME.replace("{body}", case.body)).image


@EVERY
def test_trap_is_the_manuals(name):
    case = CASES[name]
    image = _image(case)
    names = {"pc": image.symbols["here"].address if "here" in image.symbols else 0}
    names["data"] = image.symbols["data"].address
    outcome = local_hart.run(
        image, extensions=case.model.extensions, ram_bytes=RAM_BYTES, max_instructions=100
    )
    assert (outcome.ending, outcome.exit_code) == (HartEnding.EXIT, 0), "it did not trap"
    seen = [hex(outcome.x[register]) for register in (18, 19, 20)]
    assert seen == [hex(case.cause), hex(eval(case.tval, names)), hex(eval(case.epc, names))]


@pytest.mark.outside
@EVERY
def test_trap_is_spikes(name, spike):
    case = CASES[name]
    assert Pair(spike, case.model).difference(_image(case)) is None
