"""Loaded native code of one hart process: the entry table, the context, entering and forgetting regions.

Owns host memory that compiled code uses, and the objects loaded. Decides neither what to compile nor when.

The free stretch (`Word.FREE_BASE`) is where compiled code stores without looking at the page map. It is private to the
hart and looked for on the way into native code, whenever QUIESCE_EPOCH is not what it was. The arbiter that sets a
byte of the page map raises the epoch after it and then waits for quiescence (`bus.quiescence`). Say it does so for page
p, epoch n. A hart is quiescent once it has acknowledged n or a request of its arrived; it does both outside native
code, and goes on after it has read n or got an answer that was sent after n was written. So whenever it enters native
code after that, it finds the epoch not older than n, and with it p's byte: p is not in its stretch. Its stores before
that are done. That it may take a while, a stride, and store to p as to a free page until then is what the wait is for:
page p is PENDING. A dead hart stores nothing; a stopped one is waited for; one that joins has not looked yet.
WATCHED changes without quiescence, but only while every hart stands and then drops its native code (`hart.watch`).
"""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Callable, Iterable
from typing import Any

from bus.layout import PAGE, Hart, Header
from bus.memory import GuestMemory
from bus.segment import Segment
from hart.jit.context import Reason, Word
from hart.jit.place import ram_in_place


def _enter_ir(ram_base: int, ram_bytes: int, first: str) -> str:
    """The way into native code: gives it its fuel in strides, and looks at the doorbell between them.

    It returns for any other reason than an empty stride, when all is used up, when the bell has rung, or where no
    region begins at the address that was reached. `first` is done before all this.
    """
    return f"""
define i64 @enter(ptr %c, i64 %fuel, ptr %f, i64 %stride) {{
entry:
{first}
  %fuel.p = getelementptr i64, ptr %c, i64 {int(Word.FUEL)}
  %reason.p = getelementptr i64, ptr %c, i64 {int(Word.REASON)}
  %table.p = getelementptr i64, ptr %c, i64 {int(Word.TABLE)}
  %table = load ptr, ptr %table.p
  %page.p = getelementptr i64, ptr %c, i64 {int(Word.PAGE)}
  %page = load ptr, ptr %page.p
  %bell.p = getelementptr i64, ptr %page, i64 {int(Hart.DOORBELL)}
  br label %run
run:
  %region = phi ptr [ %f, %entry ], [ %next, %again ]
  %total = phi i64 [ %fuel, %entry ], [ %left, %again ]
  %given = call i64 @llvm.umin.i64(i64 %total, i64 %stride)
  %pc = call preserve_nonecc i64 %region(ptr %c, i64 %given)
  %unused = load i64, ptr %fuel.p
  %kept = sub i64 %total, %given
  %left = add i64 %kept, %unused
  store i64 %left, ptr %fuel.p
  %reason = load i64, ptr %reason.p
  %empty = icmp eq i64 %reason, {int(Reason.FUEL)}
  %more = icmp ne i64 %kept, 0
  %bell = load volatile i64, ptr %bell.p
  %quiet = icmp eq i64 %bell, 0
  %offset = sub i64 %pc, {ram_base}
  %inside = icmp ult i64 %offset, {ram_bytes}
  %a = and i1 %empty, %more
  %b = and i1 %quiet, %inside
  %on = and i1 %a, %b
  br i1 %on, label %look, label %done
look:
  %index = lshr i64 %offset, 1
  %slot = getelementptr ptr, ptr %table, i64 %index
  %next = load ptr, ptr %slot
  %absent = icmp eq ptr %next, null
  br i1 %absent, label %done, label %again
again:
  br label %run
done:
  ret i64 %pc
}}
declare i64 @llvm.umin.i64(i64, i64)
"""


LONGEST_STRIDE = 1 << 62
"""For those who do not want the doorbell looked at."""
NORESERVE = getattr(mmap, "MAP_NORESERVE", 0)
"""Of memory whose untouched pages cost nothing."""
_FREE_PAGES = re.compile(rb"\0+")
USELESS_OBJECTS = 1000
"""How many objects may stay loaded without use; some 10 KiB each."""


class Engine:
    """Native code of a hart. `enter(address, fuel)` runs the region that was loaded there."""

    declarations = on_entry = ""
    """IR of what is done on the way into native code, `%c` being the context."""

    def __init__(self, segment: Segment, hart: int, support: int = 0) -> None:
        """No region yet."""
        geometry = segment.geometry
        self._segment = segment
        self._in_place = ram_in_place(geometry.ram_base, geometry.ram_bytes)
        self._memory: GuestMemory = segment.memory
        self._base = geometry.ram_base
        # Untouched pages of the table cost nothing: it may be four times RAM.
        self._table_map = mmap.mmap(
            -1, geometry.ram_bytes * 4, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE
        )
        self._table = memoryview(self._table_map).cast("Q")
        self._words = (ctypes.c_uint64 * Word.COUNT)()
        self.context = memoryview(self._words).cast("B").cast("Q")
        """The context's words; see `Word`."""
        self.context[Word.RAM] = (
            geometry.ram_base if self._in_place else segment.address + geometry.ram_offset
        )
        self.context[Word.PAGE_MAP] = segment.address + geometry.page_map_offset
        self.context[Word.GRANULES] = segment.address + geometry.granule_offset
        self.context[Word.SUPPORT] = support
        self.context[Word.TABLE] = ctypes.addressof(ctypes.c_char.from_buffer(self._table_map))
        self.context[Word.PAGE] = segment.harts[hart].address(0)
        self._address = ctypes.addressof(self._words)
        self._regions: dict[int, tuple[tuple[tuple[int, int], ...], bytes]] = {}
        """By entry: the code it stands for, as it was when it was compiled."""
        self.entries: dict[int, int] = {}
        """Host address by entry."""
        self._header = segment.header
        self._page_map = segment.page_map
        self._show_ram()
        self._engine: Any = None
        """LLVM's; made for the first region, for many harts never need one."""
        self.used = False
        """Whether a region was ever loaded."""
        self._free_since = -1
        """Value of QUIESCE_EPOCH when the free stretch was last looked for."""
        self.useless = 0
        """Objects that are loaded although their regions were replaced or dropped."""

    def _show_ram(self) -> None:
        if self._in_place:
            self._segment.show_ram()

    def _start(self) -> None:
        """A new LLVM engine, which holds nothing but the way in."""
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        geometry = self._segment.geometry
        machine = llvm.Target.from_default_triple().create_target_machine()
        self._engine = llvm.create_mcjit_compiler(
            llvm.parse_assembly(
                self.declarations + _enter_ir(geometry.ram_base, geometry.ram_bytes, self.on_entry)
            ),
            machine,
        )
        self._engine.finalize_object()
        self._enter: Callable[[int, int, int, int], int] = ctypes.CFUNCTYPE(*[ctypes.c_uint64] * 5)(
            self._engine.get_function_address("enter")
        )
        self.used = True

    def enter(self, native: int, fuel: int, stride: int = LONGEST_STRIDE) -> int:
        """Run native code until it returns; the next pc. `context` holds what is left of `fuel`.

        It returns with Reason.FUEL, perhaps before the fuel is used up, if the doorbell has rung: that is looked at
        every `stride` instructions, which are more than any region needs at once.
        """
        self._show_ram()
        epoch = self._header[Header.QUIESCE_EPOCH]
        if epoch != self._free_since:
            self._find_free_stretch()
            self._free_since = epoch
        return self._enter(self._address, fuel, native, stride)

    def _find_free_stretch(self) -> None:
        """The longest run of pages whose page-map bytes are 0."""
        runs = (run.span() for run in _FREE_PAGES.finditer(self._page_map))
        start, end = max(runs, key=lambda run: run[1] - run[0], default=(0, 0))
        self.context[Word.FREE_BASE] = self._base + start * PAGE
        self.context[Word.FREE_BYTES] = (end - start) * PAGE

    def code_bytes(self, stretches: Iterable[tuple[int, int]]) -> bytes:
        """The guest code in these stretches as it is now."""
        return b"".join(self._memory.read(start, end - start) for start, end in stretches)

    def add(
        self, entry: int, name: str, stretches: tuple[tuple[int, int], ...], code: bytes, obj: bytes
    ) -> bool:
        """Load an object whose function `name` is the region at `entry`; false if memory holds other code now."""
        if self.code_bytes(stretches) != code:
            return False
        import llvmlite.binding as llvm

        if self._engine is None:
            self._start()
        self._engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(obj))
        self._engine.finalize_object()
        native = self._engine.get_function_address(name)
        self.useless += entry in self._regions
        self._regions[entry] = (stretches, code)
        self.entries[entry] = native
        self._table[(entry - self._base) >> 1] = native
        return True

    def forget_changed(self) -> list[int]:
        """Drop every region whose code is not what it was (FENCE.I); returns their entries.

        Drops all of them when too many useless objects are loaded: LLVM lets go of objects only together. Not to be
        called while native code runs.
        """
        changed = [e for e, (stretches, code) in self._regions.items() if self.code_bytes(stretches) != code]
        self.useless += len(changed)
        if self.useless > USELESS_OBJECTS:
            changed = list(self._regions)
            self.forget_all()
        else:
            self._forget(changed)
        return changed

    def forget_all(self) -> None:
        """Drop every region and let go of the objects. Not to be called while native code runs."""
        self._forget(list(self._regions))
        if self._engine is not None:
            self._engine.close()
        self._engine = None
        self._free_since = -1
        self.useless = 0

    def _forget(self, entries: Iterable[int]) -> None:
        for entry in entries:
            del self._regions[entry], self.entries[entry]
            self._table[(entry - self._base) >> 1] = 0
