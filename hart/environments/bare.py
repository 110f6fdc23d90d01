"""`bare`: M-mode from the first instruction, a CLINT, and the host-target interface (HTIF) for console and exit.

Owns the start state and HTIF. Every hart starts at the image's entry with a0 = mhartid, a1 = number of harts and all
other registers 0.

HTIF is two doublewords at the symbols `tohost` and `fromhost` (riscv-isa-sim, `fesvr/htif.cc`). A doubleword written
to tohost is device << 56 | command << 48 | payload:

- device 0, command 0, odd payload: the VM ends with exit code payload >> 1;
- device 0, command 0, even payload: address of a block {number, a0, a1, a2} with a proxied system call: 64 (write,
  to the console) and 93 (exit). Its result replaces the number, then tohost = 0 and fromhost = 1;
- device 1, command 1: the payload's low byte goes to the console; tohost = 0, fromhost = the same device and command.

A write of its low word is enough, as 32-bit stores make it.
"""

from __future__ import annotations

from bus.access import MemoryFault
from bus.layout import PAGE_EXP, Hart, PageState
from bus.segment import Segment
from hart.environments import Console, Environment, LoadError
from hart.image import Image
from hart.interpreter import GuestExit, Interpreter

_A0, _A1 = 10, 11
_SYS_WRITE, _SYS_EXIT = 64, 93
_ENOSYS = -38
_EBADF = -9
_EFAULT = -14
_MAX_WRITE = 1 << 20


def load(segment: Segment, image: Image) -> None:
    """Place `image` and set the start registers.

    Raises:
        LoadError: a part of the image lies outside RAM.

    """
    memory = segment.memory
    for chunk in image.chunks:
        size = len(chunk.data) + chunk.zeros
        try:
            memory.offset(chunk.address, size)
        except MemoryFault:
            end = memory.base + memory.size
            raise LoadError(
                f"{image.name}: {size} bytes at {chunk.address:#x} do not lie in RAM, {memory.base:#x} to {end:#x}"
            ) from None
        memory.write(chunk.address, chunk.data)
        memory.write(chunk.address + len(chunk.data), bytes(chunk.zeros))
    if "tohost" in image.symbols:
        offset = memory.offset(image.symbols["tohost"].address, 8)
        segment.page_map[offset >> PAGE_EXP] |= PageState.WATCHED
    for number, page in enumerate(segment.harts):
        for i in range(32):
            page[Hart.X + i] = 0
        page[Hart.PC] = image.entry
        page[Hart.X + _A0] = number
        page[Hart.X + _A1] = segment.geometry.harts


class _Htif:
    def __init__(self, machine: Interpreter, tohost: int, fromhost: int | None, console: Console) -> None:
        self._machine = machine
        self._tohost = tohost
        self._fromhost = fromhost
        self._console = console

    def written(self, size: int, value: int) -> None:
        """The hart stored so many bytes to tohost; those that it did not store are what they were."""
        low = (1 << 8 * size) - 1
        value &= low
        if size < 8:
            value |= self._machine.port.load(self._tohost, 8) & ~low
        device, command, payload = value >> 56, value >> 48 & 0xFF, value & (1 << 48) - 1
        if not value:
            return
        if device == 0 and command == 0:
            if payload & 1:
                raise GuestExit(payload >> 1)
            self._system_call(payload)
            self._answer(1)
        elif device == 1 and command == 1:
            self._console(bytes([payload & 0xFF]))
            self._answer(value & 0xFFFF << 48)
        else:
            self._answer(0)

    def _answer(self, value: int) -> None:
        port = self._machine.port
        port.store(self._tohost, 8, 0)
        if self._fromhost is not None:
            port.store(self._fromhost, 8, value)

    def _system_call(self, block: int) -> None:
        port = self._machine.port
        try:
            number, a0, a1, a2 = (port.load(block + 8 * i, 8) for i in range(4))
        except MemoryFault:
            return  # no block there: nothing to do, nowhere to say so
        if number == _SYS_EXIT:
            raise GuestExit(a0)
        result = _ENOSYS
        if number == _SYS_WRITE and a0 not in (1, 2):
            result = _EBADF
        elif number == _SYS_WRITE:
            try:
                data = bytes(port.load(a1 + i, 1) for i in range(min(a2, _MAX_WRITE)))
            except MemoryFault:
                result = _EFAULT
            else:
                self._console(data)
                result = len(data)
        port.store(block, 8, result)


def attach(machine: Interpreter, segment: Segment, symbols: dict[str, int], console: Console) -> None:
    """Let the machine's stores to tohost reach the host, if the image has that symbol."""
    if "tohost" in symbols:
        htif = _Htif(machine, symbols["tohost"], symbols.get("fromhost"), console)
        machine.tohost = symbols["tohost"]
        machine.on_tohost = htif.written  # type: ignore[method-assign]


ENVIRONMENT = Environment(
    name="bare",
    summary="M-mode, HTIF console and exit, CLINT",
    load=load,
    attach=attach,
    anchors=("tohost", "fromhost"),
)
