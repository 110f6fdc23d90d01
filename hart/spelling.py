"""The nearest spelling of a word among the allowed ones, for error messages. Judges nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest spelling among `allowed`, or nothing. Case does not count."""
    by_folded = {name.casefold(): name for name in allowed}
    found = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f"; did you mean {by_folded[found[0]]!r}?" if found else ""
