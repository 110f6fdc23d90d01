"""Quantities as people write them in configs: `16MiB`. Owns their spelling, not what they are for."""

from __future__ import annotations

import re

_UNITS = {"B": 0, "KiB": 10, "MiB": 20, "GiB": 30}
_SIZE = re.compile(r"(\d[\d_]*)\s*([A-Za-z]*)")


def parse_size(text: str) -> int:
    """Bytes of `16MiB`, `64 KiB`, `512B` or `512`.

    Raises:
        ValueError: not a whole number with a binary unit; names the units.

    """
    match = _SIZE.fullmatch(text.strip())
    unit = match[2] or "B" if match else ""
    if match is None or unit not in _UNITS:
        raise ValueError(f"not a size; write a whole number of {', '.join(_UNITS)}, e.g. '16MiB'")
    return int(match[1]) << _UNITS[unit]


def format_size(size: int) -> str:
    """The shortest exact spelling: `16MiB`."""
    for unit, shift in reversed(_UNITS.items()):
        if size and size % (1 << shift) == 0:
            return f"{size >> shift}{unit}"
    return "0B"
