"""Every row of the ISA table goes through the assembler; `li` builds what it should; compression loses nothing."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.asm import AssemblyError, assemble
from hart.asm.layout import no_ops
from hart.asm.pseudo import INVERSE, PSEUDO, constant_steps
from hart.isa import BY_NAME, ROWS
from hart.isa.decoder import Decoder
from hart.isa.disassembler import disassemble
from hart.isa.extensions import dependents, implemented
from hart.isa.isa_string import parse
from hart.isa.row import Row

BASE = 0x8000_0000
MASK = (1 << 64) - 1
EMULATED = ("sext.b", "sext.h", "zext.h")
"""Instructions of Zbb that are pseudo-instructions without it."""


def code(text: str, **options: bool) -> bytes:
    return assemble(text, base=BASE, **options).image.chunks[0].data


def random_word(row: Row, rng: random.Random) -> int:
    """A word of the row, with fields at their edges and at random, those that text does not show 0."""
    shown = {a.form.field for o in row.template for a in o.atoms if a.form} | {"order"}
    while True:
        values = {
            name: rng.choice((f.range[0], f.range[-1], rng.choice(f.range))) if name in shown else 0
            for name, f in row.pattern.fields.items()
        }
        word = row.pattern.encode(values)
        if row.matches(word):
            return word


def test_disassembled_words_assemble_to_themselves() -> None:
    rng = random.Random(1)
    words = [random_word(row, rng) for row in ROWS for _ in range(40)]
    texts: list[str] = []
    pc = BASE
    for n, word in enumerate(words):
        # Every other target as an address, every other relative to the instruction.
        texts.append(disassemble(word, pc if n % 2 else None))
        pc += 2 if word & 3 != 3 else 4
    expected = b"".join(w.to_bytes(2 if w & 3 != 3 else 4, "little") for w in words)
    assert code("\n".join(texts)) == expected


def test_disabled_extension_is_named() -> None:
    every = frozenset(e for row in ROWS for e in row.extensions) | {"I"}
    owned = [(row, e) for row in ROWS for e in row.extensions if e != "I" and row.name not in EMULATED]
    assert len(owned) > 150
    for row, extension in owned:
        text = disassemble(random_word(row, random.Random(2)))
        with pytest.raises(AssemblyError, match=rf"needs .*\b{extension}\b.*; the ISA is rv64i"):
            assemble(text, extensions=every - {extension} - dependents(extension, every))


def test_instruction_or_pseudo_instruction() -> None:
    for name in EMULATED:
        assert len(code(f"{name} a0, a1")) == 4
        assert len(assemble(f"{name} a0, a1", extensions=parse("rv64i")).image.chunks[0].data) == 8


def run(steps: Iterable[tuple[str, int]]) -> int:
    value = 0
    for operation, immediate in steps:
        match operation:
            case "lui":
                assert 0 <= immediate < 1 << 20
                value = ((immediate << 12) ^ 1 << 31) - (1 << 31)
            case "addi" | "addiw" | "xori":
                assert -2048 <= immediate < 2048
                value = value ^ immediate if operation == "xori" else value + immediate
                if operation == "addiw":
                    value = ((value & 0xFFFFFFFF) ^ 1 << 31) - (1 << 31)
            case "slli":
                assert 0 < immediate < 64
                value <<= immediate
            case "srli":
                assert 0 < immediate < 64
                value = (value & MASK) >> immediate
            case _:
                raise AssertionError(operation)
        value &= MASK
    return value


@given(
    st.integers(0, MASK) | st.builds(lambda a, b: a << b & MASK, st.integers(0, 1 << 20), st.integers(0, 63))
)
def test_constants_are_built(value: int) -> None:
    for wanted in (value, ~value & MASK, -value & MASK):
        steps = constant_steps(wanted)
        assert run(steps) == wanted
        assert len(steps) <= 8


def test_expansions_name_rows() -> None:
    for rows in PSEUDO.values():
        for pseudo in rows:
            if isinstance(pseudo.expansion, str):
                for part in pseudo.expansion.split(";"):
                    name = part.replace("hi:", "").split()[0]
                    assert name in BY_NAME or name.startswith("."), pseudo
    assert set(INVERSE) == {"beq", "bne", "blt", "bge", "bltu", "bgeu"}


def test_compressed_program_means_the_same() -> None:
    """What `.option rvc` writes decodes to the base instructions that were asked for."""
    rng = random.Random(4)
    small = [r for r in ROWS if r.pattern.length == 4 and r.name in {c.expands for c in ROWS}]
    words = [random_word(row, rng) for row in small for _ in range(300) if row.name not in ("jal", *INVERSE)]
    texts = [disassemble(w) for w in words]
    # Operands that compressed forms take.
    texts += [f"addi sp, sp, {n}" for n in range(-512, 512, 16)] + [
        f"addi a{n}, sp, {16 * n}" for n in range(6)
    ]
    texts += [f"l{s} a0, {n}({b})" for s in "wd" for n in range(0, 64, 8) for b in ("a1", "sp")]
    texts += [f"s{s} a0, {n}({b})" for s in "wd" for n in range(0, 64, 8) for b in ("a1", "sp")]
    texts += [f"{o} a0, a0, a1" for o in ("add", "sub", "and", "or", "xor", "addw", "subw")]
    texts += ["nop", "mv a0, a1", "li a0, -32", "lui a0, 31", "jr a0", "jalr a1", "ret", "ebreak"]
    texts += ["andi a0, a0, -1", "slli a5, a5, 63", "srai a5, a5, 1", "addiw t0, t0, 5", "sext.w a0, a0"]
    data = code("\n".join(texts), compress=True)
    plain = code("\n".join(texts))
    decoder = Decoder(implemented())
    at, short = 0, 0
    for n in range(0, len(plain), 4):
        wanted = decoder.decode(int.from_bytes(plain[n : n + 4], "little"))
        found = decoder.decode(int.from_bytes(data[at : at + 4], "little"))
        assert wanted
        assert found
        at += found.length
        short += found.length == 2
        pair = (
            (wanted.row.meaning, wanted.row.bind(wanted.fields)),
            (found.row.meaning, found.row.bind(found.fields)),
        )
        moved = wanted.row.name == "addi" and wanted.fields["imm"] == 0 and found.row.name == "c.mv"
        assert pair[0] == pair[1] or moved, (texts[n // 4], found.row.name)
    assert at == len(data)
    assert short > 150


def test_compression_of_jumps_follows_their_reach() -> None:
    source = ".option rvc\na: beqz a0, b\nj b\n.space {}\nb: bnez a1, a\n"
    assert len(code(source.format(100))) == 2 + 2 + 100 + 2
    assert len(code(source.format(1000))) == 4 + 2 + 1000 + 4
    assert len(code(source.format(3000))) == 4 + 4 + 3000 + 4
    assert len(code(source.format(5000))) == 8 + 4 + 5000 + 8
    assert len(code(".option rvc\n.option norvc\nnop")) == 4
    without = assemble("nop", extensions=parse("rv64ima"), compress=True)
    assert len(without.image.chunks[0].data) == 4


def test_padding() -> None:
    assert no_ops(7) == bytes([0, 1, 0, 0x13, 0, 0, 0])
