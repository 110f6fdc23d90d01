"""A policy's native accesses as C functions, so that the interpreter's port runs the very code that the JIT emits.

Owns the functions' signature and their compilation. What an access does is the policy's (`bus.lowering`).

Each function is `i64 f(ptr context, i64 offset, i64 a, i64 b, i64 c, i64 d)`. It returns 0, or 1 where compiled guest
code would leave the access to the interpreter; what the access gives is in the context's last words. The context
holds the host pointers of CONTEXT in this order, then two words for the result.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence

from bus.access import AmoOp, Order
from bus.ir_text import FunctionText
from bus.lowering import Lowering, Value, hart_word
from bus.native import compile_module
from bus.segment import Segment

CONTEXT = ("page", "page_map", "granules", "ram", "support")
RESULT = len(CONTEXT)
"""Word of the result's low half; the high half follows."""

Function = Callable[[int, int, int, int, int, int], int]

_PAIR = "pair"
_WEIGHTS = """
!0 = !{!"branch_weights", i32 2000, i32 1}
!2 = !{!"branch_weights", i32 1, i32 2000}
"""


class StandaloneFunctions:
    """The accesses of a lowering as functions of this process.

    Attributes:
        by_name: store1 to store8 (a: value), amo<op>.<size> (a: operand), cas1 to cas8 (a: expected, c: desired),
            cas16 (a, b: expected; c, d: desired), lr4, lr8, sc4, sc8 (a: value), fused4 and fused8 (the SC of a fused
            pair; a: value, b: what its LR read). The result of an SC is whether it failed.
        support: host address of the table of the policy's own functions.

    """

    def __init__(self, lowering: Lowering, support_ir: str, support: Sequence[str]) -> None:
        """`support_ir` defines the functions named in `support`, which the lowering calls through the table."""
        functions: dict[str, str] = {}
        included: dict[str, None] = {}
        for e in _functions(lowering):
            functions[e.function] = e.text
            included |= e.included
        # Native guest code calls these; the others are called from Python, which costs more than they do.
        self._support = compile_module(support_ir, optimize=2)
        self._table = (ctypes.c_uint64 * len(support))(*map(self._support.get_function_address, support))
        self.support = ctypes.addressof(self._table)
        self._engine = compile_module("\n".join([*included, *functions.values(), _WEIGHTS]), optimize=0)
        address = self._engine.get_function_address
        prototype = ctypes.CFUNCTYPE(*[ctypes.c_uint64] * 7)
        self.by_name: dict[str, Function] = {name: prototype(address(name)) for name in functions}

    def context(self, segment: Segment, hart: int) -> ctypes.Array[ctypes.c_uint64]:
        """A hart's context: what CONTEXT says, and room for the result."""
        geometry = segment.geometry
        return (ctypes.c_uint64 * (RESULT + 2))(
            segment.harts[hart].address(0),
            segment.address + geometry.page_map_offset,
            segment.address + geometry.granule_offset,
            segment.address + geometry.ram_offset,
            self.support,
        )


def _functions(lowering: Lowering) -> Iterator[_Access]:
    """Each function, finished."""
    none = Order.NONE  # the port adds what an order asks for
    for size in (1, 2, 4, 8):
        bits = 8 * size
        e = _Access(f"store{size}")
        lowering.store(e, "%offset", size, e.narrow("%a", size), none)
        yield e.finished()
        e = _Access(f"cas{size}")
        old = lowering.compare_and_swap(e, "%offset", size, e.narrow("%a", size), e.narrow("%c", size), none)
        yield e.finished(old, bits)
        for op in AmoOp:
            e = _Access(f"amo{int(op)}.{size}")
            yield e.finished(lowering.amo(e, op, "%offset", size, e.narrow("%a", size), none), bits)
    e = _Access("cas16")
    old = lowering.compare_and_swap(e, "%offset", 16, e.wide("%a", "%b"), e.wide("%c", "%d"), none)
    yield e.finished(old, 128)
    for size in (4, 8):
        bits = 8 * size
        e = _Access(f"lr{size}")
        yield e.finished(lowering.load_reserved(e, "%offset", size, none, None), bits)
        e = _Access(f"sc{size}")
        yield e.finished(lowering.store_conditional(e, "%offset", size, e.narrow("%a", size), none, None), 1)
        e = _Access(f"fused{size}")
        e.line(f"store i{bits} {e.narrow('%b', size)}, ptr {e.slot(_PAIR, bits)}")
        yield e.finished(lowering.store_conditional(e, "%offset", size, e.narrow("%a", size), none, _PAIR), 1)


class _Access(FunctionText):
    """One function under construction; an emitter for a lowering."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.function = name
        self.text = ""
        self._slots: dict[str, int] = {}

    def interpret(self) -> str:
        """See `AccessEmitter.interpret`."""
        return "bail"

    def unless(self, condition: str) -> None:
        """See `AccessEmitter.unless`."""
        go = self.label()
        self.line(f"br i1 {condition}, label %bail, label %{go}")
        self.begin(go)

    def counter(self, word: int) -> str:
        """See `AccessEmitter.counter`."""
        return hart_word(self, word)

    def here(self) -> None:
        """See `AccessEmitter.here`: the interpreter has."""

    def slot(self, name: str, bits: int) -> str:
        """See `AccessEmitter.slot`."""
        self._slots[f"%slot.{name}"] = bits
        return f"%slot.{name}"

    def pc(self) -> Value:
        """See `AccessEmitter.pc`: no guest instruction."""
        return 0

    def narrow(self, parameter: str, size: int) -> str:
        """A parameter as an integer of `size` bytes."""
        return parameter if size == 8 else self.value(f"trunc i64 {parameter} to i{8 * size}")

    def wide(self, low: str, high: str) -> str:
        """Two parameters as an i128."""
        parts = [self.value(f"zext i64 {p} to i128") for p in (low, high)]
        return self.value(f"or i128 {parts[0]}, {self.value(f'shl i128 {parts[1]}, 64')}")

    def finished(self, result: str | None = None, bits: int = 0) -> _Access:
        """Itself, with its text, which puts `result` of `bits` into the context; nothing may be emitted after."""
        if bits == 128:
            self._give(self.value(f"trunc i128 {result} to i64"), RESULT)
            self._give(self.value(f"trunc i128 {self.value(f'lshr i128 {result}, 64')} to i64"), RESULT + 1)
        elif bits:
            assert result is not None, f"{self.function}: the lowering leaves it to the interpreter"
            self._give(result if bits == 64 else self.value(f"zext i{bits} {result} to i64"), RESULT)
        head = [
            f"define i64 @{self.function}(ptr %context, i64 %offset, i64 %a, i64 %b, i64 %c, i64 %d) {{",
            "entry:",
        ]
        for index, pointer in enumerate(CONTEXT):
            head.append(f"  %{pointer}.p = getelementptr i64, ptr %context, i64 {index}")
            head.append(f"  %{pointer} = load ptr, ptr %{pointer}.p")
        head += [f"  {name} = alloca i{bits}" for name, bits in self._slots.items()]
        tail = ["  ret i64 0", "bail:", "  ret i64 1", "}", ""]
        self.text = "\n".join([*head, *self._lines, *tail])
        return self

    def _give(self, value: str, word: int) -> None:
        self.line(f"store i64 {value}, ptr {self.value(f'getelementptr i64, ptr %context, i64 {word}')}")
