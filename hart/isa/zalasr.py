"""Zalasr, load-acquire and store-release (unprivileged manual, chapter "Zalasr").

The order bits belong to the mnemonic: a load without aq and a store without rl are reserved, so each order
that exists has its own row.
"""

from __future__ import annotations

from bus.access import Order
from hart.isa.row import Table
from hart.isa.rv64i import load, store
from hart.isa.zaamo import SIZES, funct3

TABLE = Table("Zalasr")

for _letter in "bhwd":
    _size, _funct3 = SIZES[_letter], funct3(_letter)
    for _suffix, _order in (("aq", Order.AQ), ("aqrl", Order.AQRL)):
        TABLE.add(
            f"l{_letter}.{_suffix} rd, (rs1)",
            f"00110 {_order:02b} 00000 rs1 {_funct3} rd 0101111",
            load(_size, signed=True, order=_order),
            constants={"imm": 0},
        )
    for _suffix, _order in (("rl", Order.RL), ("aqrl", Order.AQRL)):
        TABLE.add(
            f"s{_letter}.{_suffix} rs2, (rs1)",
            f"00111 {_order:02b} rs2 rs1 {_funct3} 00000 0101111",
            store(_size, _order),
            constants={"imm": 0},
        )
