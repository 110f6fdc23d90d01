"""Where compiled code finds guest RAM: at its own guest addresses, where the host has room for that.

Owns that one decision, which the compiler and the process that runs the code must make alike. Maps nothing.

RAM *in place* saves compiled code an addition and a register for each access; the check that an address lies in RAM
is the same. The range is one that Linux leaves free in 64-bit processes: above the program, which is linked low or
loaded high, and below where libraries, heap and stack of the smallest address spaces in use (39 bits) begin.
"""

from __future__ import annotations

LOWEST = 1 << 31
HIGHEST = 1 << 37


def ram_in_place(ram_base: int, ram_bytes: int) -> bool:
    """Whether a VM's RAM has host addresses that are its guest addresses."""
    return ram_base >= LOWEST and ram_base + ram_bytes <= HIGHEST
