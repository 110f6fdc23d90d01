"""How reservations behave where the manual leaves it open: the settings, as every policy and tier takes them.

Owns the names and their meaning. Enforces nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reservations:
    """How reservations behave where the manual leaves it open. Names are sail-riscv's where it has them.

    Attributes:
        reservation_set_size_exp: log2 of the reservation set (the granule) in bytes, 3 to 12.
        require_exact_reservation_addr: an SC to another address or size of the reserved granule fails.
        invalidate_on_same_hart_store: a store of the hart's own to the granule ends its reservation.
        invalidate_on_trap: taking a trap ends the reservation.
        spurious_sc_failure: probability, 0 to 1, with which an SC fails that could succeed.
        seed: decides which.

    """

    reservation_set_size_exp: int = 6
    require_exact_reservation_addr: bool = False
    invalidate_on_same_hart_store: bool = False
    invalidate_on_trap: bool = False
    spurious_sc_failure: float = 0.0
    seed: int = 0
