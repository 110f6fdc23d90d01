"""Zca, the compressed instructions without floating point (unprivileged manual, chapter "C", RV64C).

Each row stands for a base instruction. HINT encodings (a destination x0, a shift or sum of 0) are the base
instruction without effect; reserved encodings are excluded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hart.isa import rv64i
from hart.isa.row import Table

TABLE = Table("Zca")

_BASE = {row.name: row for row in rv64i.TABLE.rows}


def _row(form: str, pattern: str, expansion: str, exclude: Mapping[str, Iterable[int]] | None = None) -> None:
    TABLE.expand(form, pattern, expansion, _BASE, exclude=exclude)


_ZERO = (0,)
_SP = (2,)

# Quadrant 0. Excluding nzuimm = 0 makes the all-zero word illegal, too.
_row(
    "c.addi4spn rd, sp, nzuimm",
    "000 nzuimm[5:4|9:6|2|3] rd' 00",
    "addi rd, sp, nzuimm",
    {"nzuimm": _ZERO},
)
_row("c.lw rd, uimm(rs1)", "010 uimm[5:3] rs1' uimm[2|6] rd' 00", "lw rd, uimm(rs1)")
_row("c.ld rd, uimm(rs1)", "011 uimm[5:3] rs1' uimm[7:6] rd' 00", "ld rd, uimm(rs1)")
_row("c.sw rs2, uimm(rs1)", "110 uimm[5:3] rs1' uimm[2|6] rs2' 00", "sw rs2, uimm(rs1)")
_row("c.sd rs2, uimm(rs1)", "111 uimm[5:3] rs1' uimm[7:6] rs2' 00", "sd rs2, uimm(rs1)")

# Quadrant 1
_row("c.nop [imm]", "000 imm[5] 00000 imm[4:0] 01", "addi zero, zero, imm")
_row("c.addi rd, imm", "000 imm[5] rd imm[4:0] 01", "addi rd, rd, imm", {"rd": _ZERO})
_row("c.addiw rd, imm", "001 imm[5] rd imm[4:0] 01", "addiw rd, rd, imm", {"rd": _ZERO})
_row("c.li rd, imm", "010 imm[5] rd imm[4:0] 01", "addi rd, zero, imm")
_row("c.addi16sp sp, nzimm", "011 nzimm[9] 00010 nzimm[4|6|8:7|5] 01", "addi sp, sp, nzimm", {"nzimm": _ZERO})
_row("c.lui rd, upper", "011 imm[17] rd imm[16:12] 01", "lui rd, imm", {"rd": _SP, "imm": _ZERO})
_row("c.srli rd, uimm", "100 uimm[5] 00 rd' uimm[4:0] 01", "srli rd, rd, uimm")
_row("c.srai rd, uimm", "100 uimm[5] 01 rd' uimm[4:0] 01", "srai rd, rd, uimm")
_row("c.andi rd, imm", "100 imm[5] 10 rd' imm[4:0] 01", "andi rd, rd, imm")
_row("c.sub rd, rs2", "100 0 11 rd' 00 rs2' 01", "sub rd, rd, rs2")
_row("c.xor rd, rs2", "100 0 11 rd' 01 rs2' 01", "xor rd, rd, rs2")
_row("c.or rd, rs2", "100 0 11 rd' 10 rs2' 01", "or rd, rd, rs2")
_row("c.and rd, rs2", "100 0 11 rd' 11 rs2' 01", "and rd, rd, rs2")
_row("c.subw rd, rs2", "100 1 11 rd' 00 rs2' 01", "subw rd, rd, rs2")
_row("c.addw rd, rs2", "100 1 11 rd' 01 rs2' 01", "addw rd, rd, rs2")
_row("c.j target", "101 imm[11|4|9:8|10|6|7|3:1|5] 01", "jal zero, imm")
_row("c.beqz rs1, target", "110 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "beq rs1, zero, imm")
_row("c.bnez rs1, target", "111 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "bne rs1, zero, imm")

# Quadrant 2
_row("c.slli rd, uimm", "000 uimm[5] rd uimm[4:0] 10", "slli rd, rd, uimm")
_row("c.lwsp rd, uimm(sp)", "010 uimm[5] rd uimm[4:2|7:6] 10", "lw rd, uimm(sp)", {"rd": _ZERO})
_row("c.ldsp rd, uimm(sp)", "011 uimm[5] rd uimm[4:3|8:6] 10", "ld rd, uimm(sp)", {"rd": _ZERO})
_row("c.jr rs1", "100 0 rs1 00000 10", "jalr zero, 0(rs1)", {"rs1": _ZERO})
_row("c.mv rd, rs2", "100 0 rd rs2 10", "add rd, zero, rs2", {"rs2": _ZERO})
_row("c.ebreak", "100 1 00000 00000 10", "ebreak")
_row("c.jalr rs1", "100 1 rs1 00000 10", "jalr ra, 0(rs1)", {"rs1": _ZERO})
_row("c.add rd, rs2", "100 1 rd rs2 10", "add rd, rd, rs2", {"rs2": _ZERO})
_row("c.swsp rs2, uimm(sp)", "110 uimm[5:2|7:6] rs2 10", "sw rs2, uimm(sp)")
_row("c.sdsp rs2, uimm(sp)", "111 uimm[5:3|8:6] rs2 10", "sd rs2, uimm(sp)")
