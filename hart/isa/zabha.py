"""Zabha, atomic read-modify-write operations on bytes and halfwords (unprivileged manual, chapter "Zabha").

Its amocas.b and amocas.h need Zacas as well and stand there.
"""

from __future__ import annotations

from hart.isa.row import Table
from hart.isa.zaamo import add_amo_rows

TABLE = Table("Zabha")

add_amo_rows(TABLE, "bh")
