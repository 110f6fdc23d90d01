"""Every row that is compiled computes what T0 computes, on edge values and random ones."""

from __future__ import annotations

import random

import pytest

from bus.policies import Reservations
from hart.interpreter import Interpreter
from hart.isa import ROWS
from hart.isa.decoder import Decoder
from hart.isa.disassembler import disassemble
from hart.isa.effects import MemoryEffect, Transfer, Wait
from hart.isa.instruction import instruction_at
from hart.jit.codegen import Tier
from hart.jit.context import Reason, Word
from hart.jit.engine import Engine
from hart.jit.service import region_compiler
from tests import local_hart
from tests.differential.generator import EDGES
from tests.hart.jit.native_code import ALL

RAM = 0x8000_0000
BATCH = 24
VECTORS = 12
DECODER = Decoder(ALL)


def _instruction(word: int):
    return instruction_at(DECODER, lambda pc: word, RAM)


def _random_word(row, choose: random.Random) -> int:
    while True:
        values = {}
        for name, field in row.pattern.fields.items():
            allowed = [
                v
                for v in field.range[:: max(1, len(field.range) // 512)]
                if v not in row.exclude.get(name, ())
            ]
            values[name] = choose.choice([allowed[0], allowed[-1], choose.choice(allowed)])
            if name in ("rd", "rs1", "rs2"):
                values[name] = choose.choice(allowed)
        word = row.pattern.encode(values)
        decoded = DECODER.decode(word)
        if decoded is not None and decoded.row is row:
            return word


def _computes(row) -> bool:
    what = _instruction(_random_word(row, random.Random(row.name)))
    effects = what.effects
    still = (effects.transfer, effects.memory, effects.wait) == (
        Transfer.NONE, MemoryEffect.NONE, Wait.NONE,
    )  # fmt: skip
    return what.native and still


COMPUTING = [row for row in ROWS if ALL.issuperset(row.extensions) and _computes(row)]


def test_most_rows_compute():
    assert len(COMPUTING) > 90
    assert {"add", "mulhsu", "remw", "orc.b", "clzw", "bext", "czero.nez", "sh3add.uw", "c.addi"} <= {
        row.name for row in COMPUTING
    }


def _batches(seed: int):
    choose = random.Random(seed)
    rows = COMPUTING * 2
    choose.shuffle(rows)
    for start in range(0, len(rows), BATCH):
        yield [_random_word(row, choose) for row in rows[start : start + BATCH]]


@pytest.mark.parametrize("tier", list(Tier), ids=lambda t: t.name)
def test_rows_agree_with_the_interpreter(tier):
    choose = random.Random(f"operands {tier}")
    value = lambda: choose.choice(EDGES) if choose.random() < 0.75 else choose.getrandbits(64)  # noqa: E731
    with local_hart.machine(extensions=ALL, ram_bytes=1 << 16) as machine:
        hart, memory = machine.hart, machine.segment.memory
        assert type(hart) is Interpreter
        compiler = region_compiler(machine.segment, ALL, "serial", Reservations(), None)
        engine = Engine(machine.segment, 0)
        at = RAM
        for words in _batches(int(tier)):
            lengths = [4 if w & 3 == 3 else 2 for w in words]
            for word, length, offset in zip(words, lengths, _sums(lengths), strict=True):
                memory.write(at + offset, (word & (1 << 8 * length) - 1).to_bytes(length, "little"))
            memory.write(at + sum(lengths), b"\0\0")  # an illegal instruction
            _, region = compiler.compile(at, tier, lambda: 0.0)
            assert region.instructions == len(words)
            assert engine.add(at, region.name, region.stretches, region.code, region.object)
            for _ in range(VECTORS):
                start = [0, *(value() for _ in range(31))]
                hart.x[:], hart.at, hart.instret = start, at, 0
                hart.run(len(words))
                for i, v in enumerate(start):
                    engine.context[i] = v
                end = engine.enter(engine.entries[at], 1000)
                assert 1000 - engine.context[Word.FUEL] == len(words)
                assert engine.context[Word.REASON] == Reason.ABSENT
                assert end == hart.at == at + sum(lengths)
                seen = list(engine.context[Word.X : Word.X + 32])
                text = [disassemble(w) for w in words]
                assert seen == hart.x, (text, [(r, hex(start[r])) for r in range(32) if seen[r] != hart.x[r]])
            at += sum(lengths) + 2
            at += at % 4


def _sums(lengths):
    at = 0
    for length in lengths:
        yield at
        at += length


def test_every_row_is_native_or_the_interpreters_for_a_reason():
    left = {row.name for row in ROWS if not _instruction(_random_word(row, random.Random(row.name))).native}
    assert left == {
        "ecall", "ebreak", "c.ebreak", "mret", "wfi", "wrs.nto", "wrs.sto", "fence.i",
        "csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci",
    }  # fmt: skip
