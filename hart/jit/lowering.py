"""From a region to LLVM IR: the algebra instantiated with an IR emitter.

Owns control flow, registers and instruction counting in compiled code. Arithmetic is `hart.jit.arithmetic`'s, accesses
are `hart.jit.guest_memory`'s. Calls no compiler.

Shape of the function `i64 f(ptr %c, i64 %fuel)`: registers that the region touches are loaded into allocas, which
LLVM turns into SSA values; each block works on values and writes back what it changed at its end. Every exit sets
the pc and goes to one place that stores the registers the region may have changed. From there control goes on to
the region at that pc by a tail call through the entry table, or returns.

In T2 a block that is a loop by itself is laid out several times (`Region.copies`): each copy's edge to the loop's start
goes to the next copy, like one to a higher address.

Counting: `fuel` falls by each block's length at its end, or by what was executed at an exit. The entry, and edges to an
address that is not higher than their source, go on only if it suffices for the longest way from any of them to the next
such check (`Region.reach`): so no more than `fuel` instructions are ever executed. Inside, the count is kept lower by
that much, so that the subtraction's sign is the check.
"""

from __future__ import annotations

from bus.layout import Hart
from bus.lowering import Lowering, Value, hart_word, host_pause
from bus.recording import RecordingLowering
from hart.jit.arithmetic import DECLARATIONS
from hart.jit.context import COUNT_WORDS, Reason, Word
from hart.jit.guest_memory import Geometry, IrMemory, NotCompiled
from hart.jit.instruments import CYCLES, CYCLES_DECLARATION, Instrument
from hart.jit.region import Block, Region, fused_pairs, is_forward, is_return
from hart.jit.retries import retry_loops

_MASK = (1 << 64) - 1

PAUSE_ROUNDS = 20
"""How many rounds of a retry loop a PAUSE stands for: a guest that pauses means to wait."""


def lower(
    region: Region,
    name: str,
    geometry: Geometry,
    policy: Lowering,
    *,
    ssa: bool,
    instruments: Instrument = Instrument.NONE,
) -> str:
    """The IR of a module with the one function `name`; with `ssa` guest registers live in allocas."""
    return _Function(region, name, geometry, policy, ssa, instruments).text()


def _label(pc: int, copy: int = 0) -> str:
    """Where the block at `pc` begins, or a further copy of it."""
    return f"b{pc:x}.{copy}" if copy else f"b{pc:x}"


class _Function(IrMemory):
    """One region being lowered; also the algebra, for the instruction at hand."""

    def __init__(
        self,
        region: Region,
        name: str,
        geometry: Geometry,
        policy: Lowering,
        ssa: bool,
        instruments: Instrument,
    ) -> None:
        super().__init__(geometry, policy, instruments, fused_pairs(region))
        self._region = region
        self._name = name
        self._ssa = ssa
        self._cold: list[str] = []
        self._values: dict[int, Value] = {}
        self._dirty: set[int] = set()
        self._slots: dict[str, int] = {}
        self._counters: list[int] = []
        """Words of the hart's page that live in allocas."""
        loops = retry_loops(region)
        self._retries = {(loop.last, loop.first) for loop in loops}
        """Edges of retry loops, from block to block."""
        self._retrying = frozenset[int]().union(*(loop.blocks for loop in loops))
        self._delaying = frozenset[int]().union(*(loop.delays for loop in loops))
        self._watching = frozenset[int]().union(*(loop.blocks for loop in loops if loop.only_loads))
        unrolled = region.copies() if ssa else {}
        self._copies = {pc: n for pc, n in unrolled.items() if (pc, pc) not in self._retries}
        """How many copies of a block there are, where it is not one."""
        self._copy = 0
        self._reach = region.reach(self._copies)
        self._block_at = 0
        self._exit_label: str | None = None
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
            ("table", Word.TABLE),
            ("page_map", Word.PAGE_MAP),
            ("granules", Word.GRANULES),
            ("support", Word.SUPPORT),
            ("page", Word.PAGE),
            ("record", Word.RECORD),
        ):
            head.append(f"  %{pointer}.p = getelementptr i64, ptr %c, i64 {int(word)}")
            head.append(f"  %{pointer} = load ptr, ptr %{pointer}.p, !invariant.load !1")
        if self._in_place:
            head.append(f"  %ram = inttoptr i64 {self._geometry.ram_base} to ptr")
        else:
            head.append(f"  %ram.p = getelementptr i64, ptr %c, i64 {int(Word.RAM)}")
            head.append("  %ram = load ptr, ptr %ram.p, !invariant.load !1")
        for name, word in (("base", Word.FREE_BASE), ("bytes", Word.FREE_BYTES)) if self._finds_free else ():
            head.append(f"  %free.{name}.p = getelementptr i64, ptr %c, i64 {int(word)}")
            head.append(f"  %free.{name} = load i64, ptr %free.{name}.p, !invariant.load !1")
        for r in self._used:
            head += self._state(f"x{r}", Word.X + r)
            if self._ssa:
                head.append(f"  %x{r}.0 = load i64, ptr %x{r}.p")
                head.append(f"  store i64 %x{r}.0, ptr %x{r}")
        entry = self._region.entry
        head += [
            "  %spins = alloca i64",
            "  %looked = alloca i64",
            "  store i64 0, ptr %looked",  # control may enter a round behind its look
            f"  %spins.p = getelementptr i64, ptr %c, i64 {int(Word.SPIN_BUDGET)}",
            "  %spins.0 = load i64, ptr %spins.p",
            "  store i64 %spins.0, ptr %spins",
            "  %waits = alloca i64",
            f"  %waits.p = getelementptr i64, ptr %c, i64 {int(Word.SPIN_WAITS)}",
            "  %waits.0 = load i64, ptr %waits.p",
            "  store i64 %waits.0, ptr %waits",
        ]
        start = "  %start = icmp sge i64 %budget, 0"
        head.append(start)
        head.append(f"  br i1 %start, label %{_label(entry)}, label %empty, !prof !0")
        head.append("empty:")
        head.append(f"  store i64 {entry}, ptr %pcv")
        head.append("  br label %refuel")
        for block in self._region.blocks.values():
            for copy in range(self._copies.get(block.pc, 1)):
                self._block(block, copy)
        # Variables that lowerings asked for belong to the entry block, as the registers do.
        at = head.index("entry:") + 1
        head[at:at] = [f"  {name} = alloca i{bits}" for name, bits in self._slots.items()]
        at = head.index(start)
        for count in self._counters:
            head[at:at] = [
                f"  %count{count} = alloca i64",
                f"  %count{count}.p = getelementptr i64, ptr %page, i64 {count}",
                f"  %count{count}.0 = load i64, ptr %count{count}.p",
                f"  store i64 %count{count}.0, ptr %count{count}",
            ]
        module = (
            DECLARATIONS,
            CYCLES_DECLARATION,
            *head,
            *self._lines,
            *self._cold,
            *self._tail(),
            *self.included,
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
            *self._counted("l"),
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
            "spin:",
            f"  store i64 {int(Reason.SPIN)}, ptr %reasonv",
            "  br label %return",
            "interpret:",
            f"  store i64 {int(Reason.INTERPRET)}, ptr %reasonv",
            "  br label %return",
            "return:",
            *self._spill(".r"),
            *self._counted("r"),
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

    def _counted(self, prefix: str) -> list[str]:
        """Add what the region retired and the cycles since control came to it to its counts."""
        if not self._instruments & Instrument.PROFILED:
            return []
        place = (self._region.entry - self._geometry.ram_base >> 1) * COUNT_WORDS + (2 if self._ssa else 0)
        p = f"%{prefix}"
        return [
            f"  {p}.spare = load i64, ptr %fuelv",
            f"  {p}.left = add i64 {p}.spare, {self._reach}",
            f"  {p}.retired = sub i64 %fuel, {p}.left",
            f"  {p}.counts.p = getelementptr i64, ptr %c, i64 {int(Word.COUNTS)}",
            f"  {p}.counts = load ptr, ptr {p}.counts.p",
            f"  {p}.count.p = getelementptr i64, ptr {p}.counts, i64 {place}",
            f"  {p}.count = load i64, ptr {p}.count.p",
            f"  {p}.count.n = add i64 {p}.count, {p}.retired",
            f"  store i64 {p}.count.n, ptr {p}.count.p",
            f"  {p}.now = call i64 {CYCLES}()",
            f"  {p}.since.p = getelementptr i64, ptr %c, i64 {int(Word.SINCE)}",
            f"  {p}.since = load i64, ptr {p}.since.p",
            f"  store i64 {p}.now, ptr {p}.since.p",
            f"  {p}.taken = sub i64 {p}.now, {p}.since",
            f"  {p}.cycles.p = getelementptr i64, ptr {p}.counts, i64 {place + 1}",
            f"  {p}.cycles = load i64, ptr {p}.cycles.p",
            f"  {p}.cycles.n = add i64 {p}.cycles, {p}.taken",
            f"  store i64 {p}.cycles.n, ptr {p}.cycles.p",
        ]

    def _spill(self, suffix: str = "") -> list[str]:
        lines: list[str] = []
        for r in self._writes if self._ssa else ():
            lines.append(f"  %x{r}.s{suffix} = load i64, ptr %x{r}")
            lines.append(f"  store i64 %x{r}.s{suffix}, ptr %x{r}.p")
        if self._retries:
            lines.append(f"  %waits.s{suffix} = load i64, ptr %waits")
            lines.append(f"  store i64 %waits.s{suffix}, ptr %waits.p")
        for word in self._counters:
            lines.append(f"  %count{word}.s{suffix} = load i64, ptr %count{word}")
            lines.append(f"  store i64 %count{word}.s{suffix}, ptr %count{word}.p")
        return lines

    # Blocks

    def _block(self, block: Block, copy: int) -> None:
        self._copy = copy
        self._lines.append(f"{_label(block.pc, copy)}:")
        self._block_at = block.pc
        self._values.clear()
        self._dirty.clear()
        self._flags.clear()
        self._begin_accesses(block)
        self._executed = 0
        for i in block.instructions:
            self._at = i
            self._exit_label = None
            if not i.native:
                self._leave_to_interpreter()
                return
            try:
                i.decoded.row.meaning(self, *i.decoded.arguments)
            except NotCompiled:
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
        if terminator is None:
            self.line(f"br label %{self._edge(block, block.end)}")
            return
        kind = terminator[0]
        if kind == "jump":
            self.line(f"br label %{self._edge(block, int(terminator[1]))}")
        elif kind == "branch":
            taken = self._edge(block, int(terminator[2]))
            otherwise = self._edge(block, self._at.next)
            self.line(f"br i1 {terminator[1]}, label %{taken}, label %{otherwise}")
        else:
            self._indirect(block, terminator[1])

    def _spin(self, target: int) -> None:
        """One round less; without any left, wait in the policy's way, or leave for the port's."""
        wait, leave, go = self.label(), self.label(), self.label()
        self.line(f"br i1 {self._spent(1)}, label %{wait}, label %{go}, !prof !2")
        self.begin(wait)
        self.line("store i64 %spins.0, ptr %spins")
        looked = self.value("load i64, ptr %looked")
        waits = self.value("load i64, ptr %waits")
        self.line(f"store i64 {self.value(f'add i64 {waits}, 1')}, ptr %waits")
        leaves = self._policy.spin(self, looked, waits)
        self.line(f"br i1 {'true' if leaves is None else leaves}, label %{leave}, label %{go}")
        self.begin(leave)
        self.line(f"store i64 {target}, ptr %pcv")
        pointer = self.value(f"getelementptr i64, ptr %c, i64 {int(Word.SPIN_OFFSET)}")
        self.line(f"store i64 {looked}, ptr {pointer}")
        self.line("br label %spin")
        self.begin(go)

    def _spent(self, rounds: int) -> str:
        """Take so many rounds from the budget; an i1: whether there was less."""
        left = self.value("load i64, ptr %spins")
        less = self.value(f"sub i64 {left}, {rounds}")
        self.line(f"store i64 {less}, ptr %spins")
        return self.value(f"icmp slt i64 {less}, 0")

    def _indirect(self, block: Block, target: str) -> None:
        default = self.label()
        returns = self._region.returns if is_return(self._at) else ()
        if returns:
            cases = " ".join(f"i64 {r}, label %{self._edge(block, r)}" for r in returns)
            self.line(f"switch i64 {target}, label %{default} [ {cases} ]")
        else:
            self.line(f"br label %{default}")
        self._lines.append(f"{default}:")
        self.line(f"store i64 {target}, ptr %pcv")
        self.line("br label %leave")

    def _edge(self, block: Block, target: int) -> str:
        """Label to go to from `block` for `target`; makes the code of the edge if it needs any.

        An edge that the region does not know of (a jump by constants that `hart.jit.targets` did not see) leads out of
        it: `Region.reach` has not counted it.
        """
        target &= _MASK
        inside = target in block.successors
        if target == block.pc and inside and self._copy + 1 < self._copies.get(target, 1):
            return _label(target, self._copy + 1)
        ends_retry = self._block_at in self._retrying and target not in self._retrying
        if inside and is_forward(block, target) and not ends_retry:
            return _label(target)
        label = self.label()
        self._cold.append(f"{label}:")
        if ends_retry:  # not in vain: the next loop begins anew
            self._cold += ["  store i64 %spins.0, ptr %spins", "  store i64 0, ptr %waits"]
            if inside and is_forward(block, target):
                self._cold.append(f"  br label %{_label(target)}")
                return label
        if (self._block_at, target) in self._retries:
            self._lines, self._cold = self._cold, self._lines
            self._spin(target)
            self._lines, self._cold = self._cold, self._lines
        if inside:
            left = self.name()
            go = self.name()
            out = self.label()
            self._cold += [
                f"  {left} = load i64, ptr %fuelv",
                f"  {go} = icmp sge i64 {left}, 0",
                f"  br i1 {go}, label %{_label(target)}, label %{out}, !prof !0",
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

    def unless(self, condition: str, otherwise: str | None = None) -> None:
        """See `AccessEmitter.unless`; to go on at the label `otherwise` is also possible."""
        go = self.label()
        self.line(f"br i1 {condition}, label %{otherwise or self.interpret()}, label %{go}, !prof !2")
        self.begin(go)

    def counter(self, word: int) -> str:
        """See `AccessEmitter.counter`."""
        if not self._ssa:
            return hart_word(self, word)
        if word not in self._counters:
            self._counters.append(word)
        return f"%count{word}"

    def here(self) -> None:
        """See `AccessEmitter.here`."""
        self.line(f"store i64 {self._at.pc}, ptr {hart_word(self, Hart.SC_PC)}")

    def slot(self, name: str, bits: int) -> str:
        """See `AccessEmitter.slot`."""
        self._slots[f"%slot.{name}"] = bits
        return f"%slot.{name}"

    # The algebra: registers

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

    # IrMemory

    def _look(self, offset: Value) -> Value:
        """See `IrMemory._look`: notes what a retry loop looks at."""
        if self._block_at in self._retrying:
            self.line(f"store i64 {offset}, ptr %looked")
        return offset

    # The algebra: control transfer

    def _aligned(self, target: int) -> None:
        if target & (self._geometry.alignment - 1):
            raise NotCompiled

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
        raise NotCompiled

    fence_i = illegal = ecall = ebreak = mret = wfi = _interpreters
    wait_on_reservation = csr_write = _interpreters

    def pause(self) -> None:
        """See `Algebra.pause`; some rounds of the budget. When none are left, a retry loop waits at its end; elsewhere,
        and where it counts before it looks again, the instruction is the interpreter's.

        It is the host's PAUSE too, but where a retry loop only loads: that takes nothing from those that it waits for,
        and would see what they write later.
        """
        if self._block_at not in self._watching:
            host_pause(self)
        spent = self._spent(PAUSE_ROUNDS)
        if self._block_at not in self._retrying or self._block_at in self._delaying:
            self.unless(spent)

    def csr_read(self, number: int) -> Value:
        """See `Algebra.csr_read`."""
        raise NotCompiled
