"""Zawrs, waiting on the reservation set (unprivileged manual, chapter "Zawrs")."""

from __future__ import annotations

from hart.isa.algebra import Algebra, V
from hart.isa.row import Table

TABLE = Table("Zawrs")


def wrs_nto(m: Algebra[V]) -> None:
    """Wait until the reservation is lost or an interrupt is pending."""
    m.wait_on_reservation(bounded=False)


def wrs_sto(m: Algebra[V]) -> None:
    """The same, for a short time at most."""
    m.wait_on_reservation(bounded=True)


TABLE.add("wrs.nto", "000000001101 00000 000 00000 1110011", wrs_nto)
TABLE.add("wrs.sto", "000000011101 00000 000 00000 1110011", wrs_sto)
