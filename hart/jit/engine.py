"""Loaded native code of one hart process: the entry table, the context, entering and forgetting regions.

Owns host memory that compiled code uses, and the objects loaded. Decides neither what to compile nor when.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterable

from bus.memory import GuestMemory
from bus.segment import Segment
from hart.jit.context import Word

_ENTER = """
define i64 @enter(ptr %c, i64 %fuel, ptr %f) {
  %r = call preserve_nonecc i64 %f(ptr %c, i64 %fuel)
  ret i64 %r
}
"""

NORESERVE = getattr(mmap, "MAPNORESERVE", 0)
"""Memory of which untouched pages cost nothing."""
USELESS_OBJECTS = 1000
"""How many objects may stay loaded without use; some 10 KiB each."""


class Engine:
    """Native code of a hart. `enter(address, fuel)` runs the region that was loaded there."""

    entry_ir = _ENTER
    """The way from the host's calling convention into a region's."""

    def __init__(self, segment: Segment, hart: int, support: int = 0) -> None:
        """No region yet."""
        geometry = segment.geometry
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
        self.context[Word.RAM] = segment.address + geometry.ram_offset
        self.context[Word.PAGE_MAP] = segment.address + geometry.page_map_offset
        self.context[Word.GRANULES] = segment.address + geometry.granule_offset
        self.context[Word.SUPPORT] = support
        self.context[Word.LASTS] = segment.address + geometry.writer_offset
        self.context[Word.TABLE] = ctypes.addressof(ctypes.c_char.from_buffer(self._table_map))
        self.context[Word.PAGE] = segment.harts[hart].address(0)
        self._address = ctypes.addressof(self._words)
        self._regions: dict[int, tuple[tuple[tuple[int, int], ...], bytes]] = {}
        """By entry: the code it stands for, as it was when it was compiled."""
        self.entries: dict[int, int] = {}
        """Host address by entry."""
        self._start()

    def _start(self) -> None:
        """A new LLVM engine, which holds nothing but the way in."""
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(self.entry_ir), machine)
        self._engine.finalize_object()
        self._enter: Callable[[int, int, int], int] = ctypes.CFUNCTYPE(*[ctypes.c_uint64] * 4)(
            self._engine.get_function_address("enter")
        )
        self.useless = 0
        """Objects that are loaded although their regions were replaced or dropped."""

    def enter(self, native: int, fuel: int) -> int:
        """Run native code until it returns; the next pc. `context` holds what is left of `fuel`."""
        return self._enter(self._address, fuel, native)

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
        self._engine.close()
        self._start()

    def _forget(self, entries: Iterable[int]) -> None:
        for entry in entries:
            del self._regions[entry], self.entries[entry]
            self._table[(entry - self._base) >> 1] = 0
