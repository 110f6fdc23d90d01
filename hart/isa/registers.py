"""Names of the integer registers (psABI, "Integer Register Convention"). Owns names only."""

from __future__ import annotations

ABI_NAMES = (
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1",
    "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
    "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
)  # fmt: skip
"""Index is the register number."""

NUMBERS = {name: n for n, name in enumerate(ABI_NAMES)} | {f"x{n}": n for n in range(32)} | {"fp": 8}
"""Every spelling of an integer register, to its number."""
