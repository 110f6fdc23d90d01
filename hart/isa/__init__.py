"""The ISA as one table: every instruction row, checked when it loads.

Owns the list of extension files. `hart.isa.row` says what a row is; `hart.isa.decoder`, `hart.isa.syntax` and
`hart.isa.effects` are made from the rows.
"""

from __future__ import annotations

from hart.isa import (
    m,
    privileged,
    rv64i,
    zaamo,
    zabha,
    zacas,
    zalasr,
    zalrsc,
    zawrs,
    zba,
    zbb,
    zbs,
    zca,
    zicond,
    zicsr,
    zifencei,
    zihintpause,
)
from hart.isa.row import Row, check
from hart.isa.syntax import spellings

__all__ = ["BY_MNEMONIC", "BY_NAME", "EXTENSIONS", "ROWS"]

ROWS: tuple[Row, ...] = tuple(
    row
    for extension in (
        rv64i, m, zicsr, zifencei, zihintpause, zca, zaamo, zalrsc, zacas, zabha, zawrs, zalasr, zicond,
        zba, zbb, zbs, privileged,
    )
    for row in extension.TABLE.rows
)  # fmt: skip
"""Every instruction."""

check(ROWS)

BY_NAME: dict[str, Row] = {row.name: row for row in ROWS}
"""Rows by mnemonic without order suffix."""

BY_MNEMONIC: dict[str, tuple[Row, dict[str, int]]] = {
    spelling: (row, given) for row in ROWS for spelling, given in spellings(row).items()
}
"""Every mnemonic as written, order suffixes included: its row and the field values that the suffix gives."""

EXTENSIONS: frozenset[str] = frozenset(name for row in ROWS for name in row.extensions)
"""Every extension that owns a row, by its canonical spelling."""
