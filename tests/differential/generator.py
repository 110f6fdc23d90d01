"""Random programs for the comparison: every row of the ISA table, edge values, atomics of all widths, traps.

Owns what a program is made of. A program is a list of items that do not depend on where they stand or on each other,
so that any subset of them is a program too: the shrinker relies on it. Runs nothing.

Every program has the same frame: a start that fills the registers, a trap handler that reads mcause, mtval and mepc
and returns behind the instruction that trapped, and an end that writes tohost. The handler overwrites t5 and t6.

What is left out, because the two machines may differ as the manual allows, stands in `Model` and `CSRS`.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bus.access import Order
from hart.asm.pseudo import constant_steps
from hart.image import Chunk, Image, Symbol
from hart.isa import BY_NAME, ROWS
from hart.isa.csrs import NUMBERS
from hart.isa.decoder import Decoder, instruction_length
from hart.isa.disassembler import disassemble
from hart.isa.effects import Effects, MemoryEffect, Transfer, Wait, effects
from hart.isa.isa_string import parse
from hart.isa.row import Row

RAM = 0x8000_0000
RAM_BYTES = 1 << 20
DATA = RAM + 0x4_0000
DATA_BYTES = 512
TOHOST = RAM + 0x5_0000
NOWHERE = (0x4000_0000, 0x2_0000_0000, RAM + RAM_BYTES, (1 << 64) - 4096)
"""Where neither machine has anything. (Spike has a debug module and a boot ROM below 0x2000 and an UART.)"""
_CLINT_MSIP, _CLINT_MTIMECMP = 0x200_0000, 0x200_4000
_MASK = (1 << 64) - 1
_HANDLER, _RESUME = 30, 29
"""The handler's first register (the next is its second), and where it finds the way back from a fetch fault."""


@dataclass(frozen=True, slots=True)
class Model:
    """One pair of machines that must agree.

    Attributes:
        isa: what both are built for.
        exact_reservations: Spike lets an SC succeed at the LR's address only, whatever its size; ours in the whole
            granule, or with `require_exact_reservation_addr` with the same address and size only. So either word and
            doubleword reservations never have one address (exact), or a granule has one address for both.

    """

    isa: str
    exact_reservations: bool = False

    @property
    def extensions(self) -> frozenset[str]:
        """What the decoder shall know."""
        return parse(self.isa)

    @property
    def zicclsm(self) -> bool:
        """Whether misaligned plain accesses work.

        Atomics and Zalasr are then compared at aligned addresses only. Misaligned ones raise "an address-misaligned
        exception or an access-fault exception" (manual, "Zaamo", "Zalrsc"): ours the former, Spike the latter
        with Zicclsm and the former without; and Spike executes misaligned Zalasr with Zicclsm, although that
        speaks of plain accesses only.
        """
        return "Zicclsm" in self.extensions


_ALL = "rv64imac_zicntr_zihpm_zihintpause_zawrs_zicond_zacas_zabha_zalasr_zba_zbb_zbs"
MODELS = (
    Model(_ALL + "_zicclsm"),
    Model(_ALL + "_zicclsm", exact_reservations=True),
    Model(_ALL),
    Model(_ALL.replace("imac", "ima"), exact_reservations=True),
)
"""With misaligned plain accesses, then without them, then without compressed instructions."""

EDGES = tuple(
    sorted(
        {
            value & _MASK
            for bits in (1, 5, 6, 7, 8, 12, 15, 16, 20, 31, 32, 33, 48, 62, 63, 64)
            for value in ((1 << bits) - 1, 1 << bits, (1 << bits) + 1, -(1 << bits), -(1 << bits) - 1)
        }
        | {0, 1, 2, _MASK, _MASK - 1, 0x5555555555555555, 0xAAAAAAAAAAAAAAAA, 0x0123456789ABCDEF}
        | {0x80, 0xFF80, 0x8000_0000, 0xFFFF_FFFF_8000_0000, 0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000}
    )
)
"""0, 1, -1, the least and greatest of each width, powers of two and their neighbours."""

WRITABLE = ("mscratch", "mepc", "mcause", "mtval", "mie", "mstatus", "minstret", "mcycle", "mip")
READABLE = (
    *WRITABLE,
    "mtvec",
    "mhartid",
    "misa",
    "cycle",
    "instret",
    "mconfigptr",
    "mvendorid",
    "hpmcounter7",
)
MISSING = (0x5C0, 0x7C0, 0x800, 0xB80, 0xBC0, 0xC80, 0xCC0, 0xFC0, 0xFFF)
"""Not compared: marchid and mimpid name the implementation; time; registers of modes that the VM lacks (Spike has
none, ours are WARL zero for start-up code); writes of misa, mtvec, mcountinhibit and event counters (WARL)."""


@dataclass(frozen=True, slots=True)
class Item:
    """A piece of a program: the row it is about, or None for an illegal word, and its instructions."""

    row: str | None
    code: bytes


def encode(name: str, **fields: int) -> bytes:
    """The instruction of that name with these fields; others are 0, or the lowest they can be."""
    pattern = BY_NAME[name].pattern
    values = {n: fields.get(n, 0 if 0 in f.range else f.range[0]) for n, f in pattern.fields.items()}
    assert fields.keys() <= values.keys()
    return pattern.encode(values).to_bytes(pattern.length, "little")


def constant(register: int, value: int) -> bytes:
    """Instructions that leave `value` in a register."""
    code = b""
    source = 0
    for operation, immediate in constant_steps(value):
        if operation == "lui":
            upper = immediate << 12
            code += encode("lui", rd=register, imm=upper - (1 << 32) if upper >> 31 else upper)
        elif operation in ("slli", "srli"):
            code += encode(operation, rd=register, rs1=source, uimm=immediate)
        else:
            code += encode(operation, rd=register, rs1=source, imm=immediate)
        source = register
    return code


def words(code: bytes) -> Iterator[int]:
    """Its instructions, as many bytes each as its two lowest bits say."""
    at = 0
    while at < len(code):
        low = int.from_bytes(code[at : at + 2], "little")
        length = instruction_length(low)
        yield int.from_bytes(code[at : at + length], "little")
        at += length


_END_RESERVATION = constant(5, DATA + 448) + encode("sc.w", rd=6, rs1=5, rs2=0)
"""An SC, which fails: no LR goes there."""


class Generator:
    """An endless stream of items for one model. All choices come from `seed`."""

    def __init__(self, model: Model, seed: int | str) -> None:
        self._model = model
        self._random = random.Random(seed)
        self._decoder = Decoder(model.extensions)
        self._compressed = "Zca" in model.extensions
        self._rows = [row for row in ROWS if model.extensions.issuperset(row.extensions)]
        self._reserved = [row for row in self._rows if row.exclude]
        self._deck: list[Callable[[], Item]] = []

    def items(self, count: int) -> list[Item]:
        """The next `count` items."""
        return [self._deal() for _ in range(count)]

    def _deal(self) -> Item:
        if not self._deck:
            # One card for each row, and some for what is no row.
            self._deck = [lambda row=row: self._instruction(row) for row in self._rows]  # type: ignore[misc]
            extra = (
                self._illegal,
                self._reservation,
                self._compare_equal,
                self._fetch_fault,
                self._missing_csr,
            )
            self._deck += [card for card in extra for _ in range(6)]
            self._random.shuffle(self._deck)
        return self._deck.pop()()

    # Choices

    def _register(self, *, but: Sequence[int] = ()) -> int:
        return self._random.choice([r for r in range(1, 32) if r not in but])

    def _value(self) -> int:
        return self._random.choice(EDGES) if self._random.random() < 0.75 else self._random.getrandbits(64)

    def _fields(self, row: Row) -> dict[str, int]:
        """Fields at random, numbers often at the ends of their range."""
        chosen = {}
        for name, field in row.pattern.fields.items():
            allowed = field.range
            excluded = row.exclude.get(name, frozenset())
            while True:
                ends = name in ("imm", "uimm", "nzimm", "nzuimm", "zimm") and self._random.random() < 0.3
                value = self._random.choice((allowed[0], allowed[1], allowed[-1])) if ends else 0
                if not ends:
                    value = self._random.choice(allowed)
                if value not in excluded:
                    break
            chosen[name] = value
        return chosen

    def _address(self, size: int, kind: MemoryEffect, order: Order = Order.NONE) -> int:
        """An address to access: mostly in the data, sometimes misaligned, across an edge of RAM, or nowhere."""
        address = self._any_address(size, kind)
        plain = kind in (MemoryEffect.LOAD, MemoryEffect.STORE) and not order
        if kind is MemoryEffect.STORE and address < RAM + RAM_BYTES < address + size:
            plain = (
                False  # before the store traps, Spike has written the bytes that lie in RAM; ours writes none
            )
        return address if plain or not self._model.zicclsm else address & -size

    def _any_address(self, size: int, kind: MemoryEffect) -> int:
        chance = self._random.random()
        if chance < 0.03:
            return self._random.choice(NOWHERE) + self._random.randrange(0, 64, size)
        if chance < 0.05:
            return RAM + RAM_BYTES - self._random.randrange(1, 2 * size + 1)
        if chance < 0.06:
            return RAM - self._random.randrange(1, 2 * size + 1)
        if kind in (MemoryEffect.LOAD_RESERVED, MemoryEffect.STORE_CONDITIONAL):
            if chance < 0.15 and not self._model.zicclsm:
                return DATA + self._random.randrange(DATA_BYTES - size) | 1
            if self._model.exact_reservations:
                return DATA + self._random.randrange(0, 64, 8) + (4 if size == 4 else 0)
            return DATA + self._random.randrange(0, 256, 64)
        if chance < 0.15:
            return DATA + self._random.randrange(DATA_BYTES - size)
        return DATA + self._random.randrange(0, DATA_BYTES - size, size)

    # One row

    def _instruction(self, row: Row) -> Item:
        while True:
            fields = self._fields(row)
            if "csr" in fields:
                fields["csr"] = self._csr(row, fields)
            word = row.pattern.encode(fields)
            decoded = self._decoder.decode(word)
            assert decoded is not None
            if decoded.row is not row:
                continue  # hit a refinement of the row
            what = effects(decoded)
            code = word.to_bytes(row.pattern.length, "little")
            made = self._surround(row, fields, code, what)
            if made is not None:
                return Item(row.name, made)

    def _surround(self, row: Row, fields: dict[str, int], code: bytes, what: Effects) -> bytes | None:
        """`code` with what it needs before and after it, or None if these fields cannot be used."""
        if what.size:
            return self._access(fields, code, what)
        if what.transfer in (Transfer.BRANCH, Transfer.JUMP):
            return self._direct(row, fields)
        if what.transfer is Transfer.INDIRECT:
            return self._indirect(row, fields)
        if what.transfer is Transfer.RETURN:
            return self._return(code)
        if what.wait is Wait.INTERRUPT:
            return self._with_interrupt(code)
        if what.wait is Wait.RESERVATION:
            return _END_RESERVATION + code  # without one, neither machine waits
        if "csr" in fields:
            code += encode("csrrs", rd=self._register(), csr=fields["csr"], rs1=0)  # what was written
        return self._operands(what) + code

    def _operands(self, what: Effects) -> bytes:
        """New values for some of the registers that are read."""
        return b"".join(constant(r, self._value()) for r in sorted(what.reads) if self._random.random() < 0.5)

    def _access(self, fields: Mapping[str, int], code: bytes, what: Effects) -> bytes | None:
        if not what.address:
            return None  # the address 0 + offset
        (base,) = what.address
        offset = fields.get("imm", fields.get("uimm", 0))
        address = self._address(what.size, what.memory, what.order)
        setup = b""
        for register in sorted(what.reads - {base}):
            if self._random.random() < 0.5:
                setup += constant(register, self._value())
        return setup + constant(base, address - offset & _MASK) + code

    def _filler(self) -> bytes:
        """An instruction that shows whether it was executed."""
        register = self._register()
        if self._compressed and self._random.random() < 0.5:
            return encode("c.addi", rd=register, imm=1)
        return encode("addi", rd=register, rs1=register, imm=1)

    def _direct(self, row: Row, fields: dict[str, int]) -> bytes:
        """A jump or branch over a filler, or back to a jump that leads out."""
        length = row.pattern.length
        setup = b""
        reads = {fields[f] for f in ("rs1", "rs2") if f in fields}
        for register in sorted(reads - {0}):
            if self._random.random() < 0.5:
                setup += constant(register, self._value())
        if len(reads) == 2 and 0 not in reads and self._random.random() < 0.3:
            setup += encode("addi", rd=fields["rs1"], rs1=fields["rs2"], imm=0)
        if self._random.random() < 0.5:
            filler = self._filler()
            offset = length + len(filler)
            if not self._compressed and self._random.random() < 0.2:
                offset -= 2  # not a multiple of 4: traps if taken
            return setup + row.pattern.encode(fields | {"imm": offset}).to_bytes(length, "little") + filler
        back = row.pattern.encode(fields | {"imm": -4}).to_bytes(length, "little")
        return setup + encode("jal", rd=0, imm=8) + encode("jal", rd=0, imm=4 + length) + back

    def _indirect(self, row: Row, fields: dict[str, int]) -> bytes | None:
        """A computed jump over a filler."""
        base = fields["rs1"]
        if not base:
            return None
        length = row.pattern.length
        filler = self._filler()
        immediate = 0
        if "imm" in fields:
            immediate = fields["imm"] = self._random.randrange(-1000, 1000)
        target = 8 + length + len(filler)
        chance = self._random.random()
        if chance < 0.2:
            target += 1  # the lowest bit is ignored
        elif chance < 0.3 and not self._compressed:
            target -= 2
        setup = encode("auipc", rd=base, imm=0) + encode("addi", rd=base, rs1=base, imm=target - immediate)
        return setup + row.pattern.encode(fields).to_bytes(length, "little") + filler

    def _return(self, code: bytes) -> bytes:
        register = self._register()
        filler = self._filler()
        setup = encode("auipc", rd=register, imm=0)
        setup += encode("addi", rd=register, rs1=register, imm=12 + len(code) + len(filler))
        return setup + encode("csrrw", rd=0, csr=NUMBERS["mepc"], rs1=register) + code + filler

    def _with_interrupt(self, code: bytes) -> bytes:
        """A pending software interrupt ends the wait; mstatus.MIE is off, so it is not taken.

        Spike loses a reservation there, so it is ended first.
        """
        return (
            _END_RESERVATION
            + encode("csrrci", rd=0, csr=NUMBERS["mstatus"], zimm=8)
            + constant(5, _CLINT_MSIP)
            + encode("addi", rd=6, rs1=0, imm=1)
            + encode("sw", rs1=5, rs2=6)
            + encode("csrrwi", rd=7, csr=NUMBERS["mie"], zimm=8)
            + code
            + encode("csrrs", rd=8, csr=NUMBERS["mip"], rs1=0)
            + encode("sw", rs1=5, rs2=0)
        )

    def _csr(self, row: Row, fields: Mapping[str, int]) -> int:
        source = fields.get("rs1", fields.get("zimm"))
        writes = row.name.startswith("csrrw") or source != 0
        chance = self._random.random()
        if chance < 0.05:
            return self._random.choice(MISSING)
        if chance < 0.1:
            return NUMBERS[self._random.choice(("mhartid", "cycle", "instret", "mvendorid"))]
        return NUMBERS[self._random.choice(WRITABLE if writes else READABLE)]

    # What is no single row

    def _illegal(self) -> Item:
        """A word that no enabled row has: reserved forms, other extensions, noise."""
        while True:
            chance = self._random.random()
            row = self._random.choice(self._reserved if chance < 0.4 else self._rows)
            word = row.pattern.encode(self._fields(row))
            if chance < 0.4:
                for name, bad in row.exclude.items():
                    field = row.pattern.fields[name]
                    allowed = [value for value in field.range if value in bad]
                    values = row.pattern.decode(word) | {name: self._random.choice(allowed)}
                    word = row.pattern.encode(values)
            elif chance < 0.8:
                word ^= 1 << self._random.randrange(8 * row.pattern.length)
            elif self._compressed and chance < 0.9:
                word = self._random.getrandbits(16)
            else:
                word = self._random.getrandbits(32) | 3
            length = instruction_length(word)
            word &= (1 << 8 * length) - 1
            if word & 0x1F == 0x1F or (length == 2 and not self._compressed):
                continue  # an encoding of 48 bits or more; half an instruction
            if self._decoder.decode(word) is None:
                return Item(None, word.to_bytes(length, "little"))

    def _reservation(self) -> Item:
        """LR, something in between, SC, and often a second SC, which fails."""
        size = self._random.choice("wd")
        base = self._register(but=(_HANDLER, _HANDLER + 1))  # the LR may trap
        others = [self._register(but=(base,)) for _ in range(3)]
        order = lambda: self._random.randrange(4)  # noqa: E731
        address = self._address(4 if size == "w" else 8, MemoryEffect.LOAD_RESERVED)
        code = constant(base, address) + encode(f"lr.{size}", rd=others[0], rs1=base, order=order())
        between = self._random.randrange(6)
        if between == 1:
            code += encode(f"s{size}", rs1=base, rs2=others[1])
        elif between == 2:
            code += encode("amoadd.w", rd=others[1], rs1=base, rs2=others[2], order=order())
        elif between == 3:
            code += encode("ecall")
        elif between == 4:
            code += encode("lw", rd=others[1], rs1=base)
        code += encode(f"sc.{size}", rd=others[1], rs1=base, rs2=others[2], order=order())
        if self._random.random() < 0.4:
            code += encode(f"sc.{size}", rd=others[2], rs1=base, rs2=others[1], order=order())
        return Item(f"sc.{size}", code)

    def _compare_equal(self) -> Item:
        """AMOCAS that finds what it expects."""
        letter = self._random.choice("bhwdq" if "Zabha" in self._model.extensions else "wdq")
        size = 1 << "bhwdq".index(letter)
        address = DATA + self._random.randrange(0, DATA_BYTES - size, size)
        base = self._random.choice((5, 7, 9, 11, 13, 15))
        rd, rs2 = self._random.choice((0, 16, 18, 20)), self._random.choice((0, 22, 24, 26))
        code = constant(base, address) + constant(rs2 or 22, self._value())
        if rd and size == 16:
            code += encode("ld", rd=rd, rs1=base) + encode("ld", rd=rd + 1, rs1=base, imm=8)
        elif rd:
            code += encode(f"l{letter}", rd=rd, rs1=base)
        else:
            # x0 as what is expected: the pair of x0 is zero, both halves of it.
            code += encode("sd", rs1=base, rs2=0) if address % 8 == 0 else b""
            code += encode("sd", rs1=base, rs2=0, imm=8) if size == 16 else b""
        code += encode(f"amocas.{letter}", rd=rd, rs1=base, rs2=rs2, order=self._random.randrange(4))
        return Item(f"amocas.{letter}", code)

    def _fetch_fault(self) -> Item:
        """A jump to where nothing is; the handler comes back by the register RESUME."""
        base = self._register(but=(_RESUME,))
        link = self._register(but=(_RESUME,))
        jump = constant(base, self._random.choice(NOWHERE)) + encode("jalr", rd=link, rs1=base)
        back = encode("auipc", rd=_RESUME, imm=0)
        back += encode("addi", rd=_RESUME, rs1=_RESUME, imm=8 + len(jump))
        return Item("jalr", back + jump)

    def _missing_csr(self) -> Item:
        name = self._random.choice(("csrrw", "csrrs", "csrrc"))
        number = self._random.choice(MISSING)
        return Item(None, encode(name, rd=self._register(), csr=number, rs1=self._register()))


# The frame


HANDLER_READS_MCAUSE = RAM + 8
"""Where the handler's second instruction stands: behind the jump over it and the read of mtval."""


def _handler(compressed: bool) -> bytes:
    first, second = _HANDLER, _HANDLER + 1
    code = encode("csrrs", rd=second, csr=NUMBERS["mtval"], rs1=0)
    code += encode("csrrs", rd=second, csr=NUMBERS["mcause"], rs1=0)
    code += encode("csrrs", rd=first, csr=NUMBERS["mepc"], rs1=0)
    step = b""
    if compressed:
        step += encode("lhu", rd=second, rs1=first)
        step += encode("andi", rd=second, rs1=second, imm=3)
        step += encode("sltiu", rd=second, rs1=second, imm=3)  # 1 for 16-bit instructions
        step += encode("sub", rd=first, rs1=first, rs2=second)
        step += encode("sub", rd=first, rs1=first, rs2=second)
    step += encode("addi", rd=first, rs1=first, imm=4)
    code += encode("addi", rd=second, rs1=second, imm=-1)  # 0 for an instruction access fault
    code += encode("bne", rs1=second, rs2=0, imm=12)
    code += encode("addi", rd=first, rs1=_RESUME, imm=0)
    code += encode("jal", rd=0, imm=4 + len(step))
    return code + step + encode("csrrw", rd=0, csr=NUMBERS["mepc"], rs1=first) + encode("mret")


@dataclass(frozen=True, slots=True)
class Program:
    """A model, items, and the values in which registers and data start."""

    model: Model
    items: tuple[Item, ...]
    registers: tuple[int, ...]
    data: bytes

    def code(self) -> bytes:
        """All of it, from the start of RAM."""
        compressed = "Zca" in self.model.extensions
        handler = _handler(compressed)
        code = encode("jal", rd=0, imm=4 + len(handler)) + handler
        code += encode("auipc", rd=5, imm=0) + encode("addi", rd=5, rs1=5, imm=4 - len(code))
        code += encode("csrrw", rd=0, csr=NUMBERS["mtvec"], rs1=5)
        code += encode("csrrw", rd=0, csr=NUMBERS["minstret"], rs1=0)
        code += encode("csrrw", rd=0, csr=NUMBERS["mcycle"], rs1=0)
        code += constant(5, _CLINT_MTIMECMP) + constant(6, _MASK) + encode("sd", rs1=5, rs2=6)
        for register, value in enumerate(self.registers, start=1):
            code += constant(register, value)
        code += b"".join(item.code for item in self.items)
        return code + constant(5, TOHOST) + constant(6, 1) + encode("sd", rs1=5, rs2=6) + encode("jal", rd=0)

    def image(self) -> Image:
        """Ready to be loaded."""
        symbols = {"tohost": Symbol("tohost", TOHOST, 8), "fromhost": Symbol("fromhost", TOHOST + 8, 8)}
        chunks = (Chunk(RAM, self.code()), Chunk(DATA, self.data), Chunk(TOHOST, bytes(16)))
        return Image("random program", RAM, chunks, symbols)

    def source(self) -> str:
        """Assembly text that makes the same program."""
        lines = [f"# isa {self.model.isa}", ".option norelax", ".globl _start, tohost, fromhost", "_start:"]
        lines += [f"    {disassemble(word)}" for word in words(self.code())]
        lines += [f".org {DATA - RAM:#x}"]
        if any(self.data):
            values = struct.unpack(f"<{DATA_BYTES // 8}Q", self.data)
            lines += [f"    .dword {value:#x}" for value in values]
        lines += [f".org {TOHOST - RAM:#x}", "tohost: .dword 0", "fromhost: .dword 0"]
        return "\n".join(lines) + "\n"


def program(model: Model, seed: int | str, count: int) -> Program:
    """A random program of `count` items."""
    choose = random.Random(f"{seed}/start")
    value = lambda: choose.choice(EDGES) if choose.random() < 0.7 else choose.getrandbits(64)  # noqa: E731
    registers = tuple(value() for _ in range(31))
    data = b"".join(value().to_bytes(8, "little") for _ in range(DATA_BYTES // 8))
    return Program(model, tuple(Generator(model, seed).items(count)), registers, data)
