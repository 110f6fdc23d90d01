"""From a region to LLVM IR: the algebra instantiated with an IR emitter.

Owns control flow, registers, bounds checks and instruction counting in compiled code. What an access does beyond its
bounds check is the policy's (`bus.lowering`). Calls no compiler.

Shape of the function `i64 f(ptr %c, i64 %fuel)`: registers that the region touches are loaded into allocas, which
LLVM turns into SSA values; each block works on values and writes back what it changed at its end. Every exit sets
the pc and goes to one place that stores the registers the region may have changed. From there control goes on to
the region at that pc by a tail call through the entry table, or returns.

Counting: `fuel` falls by each block's length at its end, or by what was executed at an exit. The entry, and edges to an
address that is not higher than their source, go on only if it suffices for the longest way from any of them to the next
such check (`Region.reach`): so no more than `fuel` instructions are ever executed. Inside, the count is kept lower by
that much, so that the subtraction's sign is the check.
"""

from __future__ import annotations

from dataclasses import dataclass

from bus.access import AmoOp, Order
from bus.ir_text import FunctionText
from bus.lowering import Lowering, Value
from bus.recording import RecordingLowering
from hart.isa.instruction import Instruction
from hart.isa.integers import IntegerArithmetic
from hart.jit.accesses import AccessGroup, Extent, access_groups
from hart.jit.context import Reason, Word
from hart.jit.region import Block, Region, fused_pairs, is_return

_MASK = (1 << 64) - 1
_INTEGERS = IntegerArithmetic()

_DECLARATIONS = """
declare i64 @llvm.fshr.i64(i64, i64, i64)
declare i64 @llvm.ctlz.i64(i64, i1)
declare i64 @llvm.cttz.i64(i64, i1)
declare i64 @llvm.ctpop.i64(i64)
declare i32 @llvm.ctlz.i32(i32, i1)
declare i32 @llvm.cttz.i32(i32, i1)
declare i32 @llvm.ctpop.i32(i32)
declare i64 @llvm.bswap.i64(i64)
"""


@dataclass(frozen=True, slots=True)
class Geometry:
    """What compiled code assumes about the VM; part of what identifies it.

    Attributes:
        ram_base: guest address of RAM.
        ram_bytes: its size.
        granule_exp: log2 of the granule size.
        alignment: of instructions, 2 or 4.

    """

    ram_base: int
    ram_bytes: int
    granule_exp: int
    alignment: int


def lower(region: Region, name: str, geometry: Geometry, policy: Lowering, *, ssa: bool) -> str:
    """The IR of a module with the one function `name`; with `ssa` guest registers live in allocas."""
    return _Function(region, name, geometry, policy, ssa).text()


class _NotCompiled(Exception):
    """The current instruction is the interpreter's."""


class _Function(FunctionText):
    """One region being lowered; also the algebra, for the instruction at hand."""

    def __init__(self, region: Region, name: str, geometry: Geometry, policy: Lowering, ssa: bool) -> None:
        super().__init__()
        self._region = region
        self._name = name
        self._geometry = geometry
        self._policy = policy
        self._ssa = ssa
        self._reach = region.reach()
        self._cold: list[str] = []
        self._values: dict[int, Value] = {}
        self._dirty: set[int] = set()
        self._flags: dict[str, str] = {}
        """i1 names by the i64 names that are their zero-extensions."""
        self._slots: dict[str, int] = {}
        self._pairs = fused_pairs(region)
        """LR/SC pairs that can be fused: name of the pair by either address."""
        self._groups: dict[int, AccessGroup] = {}
        self._checks: set[AccessGroup] = set()
        """Groups of the block that have been checked."""
        self._at: Instruction
        self._executed = 0
        self._exit_label: str | None = None
        self._terminated = False
        reads: set[int] = set()
        writes: set[int] = set()
        for block in region.blocks.values():
            for i in block.instructions:
                reads |= i.effects.reads
                writes |= i.effects.writes
        self._writes = sorted(writes)
        self._used = sorted(reads | writes)

    def text(self) -> str:
        """The module."""
        head = [
            f"define preserve_nonecc i64 @{self._name}(ptr %c, i64 %fuel) {{",
            "entry:",
            *self._state("pcv", Word.PC),
            *self._state("fuelv", Word.FUEL),
            *self._state("reasonv", Word.REASON),
            f"  store i64 {int(Reason.ABSENT)}, ptr %reasonv",
            f"  %budget = sub i64 %fuel, {self._reach}",
            "  store i64 %budget, ptr %fuelv",
        ]
        for pointer, word in (
            ("ram", Word.RAM),
            ("table", Word.TABLE),
            ("page_map", Word.PAGE_MAP),
            ("granules", Word.GRANULES),
            ("lasts", Word.LASTS),
            ("support", Word.SUPPORT),
            ("page", Word.PAGE),
            ("record", Word.RECORD),
        ):
            head.append(f"  %{pointer}.p = getelementptr i64, ptr %c, i64 {int(word)}")
            head.append(f"  %{pointer} = load ptr, ptr %{pointer}.p, !invariant.load !1")
        for r in self._used:
            head += self._state(f"x{r}", Word.X + r)
            if self._ssa:
                head.append(f"  %x{r}.0 = load i64, ptr %x{r}.p")
                head.append(f"  store i64 %x{r}.0, ptr %x{r}")
        entry = self._region.entry
        head.append("  %start = icmp sge i64 %budget, 0")
        head.append(f"  br i1 %start, label %b{entry:x}, label %empty, !prof !0")
        head.append("empty:")
        head.append(f"  store i64 {entry}, ptr %pcv")
        head.append("  br label %refuel")
        for block in self._region.blocks.values():
            self._block(block)
        # Variables that lowerings asked for belong to the entry block, as the registers do.
        at = head.index("entry:") + 1
        head[at:at] = [f"  {name} = alloca i{bits}" for name, bits in self._slots.items()]
        module = (
            _DECLARATIONS,
            *head,
            *self._lines,
            *self._cold,
            *self._tail(),
            "",
        )
        return "\n".join(module)

    def _state(self, name: str, word: int) -> list[str]:
        """`%name`, where a piece of the hart's state lives while the region runs, and `%name.p`, its context word."""
        where = f"getelementptr i64, ptr %c, i64 {word}"
        if self._ssa:
            return [f"  %{name} = alloca i64", f"  %{name}.p = {where}"]
        return [f"  %{name} = {where}"]

    def _tail(self) -> list[str]:
        base, size = self._geometry.ram_base, self._geometry.ram_bytes
        return [
            "leave:",
            *self._spill(),
            "  %pc = load i64, ptr %pcv",
            "  %left.b = load i64, ptr %fuelv",
            f"  %left = add i64 %left.b, {self._reach}",
            f"  %t.off = sub i64 %pc, {base}",
            f"  %t.in = icmp ult i64 %t.off, {size}",
            "  br i1 %t.in, label %look, label %out",
            "look:",
            "  %t.index = lshr i64 %t.off, 1",
            "  %t.slot = getelementptr ptr, ptr %table, i64 %t.index",
            "  %t.target = load ptr, ptr %t.slot",
            "  %t.none = icmp eq ptr %t.target, null",
            "  br i1 %t.none, label %out, label %chain, !prof !2",
            "chain:",
            "  %t.result = musttail call preserve_nonecc i64 %t.target(ptr %c, i64 %left)",
            "  ret i64 %t.result",
            "refuel:",
            f"  store i64 {int(Reason.FUEL)}, ptr %reasonv",
            "  br label %return",
            "interpret:",
            f"  store i64 {int(Reason.INTERPRET)}, ptr %reasonv",
            "  br label %return",
            "return:",
            *self._spill(".r"),
            "  br label %out",
            "out:",
            "  %o.pc = load i64, ptr %pcv",
            "  %o.left.b = load i64, ptr %fuelv",
            f"  %o.left = add i64 %o.left.b, {self._reach}",
            f"  %o.fuel.p = getelementptr i64, ptr %c, i64 {int(Word.FUEL)}",
            "  store i64 %o.left, ptr %o.fuel.p",
            "  %o.reason = load i64, ptr %reasonv",
            f"  %o.reason.p = getelementptr i64, ptr %c, i64 {int(Word.REASON)}",
            "  store i64 %o.reason, ptr %o.reason.p",
            f"  %o.region.p = getelementptr i64, ptr %c, i64 {int(Word.REGION)}",
            f"  store i64 {self._region.entry}, ptr %o.region.p",
            "  ret i64 %o.pc",
            "}",
            '!0 = !{!"branch_weights", i32 2000, i32 1}',
            "!1 = !{}",
            '!2 = !{!"branch_weights", i32 1, i32 2000}',
        ]

    def _spill(self, suffix: str = "") -> list[str]:
        lines: list[str] = []
        for r in self._writes if self._ssa else ():
            lines.append(f"  %x{r}.s{suffix} = load i64, ptr %x{r}")
            lines.append(f"  store i64 %x{r}.s{suffix}, ptr %x{r}.p")
        return lines

    # Blocks

    def _block(self, block: Block) -> None:
        self._lines.append(f"b{block.pc:x}:")
        self._values.clear()
        self._dirty.clear()
        self._flags.clear()
        self._groups = access_groups(block)
        self._checks.clear()
        self._executed = 0
        self._terminated = False
        for i in block.instructions:
            self._at = i
            self._exit_label = None
            if not i.native:
                self._leave_to_interpreter()
                return
            try:
                i.decoded.row.meaning(self, *i.decoded.arguments)
            except _NotCompiled:
                self._leave_to_interpreter()
                return
            self._executed += 1
            if self._terminator is not None:
                break
        self._finish(block)

    _terminator: tuple[str, ...] | None = None

    def _leave_to_interpreter(self) -> None:
        self._terminator = None
        label = self.interpret()
        self.line(f"br label %{label}")

    def _finish(self, block: Block) -> None:
        terminator, self._terminator = self._terminator, None
        if not block.instructions:
            self.line(f"store i64 {block.pc}, ptr %pcv")
            self.line("br label %return")
            return
        self._flush(self._lines)
        source = self._at.pc
        if terminator is None:
            self.line(f"br label %{self._edge(source, block.end)}")
            return
        kind = terminator[0]
        if kind == "jump":
            self.line(f"br label %{self._edge(source, int(terminator[1]))}")
        elif kind == "branch":
            taken = self._edge(source, int(terminator[2]))
            otherwise = self._edge(source, self._at.next)
            self.line(f"br i1 {terminator[1]}, label %{taken}, label %{otherwise}")
        else:
            self._indirect(source, terminator[1])

    def _indirect(self, source: int, target: str) -> None:
        default = self.label()
        returns = self._region.returns if is_return(self._at) else ()
        if returns:
            cases = " ".join(f"i64 {r}, label %{self._edge(source, r)}" for r in returns)
            self.line(f"switch i64 {target}, label %{default} [ {cases} ]")
        else:
            self.line(f"br label %{default}")
        self._lines.append(f"{default}:")
        self.line(f"store i64 {target}, ptr %pcv")
        self.line("br label %leave")

    def _edge(self, source: int, target: int) -> str:
        """Label to go to for `target`; makes the code of the edge if it needs any."""
        target &= _MASK
        inside = target in self._region.blocks
        if inside and target > source:
            return f"b{target:x}"
        label = self.label()
        self._cold.append(f"{label}:")
        if inside:
            left = self.name()
            go = self.name()
            out = self.label()
            self._cold += [
                f"  {left} = load i64, ptr %fuelv",
                f"  {go} = icmp sge i64 {left}, 0",
                f"  br i1 {go}, label %b{target:x}, label %{out}, !prof !0",
                f"{out}:",
                f"  store i64 {target}, ptr %pcv",
                "  br label %refuel",
            ]
        else:
            self._cold += [f"  store i64 {target}, ptr %pcv", "  br label %leave"]
        return label

    def _flush(self, lines: list[str]) -> None:
        """Write changed registers and the fuel back to their allocas."""
        lines.extend(f"  store i64 {self._values[r]}, ptr %x{r}" for r in sorted(self._dirty))
        if self._executed:
            before, after = self.name(), self.name()
            lines.append(f"  {before} = load i64, ptr %fuelv")
            lines.append(f"  {after} = sub i64 {before}, {self._executed}")
            lines.append(f"  store i64 {after}, ptr %fuelv")

    # AccessEmitter

    def interpret(self) -> str:
        """See `AccessEmitter.interpret`."""
        if self._exit_label is None:
            self._exit_label = self.label()
            self._cold.append(f"{self._exit_label}:")
            self._flush(self._cold)
            self._cold += [f"  store i64 {self._at.pc}, ptr %pcv", "  br label %interpret"]
        return self._exit_label

    def unless(self, condition: str) -> None:
        """See `AccessEmitter.unless`."""
        go = self.label()
        self.line(f"br i1 {condition}, label %{self.interpret()}, label %{go}, !prof !2")
        self.begin(go)

    def slot(self, name: str, bits: int) -> str:
        """See `AccessEmitter.slot`."""
        self._slots[f"%slot.{name}"] = bits
        return f"%slot.{name}"

    # The algebra: values

    def const(self, value: int) -> Value:
        """See `Algebra.const`."""
        return value & _MASK

    def get(self, register: int) -> Value:
        """See `Algebra.get`."""
        if register == 0:
            return 0
        value = self._values.get(register)
        if value is None:
            value = self._values[register] = self.value(f"load i64, ptr %x{register}")
        return value

    def set(self, register: int, value: Value) -> None:
        """See `Algebra.set`."""
        if register:
            self._values[register] = value
            self._dirty.add(register)

    def pc(self) -> Value:
        """See `Algebra.pc`."""
        return self._at.pc

    def next_pc(self) -> Value:
        """See `Algebra.next_pc`."""
        return self._at.next

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

    # The algebra: memory

    def _checked(self, address: Value, size: int) -> Value:
        """Offset of an aligned access that lies in RAM; any other is the interpreter's.

        Accesses of a block that share a base register are checked together, at the first of them: where that check
        fails, the interpreter finds out which of them is to blame.
        """
        base, ram = self._geometry.ram_base, self._geometry.ram_bytes
        if isinstance(address, int):
            offset = address - base
            if offset % size or not 0 <= offset <= ram - size:
                raise _NotCompiled
            return offset
        group = self._groups.get(self._executed)
        if group is None:
            self._check(address, Extent(0, size, size))
        elif group not in self._checks:
            self._checks.add(group)
            self._check(address, group.extent.moved(-group.offsets[self._executed]))
        return self.value(f"sub i64 {address}, {base}")

    def _check(self, address: Value, extent: Extent) -> None:
        """Go on if the extent around `address` lies in RAM and `address` has its alignment.

        Rotating the offset right by log2 of the alignment makes a misaligned one huge and an aligned one its index, so
        that one unsigned comparison finds misalignment, both ends of RAM and wrap-around.
        """
        base, ram = self._geometry.ram_base, self._geometry.ram_bytes
        if extent.end - extent.start > ram:
            raise _NotCompiled
        index = self.value(f"add i64 {address}, {extent.start - base}")
        if extent.alignment > 1:
            shift = extent.alignment.bit_length() - 1
            index = self.value(f"call i64 @llvm.fshr.i64(i64 {index}, i64 {index}, i64 {shift})")
        limit = (ram - (extent.end - extent.start)) // extent.alignment
        self.unless(self.value(f"icmp ugt i64 {index}, {limit}"))

    def _narrow(self, value: Value, size: int) -> str:
        if isinstance(value, int):
            return str(value & (1 << 8 * size) - 1)
        return value if size == 8 else self.value(f"trunc i64 {value} to i{8 * size}")

    def _widen(self, value: str | None, size: int) -> Value:
        if value is None:
            raise _NotCompiled
        return value if size == 8 else self.value(f"zext i{8 * size} {value} to i64")

    def load(self, address: Value, size: int, order: Order = Order.NONE) -> Value:
        """See `Algebra.load`."""
        offset = self._checked(address, size)
        return self._widen(self._policy.load(self, offset, size, order), size)

    def store(self, address: Value, size: int, value: Value, order: Order = Order.NONE) -> None:
        """See `Algebra.store`."""
        offset = self._checked(address, size)
        if not self._policy.store(self, offset, size, self._narrow(value, size), order):
            raise _NotCompiled

    def load_reserved(self, address: Value, size: int, order: Order) -> Value:
        """See `Algebra.load_reserved`."""
        offset = self._checked(address, size)
        return self._widen(
            self._policy.load_reserved(self, offset, size, order, self._pairs.get(self._at.pc)), size
        )

    def store_conditional(self, address: Value, size: int, value: Value, order: Order) -> Value:
        """See `Algebra.store_conditional`."""
        offset = self._checked(address, size)
        failed = self._policy.store_conditional(
            self, offset, size, self._narrow(value, size), order, self._pairs.get(self._at.pc)
        )
        if failed is None:
            raise _NotCompiled
        result = self.value(f"zext i1 {failed} to i64")
        self._flags[result] = failed
        return result

    def amo(self, op: AmoOp, address: Value, size: int, operand: Value, order: Order) -> Value:
        """See `Algebra.amo`."""
        offset = self._checked(address, size)
        old = self._policy.amo(self, op, offset, size, self._narrow(operand, size), order)
        return self._widen(old, size)

    def compare_and_swap(
        self, address: Value, size: int, expected: Value, desired: Value, order: Order
    ) -> Value:
        """See `Algebra.compare_and_swap`."""
        offset = self._checked(address, size)
        old = self._policy.compare_and_swap(
            self, offset, size, self._narrow(expected, size), self._narrow(desired, size), order
        )
        return self._widen(old, size)

    def compare_and_swap_pair(
        self, address: Value, expected: tuple[Value, Value], desired: tuple[Value, Value], order: Order
    ) -> tuple[Value, Value]:
        """See `Algebra.compare_and_swap_pair`."""
        offset = self._checked(address, 16)
        old = self._policy.compare_and_swap(
            self, offset, 16, self._join(expected), self._join(desired), order
        )
        if old is None:
            raise _NotCompiled
        low = self.value(f"trunc i128 {old} to i64")
        shifted = self.value(f"lshr i128 {old}, 64")
        return low, self.value(f"trunc i128 {shifted} to i64")

    def _join(self, pair: tuple[Value, Value]) -> str:
        low, high = (self.value(f"zext i64 {v} to i128") for v in pair)
        return self.value(f"or i128 {low}, {self.value(f'shl i128 {high}, 64')}")

    def fence(self, predecessor: int, successor: int) -> None:
        """See `Algebra.fence`."""
        self._note_fence(predecessor, successor)
        # I and O order like R and W: devices are the interpreter's, which is a full barrier anyway.
        if predecessor & 0b0101 and successor & 0b1010:
            self.line("fence seq_cst")
        elif predecessor and successor:
            self.line("fence acq_rel")

    def fence_tso(self) -> None:
        """See `Algebra.fence_tso`."""
        self._note_fence(3, 3)
        self.line("fence acq_rel")

    def _note_fence(self, predecessor: int, successor: int) -> None:
        if isinstance(self._policy, RecordingLowering):
            self._policy.fence(self, predecessor, successor)

    # The algebra: control transfer

    def _aligned(self, target: int) -> None:
        if target & (self._geometry.alignment - 1):
            raise _NotCompiled

    def jump(self, offset: int) -> None:
        """See `Algebra.jump`."""
        target = self._at.pc + offset & _MASK
        self._aligned(target)
        self._terminator = ("jump", str(target))

    def jump_to(self, target: Value) -> None:
        """See `Algebra.jump_to`."""
        if isinstance(target, int):
            self._aligned(target & ~1)
            self._note_jump(target & ~1)
            self._terminator = ("jump", str(target & ~1))
            return
        even = self.value(f"and i64 {target}, -2")
        if self._geometry.alignment == 4:
            odd = self.value(f"and i64 {even}, 2")
            self.unless(self.value(f"icmp ne i64 {odd}, 0"))
        self._note_jump(even)
        self._terminator = ("indirect", even)

    def _note_jump(self, target: Value) -> None:
        if isinstance(self._policy, RecordingLowering):
            self._policy.jump(self, target)

    def branch(self, condition: Value, offset: int) -> None:
        """See `Algebra.branch`."""
        target = self._at.pc + offset & _MASK
        flag = self._flag(condition)
        if target & (self._geometry.alignment - 1):
            self.unless(flag)
            target = self._at.next
        self._terminator = ("branch", flag, str(target))

    # System instructions are the interpreter's; `region.Instruction.native` keeps them from getting here.

    def _interpreters(self, *_: object) -> None:
        raise _NotCompiled

    fence_i = illegal = ecall = ebreak = mret = wfi = pause = _interpreters
    wait_on_reservation = csr_write = _interpreters

    def csr_read(self, number: int) -> Value:
        """See `Algebra.csr_read`."""
        raise _NotCompiled
