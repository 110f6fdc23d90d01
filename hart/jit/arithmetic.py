"""The arithmetic half of the algebra as LLVM IR: values in, values out.

Owns how each operation is written, the folding of constants that addresses are made of, and the i1 behind a
comparison. Knows neither registers nor memory nor control flow.
"""

from __future__ import annotations

from bus.ir_text import FunctionText
from bus.lowering import Value
from hart.isa.integers import IntegerArithmetic

_MASK = (1 << 64) - 1
_INTEGERS = IntegerArithmetic()

DECLARATIONS = """
declare i64 @llvm.fshr.i64(i64, i64, i64)
declare i64 @llvm.usub.sat.i64(i64, i64)
declare i64 @llvm.ctlz.i64(i64, i1)
declare i64 @llvm.cttz.i64(i64, i1)
declare i64 @llvm.ctpop.i64(i64)
declare i32 @llvm.ctlz.i32(i32, i1)
declare i32 @llvm.cttz.i32(i32, i1)
declare i32 @llvm.ctpop.i32(i32)
declare i64 @llvm.bswap.i64(i64)
"""
"""The intrinsics that the algebra's code calls."""


class IrArithmetic(FunctionText):
    """The part of `hart.isa.algebra.Algebra` that computes."""

    def __init__(self) -> None:
        """No line yet."""
        super().__init__()
        self._flags: dict[str, str] = {}
        """i1 names by the i64 names that are their zero-extensions."""

    def const(self, value: int) -> Value:
        """See `Algebra.const`."""
        return value & _MASK

    def _binary(self, operation: str, a: Value, b: Value) -> Value:
        return self.value(f"{operation} i64 {a}, {b}")

    def add(self, a: Value, b: Value) -> Value:
        """See `Algebra.add`."""
        if isinstance(a, int) and isinstance(b, int):
            return _INTEGERS.add(a, b)
        if a == 0:
            return b
        return a if b == 0 else self._binary("add", a, b)

    def sub(self, a: Value, b: Value) -> Value:
        """See `Algebra.sub`."""
        return self._binary("sub", a, b)

    def mul(self, a: Value, b: Value) -> Value:
        """See `Algebra.mul`."""
        return self._binary("mul", a, b)

    def _mul_high(self, a: Value, b: Value, extend_a: str, extend_b: str) -> Value:
        wide_a = self.value(f"{extend_a} i64 {a} to i128")
        wide_b = self.value(f"{extend_b} i64 {b} to i128")
        product = self.value(f"mul i128 {wide_a}, {wide_b}")
        high = self.value(f"lshr i128 {product}, 64")
        return self.value(f"trunc i128 {high} to i64")

    def mulh(self, a: Value, b: Value) -> Value:
        """See `Algebra.mulh`."""
        return self._mul_high(a, b, "sext", "sext")

    def mulhu(self, a: Value, b: Value) -> Value:
        """See `Algebra.mulhu`."""
        return self._mul_high(a, b, "zext", "zext")

    def mulhsu(self, a: Value, b: Value) -> Value:
        """See `Algebra.mulhsu`."""
        return self._mul_high(a, b, "sext", "zext")

    def _divide(self, a: Value, b: Value, operation: str, by_zero: Value) -> Value:
        # LLVM leaves division by zero and overflow undefined: divide by 1 there. For the overflow this also is
        # the result that the manual asks for (quotient a, remainder 0).
        zero = self.value(f"icmp eq i64 {b}, 0")
        bad = zero
        if operation[0] == "s":
            lowest = self.value(f"icmp eq i64 {a}, {-(1 << 63)}")
            minus = self.value(f"icmp eq i64 {b}, -1")
            overflow = self.value(f"and i1 {lowest}, {minus}")
            bad = self.value(f"or i1 {zero}, {overflow}")
        divisor = self.value(f"select i1 {bad}, i64 1, i64 {b}")
        result = self.value(f"{operation} i64 {a}, {divisor}")
        return self.value(f"select i1 {zero}, i64 {by_zero}, i64 {result}")

    def div(self, a: Value, b: Value) -> Value:
        """See `Algebra.div`."""
        return self._divide(a, b, "sdiv", -1)

    def divu(self, a: Value, b: Value) -> Value:
        """See `Algebra.divu`."""
        return self._divide(a, b, "udiv", -1)

    def rem(self, a: Value, b: Value) -> Value:
        """See `Algebra.rem`."""
        return self._divide(a, b, "srem", a)

    def remu(self, a: Value, b: Value) -> Value:
        """See `Algebra.remu`."""
        return self._divide(a, b, "urem", a)

    def and_(self, a: Value, b: Value) -> Value:
        """See `Algebra.and_`."""
        if isinstance(a, int) and isinstance(b, int):
            return a & b
        return self._binary("and", a, b)

    def or_(self, a: Value, b: Value) -> Value:
        """See `Algebra.or_`."""
        return self._binary("or", a, b)

    def xor(self, a: Value, b: Value) -> Value:
        """See `Algebra.xor`."""
        return self._binary("xor", a, b)

    def _shift(self, operation: str, a: Value, amount: Value) -> Value:
        masked = amount & 63 if isinstance(amount, int) else self.value(f"and i64 {amount}, 63")
        return self._binary(operation, a, masked)

    def sll(self, a: Value, amount: Value) -> Value:
        """See `Algebra.sll`."""
        return self._shift("shl", a, amount)

    def srl(self, a: Value, amount: Value) -> Value:
        """See `Algebra.srl`."""
        return self._shift("lshr", a, amount)

    def sra(self, a: Value, amount: Value) -> Value:
        """See `Algebra.sra`."""
        return self._shift("ashr", a, amount)

    def sext(self, a: Value, bits: int) -> Value:
        """See `Algebra.sext`."""
        if isinstance(a, int):
            return _INTEGERS.sext(a, bits)
        narrow = self.value(f"trunc i64 {a} to i{bits}")
        return self.value(f"sext i{bits} {narrow} to i64")

    def zext(self, a: Value, bits: int) -> Value:
        """See `Algebra.zext`."""
        if isinstance(a, int):
            return _INTEGERS.zext(a, bits)
        return self.value(f"and i64 {a}, {(1 << bits) - 1}")

    def _count(self, function: str, a: Value, bits: int, flag: str) -> Value:
        if bits == 64:
            return self.value(f"call i64 @llvm.{function}.i64(i64 {a}{flag})")
        narrow = self.value(f"trunc i64 {a} to i{bits}")
        count = self.value(f"call i{bits} @llvm.{function}.i{bits}(i{bits} {narrow}{flag})")
        return self.value(f"zext i{bits} {count} to i64")

    def clz(self, a: Value, bits: int) -> Value:
        """See `Algebra.clz`."""
        return self._count("ctlz", a, bits, ", i1 false")

    def ctz(self, a: Value, bits: int) -> Value:
        """See `Algebra.ctz`."""
        return self._count("cttz", a, bits, ", i1 false")

    def cpop(self, a: Value, bits: int) -> Value:
        """See `Algebra.cpop`."""
        return self._count("ctpop", a, bits, "")

    def bswap(self, a: Value) -> Value:
        """See `Algebra.bswap`."""
        return self.value(f"call i64 @llvm.bswap.i64(i64 {a})")

    def orc_b(self, a: Value) -> Value:
        """See `Algebra.orc_b`."""
        low = 0x7F7F_7F7F_7F7F_7F7F
        carried = self.value(f"add i64 {self.value(f'and i64 {a}, {low}')}, {low}")
        high = self.value(f"and i64 {self.value(f'or i64 {carried}, {a}')}, {low ^ _MASK}")
        ones = self.value(f"lshr i64 {high}, 7")
        return self.value(f"mul i64 {ones}, 255")

    def _compare(self, predicate: str, a: Value, b: Value) -> Value:
        flag = self.value(f"icmp {predicate} i64 {a}, {b}")
        result = self.value(f"zext i1 {flag} to i64")
        self._flags[result] = flag
        return result

    def eq(self, a: Value, b: Value) -> Value:
        """See `Algebra.eq`."""
        if b == 0 and a in self._flags:
            flag = self.value(f"xor i1 {self._flags[str(a)]}, true")
            result = self.value(f"zext i1 {flag} to i64")
            self._flags[result] = flag
            return result
        return self._compare("eq", a, b)

    def ne(self, a: Value, b: Value) -> Value:
        """See `Algebra.ne`."""
        return self._compare("ne", a, b)

    def lt(self, a: Value, b: Value) -> Value:
        """See `Algebra.lt`."""
        return self._compare("slt", a, b)

    def ltu(self, a: Value, b: Value) -> Value:
        """See `Algebra.ltu`."""
        return self._compare("ult", a, b)

    def _flag(self, condition: Value) -> str:
        return self._flags.get(str(condition)) or self.value(f"icmp ne i64 {condition}, 0")

    def select(self, condition: Value, then: Value, otherwise: Value) -> Value:
        """See `Algebra.select`."""
        return self.value(f"select i1 {self._flag(condition)}, i64 {then}, i64 {otherwise}")
