"""Integer arithmetic: the values of the algebra as Python integers.

Owns the value half of `hart.isa.algebra.Algebra`; registers, memory and control are its subclass's. A value
is an integer v with 0 <= v < 2**64; every operation takes and gives such values. This is the interpreter's
inner loop, where calls are what costs: each operation is one expression where it can be, so the signed value
of a, `(a ^ SIGN) - SIGN`, is written out.
"""

from __future__ import annotations

MASK = (1 << 64) - 1
"""All ones: reduces modulo 2**64."""

SIGN = 1 << 63
"""The sign bit."""

# By width in bits: the bits of a value that wide, its sign bit, and the bits above.
_LOW = tuple((1 << bits) - 1 for bits in range(65))
_SIGN = tuple(1 << bits >> 1 for bits in range(65))
_HIGH = tuple(MASK ^ low for low in _LOW)


class IntegerArithmetic:
    """Constants, arithmetic, bits, comparison and choice on unsigned 64-bit integers. See `Algebra`."""

    __slots__ = ()

    def const(self, value: int) -> int:
        """See `Algebra.const`."""
        return value & MASK

    # Arithmetic modulo 2**64

    def add(self, a: int, b: int) -> int:
        """See `Algebra.add`."""
        return (a + b) & MASK

    def sub(self, a: int, b: int) -> int:
        """See `Algebra.sub`."""
        return (a - b) & MASK

    def mul(self, a: int, b: int) -> int:
        """See `Algebra.mul`."""
        return (a * b) & MASK

    def mulh(self, a: int, b: int) -> int:
        """See `Algebra.mulh`."""
        return (((a ^ SIGN) - SIGN) * ((b ^ SIGN) - SIGN) >> 64) & MASK

    def mulhu(self, a: int, b: int) -> int:
        """See `Algebra.mulhu`."""
        return a * b >> 64

    def mulhsu(self, a: int, b: int) -> int:
        """See `Algebra.mulhsu`."""
        return (((a ^ SIGN) - SIGN) * b >> 64) & MASK

    def div(self, a: int, b: int) -> int:
        """See `Algebra.div`."""
        if not b:
            return MASK
        x = (a ^ SIGN) - SIGN
        y = (b ^ SIGN) - SIGN
        quotient = abs(x) // abs(y)  # 2**63 for the overflow, which is -2**63 in 64 bits
        return (quotient if (x < 0) is (y < 0) else -quotient) & MASK

    def divu(self, a: int, b: int) -> int:
        """See `Algebra.divu`."""
        return a // b if b else MASK

    def rem(self, a: int, b: int) -> int:
        """See `Algebra.rem`."""
        if not b:
            return a
        x = (a ^ SIGN) - SIGN
        remainder = abs(x) % abs((b ^ SIGN) - SIGN)
        return (-remainder if x < 0 else remainder) & MASK

    def remu(self, a: int, b: int) -> int:
        """See `Algebra.remu`."""
        return a % b if b else a

    # Bits

    def and_(self, a: int, b: int) -> int:
        """See `Algebra.and_`."""
        return a & b

    def or_(self, a: int, b: int) -> int:
        """See `Algebra.or_`."""
        return a | b

    def xor(self, a: int, b: int) -> int:
        """See `Algebra.xor`."""
        return a ^ b

    def sll(self, a: int, amount: int) -> int:
        """See `Algebra.sll`."""
        return (a << (amount & 63)) & MASK

    def srl(self, a: int, amount: int) -> int:
        """See `Algebra.srl`."""
        return a >> (amount & 63)

    def sra(self, a: int, amount: int) -> int:
        """See `Algebra.sra`."""
        return ((a ^ SIGN) - SIGN >> (amount & 63)) & MASK

    def sext(self, a: int, bits: int) -> int:
        """See `Algebra.sext`."""
        return a | _HIGH[bits] if a & _SIGN[bits] else a & _LOW[bits]

    def zext(self, a: int, bits: int) -> int:
        """See `Algebra.zext`."""
        return a & _LOW[bits]

    def clz(self, a: int, bits: int) -> int:
        """See `Algebra.clz`."""
        return bits - (a & _LOW[bits]).bit_length()

    def ctz(self, a: int, bits: int) -> int:
        """See `Algebra.ctz`."""
        a |= 1 << bits  # stops the count
        return (a & -a).bit_length() - 1

    def cpop(self, a: int, bits: int) -> int:
        """See `Algebra.cpop`."""
        return (a & _LOW[bits]).bit_count()

    def bswap(self, a: int) -> int:
        """See `Algebra.bswap`."""
        return int.from_bytes(a.to_bytes(8, "little"), "big")

    def orc_b(self, a: int) -> int:
        """See `Algebra.orc_b`."""
        # The sum carries into bit 7 of a byte if any of its other bits is set, and no further.
        marks = ((a & 0x7F7F_7F7F_7F7F_7F7F) + 0x7F7F_7F7F_7F7F_7F7F | a) & 0x8080_8080_8080_8080
        return (marks >> 7) * 0xFF

    # Comparison and choice

    def eq(self, a: int, b: int) -> int:
        """See `Algebra.eq`."""
        return 1 if a == b else 0

    def ne(self, a: int, b: int) -> int:
        """See `Algebra.ne`."""
        return 1 if a != b else 0

    def lt(self, a: int, b: int) -> int:
        """See `Algebra.lt`."""
        return 1 if (a ^ SIGN) < (b ^ SIGN) else 0

    def ltu(self, a: int, b: int) -> int:
        """See `Algebra.ltu`."""
        return 1 if a < b else 0

    def select(self, condition: int, then: int, otherwise: int) -> int:
        """See `Algebra.select`."""
        return then if condition else otherwise
