"""Instructions for the tests of the ISA table: from text, and at random."""

from __future__ import annotations

import random

from hart.isa import BY_MNEMONIC, EXTENSIONS
from hart.isa.decoder import Decoded, Decoder
from hart.isa.row import Row
from hart.isa.syntax import parse_operands

ALL = Decoder(EXTENSIONS)


def number(text: str) -> int:
    """An expression evaluator that knows numbers and `. + 16`, with the dot at address 0."""
    return int(text.removeprefix(". ").replace(" ", ""), 0)


def encode(text: str, pc: int = 0) -> int:
    """The word of one instruction as text."""
    mnemonic, _, operands = text.partition(" ")
    row, given = BY_MNEMONIC[mnemonic]
    values = parse_operands(
        row, [o.strip() for o in operands.split(",")] if operands else [], number, pc, given
    )
    return row.pattern.encode(values)


def decode(text: str) -> Decoded:
    """One instruction as text, decoded."""
    decoded = ALL.decode(encode(text))
    assert decoded is not None, text
    return decoded


def random_values(row: Row, rng: random.Random) -> dict[str, int]:
    """Field values of a word that is this row's: edges and random ones, ignored fields 0."""
    shown = {a.form.field for o in row.template for a in o.atoms if a.form} | {"order"}
    values = {}
    for name, field in row.pattern.fields.items():
        if name not in shown:
            values[name] = 0
            continue
        candidates = (field.range[0], field.range[-1], *rng.choices(field.range, k=62))
        allowed = [v for v in candidates if v not in row.exclude.get(name, ())]
        values[name] = rng.choice((allowed[0], allowed[-1], *allowed[2:6]))
    return values
