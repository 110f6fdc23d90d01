"""The one way in which the control plane says no: an errno, as the kernel would give it, and why in words.

Owns the exception and the errno names. Decides nothing.
"""

from __future__ import annotations

import errno


class Refusal(Exception):
    """A request was refused.

    Attributes:
        number: the errno, e.g. `errno.EBUSY`.
        reason: why, naming the register or key, the value and what is allowed.

    """

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"{errno_name(number)}: {reason}")
        self.number = number
        self.reason = reason


def errno_name(number: int) -> str:
    """`EBUSY` for 16; the number itself where it has no name."""
    return errno.errorcode.get(number, str(number))
