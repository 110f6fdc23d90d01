"""Host atomics: the few operations on shared words that Python cannot express, compiled once with llvmlite.

Owns fences and atomic read-modify-writes on host addresses. Knows nothing of guests: callers pass addresses of
words inside a segment they hold open.

Plain reads and writes of aligned words go through `memoryview` items of native format, which CPython copies with
one `memcpy` of constant size, hence one host instruction: single-copy atomic on x86-64 and AArch64. They carry no
order; where order matters the functions here are used.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from bus.object_files import default_directory, entry_path, key_of, objects_in, read_entry, write_entry

if TYPE_CHECKING:
    import llvmlite.binding as llvm


_IR = """
define void @fence() {
  fence seq_cst
  ret void
}
define i64 @exchange(i64 %address, i64 %value) {
  %p = inttoptr i64 %address to ptr
  %old = atomicrmw xchg ptr %p, i64 %value seq_cst
  ret i64 %old
}
define i64 @fetch_or(i64 %address, i64 %value) {
  %p = inttoptr i64 %address to ptr
  %old = atomicrmw or ptr %p, i64 %value seq_cst
  ret i64 %old
}
define i64 @fetch_add(i64 %address, i64 %value) {
  %p = inttoptr i64 %address to ptr
  %old = atomicrmw add ptr %p, i64 %value seq_cst
  ret i64 %old
}
define i64 @compare_exchange(i64 %address, i64 %expected, i64 %desired) {
  %p = inttoptr i64 %address to ptr
  %pair = cmpxchg ptr %p, i64 %expected, i64 %desired seq_cst seq_cst
  %old = extractvalue { i64, i1 } %pair, 0
  ret i64 %old
}
define void @store_pair(i64 %address, i64 %low, i64 %high) {
  %p = inttoptr i64 %address to ptr
  %l = zext i64 %low to i128
  %h = zext i64 %high to i128
  %s = shl i128 %h, 64
  %v = or i128 %l, %s
  store atomic i128 %v, ptr %p seq_cst, align 16
  ret void
}
"""


@cache
def host_identity() -> str:
    """What native code depends on besides its IR: LLVM's version and the host's CPU."""
    import llvmlite
    import llvmlite.binding as llvm  # here, because not every process that may compile does, and it loads LLVM

    version = ".".join(map(str, llvm.llvm_version_info))
    features = llvm.get_host_cpu_features().flatten()
    return f"llvmlite {llvmlite.__version__} llvm {version} {llvm.get_host_cpu_name()} {features}"


def compile_module(ir: str, optimize: int = 2) -> llvm.ExecutionEngine:
    """Compile a module for this process; its functions live as long as the engine that is returned.

    The object is kept in the user's cache for later processes.
    """
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    # Without cmpxchg16b LLVM would call a library that takes a lock other processes do not see.
    features = "+cx16" if platform.machine() in ("x86_64", "AMD64") else ""
    machine = llvm.Target.from_default_triple().create_target_machine(opt=optimize, features=features)
    path = entry_path(objects_in(default_directory()), key_of(host_identity(), features, optimize, ir))
    found = read_entry(path)
    module = llvm.parse_assembly(ir if found is None else "")
    module.verify()
    engine = llvm.create_mcjit_compiler(module, machine)

    def keep(_module: llvm.ModuleRef, compiled: bytes) -> None:
        with contextlib.suppress(OSError):  # a cache that cannot be written is none
            write_entry(path, compiled)

    engine.set_object_cache(keep, lambda _module: found)
    engine.finalize_object()
    return engine


class HostAtomics:
    """Sequentially consistent operations on aligned 64-bit words at host addresses. Get it from `host_atomics`.

    Each method is a compiled function; values and results are unsigned 64-bit integers.
    """

    fence: Callable[[], None]
    """Order every earlier access of this thread before every later one."""
    exchange: Callable[[int, int], int]
    """exchange(address, value) -> old."""
    fetch_or: Callable[[int, int], int]
    """fetch_or(address, bits) -> old."""
    fetch_add: Callable[[int, int], int]
    """fetch_add(address, addend) -> old."""
    compare_exchange: Callable[[int, int, int], int]
    """compare_exchange(address, expected, desired) -> old; wrote if old == expected."""
    store_pair: Callable[[int, int, int], None]
    """store_pair(address, low, high): one 16-byte store to an address aligned to 16."""

    def __init__(self) -> None:
        self._engine = compile_module(_IR)
        word = ctypes.c_uint64
        for name, result, arguments in (
            ("fence", None, 0),
            ("exchange", word, 2),
            ("fetch_or", word, 2),
            ("fetch_add", word, 2),
            ("compare_exchange", word, 3),
            ("store_pair", None, 3),
        ):
            prototype = ctypes.CFUNCTYPE(result, *[word] * arguments)
            setattr(self, name, prototype(self._engine.get_function_address(name)))


@cache
def host_atomics() -> HostAtomics:
    """The process's host atomics; compiled at the first call, inherited by forked children."""
    return HostAtomics()
