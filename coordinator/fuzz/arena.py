"""The arena: one VM that stays alive and runs many programs, each on fresh instances of its memory.

Owns the guest harness and the VM. Knows no memory model.

A program's harts go through its instances, each with an own copy of the arrays, roughly in step: a hart waits a little
for the others before each instance, by an amount that varies. Between programs the VM is paused; the coordinator writes
the next code and memory, and sets the harts' pcs to a FENCE.I that leads to their new code.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from bus.access import MemoryFault
from coordinator.check.dependencies import Code
from coordinator.check.recorded import Recorded, build
from coordinator.fuzz.program import ARRAYS, FIRST_RESULT, WORDS, Program, code, presets, registers
from coordinator.result import VmResult
from coordinator.spec import TierName, VmSpec, WatchSettings
from coordinator.vm import VirtualMachine
from hart.asm import assemble
from hart.image import Image

LINE = 64
STRIDE = LINE * len(ARRAYS)
"""Bytes of an instance: a line for each array."""
MOST_RESULTS = 8
HARTS = 4
"""Harts of the VM; a program may have fewer, the others then rest."""

_BASE = 0x8000_0000
_CODE = 0x1_0000
_PROGRESS = 0xC000
_DATA = 0x10_0000
_OUT = 0x40_0000
_OUT_BYTES = 0x4_0000
MOST_INSTANCES = _OUT_BYTES // (8 * MOST_RESULTS)
_RAM = 0x80_0000
_PATIENCE_S = 120.0
"""How long no hart may come any further, or to a safepoint, before they are taken to hang: with a hundred other
processes on two processors, and those in favour, 30 seconds without a turn were seen."""
_NATIVE_SPINS = 20_000_000
"""Looks for other harts that a hart has for a whole run, some tens of milliseconds: as long as it has any left, the
harts enter each instance together; then it goes on alone, for the others may have no processor."""
_INTERPRETED_SPINS = 20_000
_WARMING = 60
_COMPILING_S = 1.0
"""How long to wait at most until each hart's loop is native."""


class ArenaError(Exception):
    """The VM ended; the text says how."""


class Stalled(ArenaError):
    """The VM does not answer, or no hart comes any further; the text says where they are."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of running a program.

    Attributes:
        outcomes: how often each was seen: the harts' results, eight bytes each, then the arrays' words.
        recorded: the events, if they were recorded.

    """

    outcomes: Counter[bytes]
    recorded: Recorded | None


class Arena:
    """A VM for programs. Use as a context manager."""

    def __init__(self, policy: str, tier: TierName, *, record: bool, cache: str | None = None) -> None:
        """Start the VM; `record` notes the accesses to the arrays."""
        self.record = record
        self._versions: tuple[int, ...] = ()
        self._vm = VirtualMachine(
            VmSpec(
                name="fuzz",
                harts=HARTS,
                ram_bytes=_RAM,
                policy=policy,
                tier=tier,
                memory_events=record,
                recorded_bytes=(_DATA, _OUT - _DATA),
                cache=cache,
                watch=WatchSettings(silence_s=_PATIENCE_S),
            )
        )
        try:
            self._vm.load(assemble(_IDLE, base=_BASE).image)
            self._vm.start()
        except BaseException:
            self._vm.destroy()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the VM."""
        self._vm.destroy()

    def run(self, program: Program, instances: int) -> Ran:
        """Run a program on so many instances.

        Raises:
            ArenaError: the VM ended.
            Stalled: no hart comes any further.

        """
        assert instances <= MOST_INSTANCES, f"{instances} instances: at most {MOST_INSTANCES}"
        vm = self._vm
        image = _image(program)
        self._pause()
        # Nobody runs, so memory may be written past the policy.
        for chunk in image.chunks:
            vm.write_paused(chunk.address, chunk.data)
        if vm.spec.tier != "interpreter":
            # So that what counts is native: the compiler works while the harts stand.
            ready = vm.regions_ready()
            self._go(program, image, min(instances, _WARMING), _INTERPRETED_SPINS)
            deadline = time.monotonic() + _COMPILING_S
            while vm.regions_ready() < ready + len(program.harts) and time.monotonic() < deadline:
                time.sleep(0.002)
            self._go(program, image, instances, _NATIVE_SPINS)
        else:
            self._go(program, image, instances, _INTERPRETED_SPINS)
        before = _memory(program, instances)
        after = vm.read_memory(_BASE + _DATA, len(before))
        outcomes = self._outcomes(program, instances, after)
        recorded = None
        if self.record:
            code_of = Code(self._fetch, vm.decoder_extensions)
            recorded = build(
                vm.take_events(),
                _BASE,
                code_of,
                lambda offset, size: before[offset - _DATA : offset - _DATA + size],
                {
                    _BASE + _DATA + i * STRIDE + LINE * n: f"{a}.{i}"
                    for i in range(instances)
                    for n, a in enumerate(ARRAYS)
                },
                lambda offset, size: after[offset - _DATA : offset - _DATA + size],
                lambda line: self._versions[line - _DATA // LINE],
            )
        return Ran(outcomes, recorded)

    def _go(self, program: Program, image: Image, instances: int, spins: int) -> None:
        """Run the program, whose code is there, from paused to paused."""
        vm = self._vm
        before = _memory(program, instances)
        start = b"".join(word.to_bytes(8, "little") for word in (0, spins, instances)).ljust(LINE, b"\0")
        vm.write_paused(_BASE + _PROGRESS, start * HARTS + bytes(HARTS * LINE))
        vm.write_paused(_BASE + _DATA, before)
        vm.write_paused(_BASE + _OUT, bytes(_OUT_BYTES * HARTS))
        if self.record:
            self._versions = vm.line_versions(_DATA, len(before))
            vm.take_events()
        for hart in range(len(program.harts)):
            vm.set_x(hart, _ENTRY_REGISTER, image.symbols[f"hart{hart}"].address)
            vm.set_pc(hart, _BASE)
        vm.resume()
        self._await(len(program.harts))
        self._pause()

    def _fetch(self, pc: int) -> int | None:
        try:
            low = int.from_bytes(self._vm.read_memory(pc, 2), "little")
            if low & 3 != 3:
                return low
            return low | int.from_bytes(self._vm.read_memory(pc + 2, 2), "little") << 16
        except MemoryFault:
            return None

    def _pause(self) -> None:
        try:
            self._vm.pause()
        except TimeoutError as error:
            raise Stalled(str(error)) from error
        self._check()

    def _check(self) -> None:
        result: VmResult | None = self._vm.wait(0)
        if result is not None:
            traps = [
                f"hart {h.hart}: {h.trap.name} at {h.trap.pc:#x} ({h.trap.instruction})"
                for h in result.harts
                if h.trap
            ]
            raise ArenaError("; ".join([f"the VM ended: {result.ending.value}, {result.detail}", *traps]))

    def _await(self, harts: int) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        pause, before = 0.0005, b""
        while True:
            progress = self._vm.read_memory(_BASE + _PROGRESS, 2 * HARTS * LINE)
            if all(progress[(HARTS + h) * LINE] for h in range(harts)):
                return
            self._check()
            # On a host with much else to do a run takes its time; it hangs if nobody comes any further.
            instances = b"".join(progress[h * LINE : h * LINE + 8] for h in range(harts))
            if instances != before:
                deadline, before = time.monotonic() + _PATIENCE_S, instances
            elif time.monotonic() > deadline:
                where = ", ".join(f"{p:#x}" for p in (self._vm.get_pc(h) for h in range(harts)))
                raise Stalled(f"no hart came further for {_PATIENCE_S:g} s; harts at {where}")
            time.sleep(pause)
            pause = min(2 * pause, 0.01)

    def _outcomes(self, program: Program, instances: int, after: bytes) -> Counter[bytes]:
        counts = [sum(o.returns for o in hart) for hart in program.harts]
        outs = [self._vm.read_memory(_BASE + _OUT + h * _OUT_BYTES, _OUT_BYTES) for h in range(len(counts))]
        row = 8 * MOST_RESULTS
        words = 8 * WORDS
        found: Counter[bytes] = Counter()
        for i in range(instances):
            parts = [outs[h][i * row : i * row + 8 * n] for h, n in enumerate(counts)]
            parts += [
                after[i * STRIDE + a * LINE : i * STRIDE + a * LINE + words] for a in range(len(ARRAYS))
            ]
            found[b"".join(parts)] += 1
        return found


def state_of(outcome: bytes) -> tuple[str, ...]:
    """An outcome as the enumerator writes a state of `coordinator.fuzz.program.litmus`."""
    return tuple(str(int.from_bytes(outcome[i : i + 8], "little")) for i in range(0, len(outcome), 8))


def _memory(program: Program, instances: int) -> bytes:
    one = b"".join(
        b"".join(w.to_bytes(8, "little") for w in words).ljust(LINE, b"\0") for _, words in program.initial
    )
    return one * instances


_ENTRY_REGISTER = 31
_IDLE = """
# Never changed, so that no hart can have a stale copy of the fence.i.
    fence.i
    csrwi mie, 8    # so that a VM whose harts all sleep goes on; the interrupt never comes
    beqz x31, rest
    jr   x31
rest:
    wfi             # leave the processors to those that have something to do
    j    rest
"""

_HARNESS = """
.balign 64
.globl hart{hart}
hart{hart}:
    li   x1, 1
    li   x2, {data}
    li   x3, {out}
    li   x4, {progress}
    ld   x29, {instances}(x4)
    j    begin{hart}
.balign 64
begin{hart}:
    sd   x1, {own}(x4)
{waits}
    la   x30, table
    mv   x5, x2
    addi x6, x2, {line}
{held}
    andi x31, x1, {skew_mask}
    xori x31, x31, {skew}
delay{hart}:
    addi x31, x31, -1
    bgtz x31, delay{hart}
{body}
{results}
    addi x1, x1, 1
    addi x2, x2, {stride}
    addi x3, x3, {row}
    bge  x29, x1, begin{hart}
    fence rw, rw
    li   x31, 1
    sd   x31, {done}(x4)
end{hart}:
    wfi
    j    end{hart}
"""

_WAIT = """
    ld   x31, {left}(x4)
wait{hart}{other}:
    ld   x30, {at}(x4)
    bgeu x30, x1, go{hart}{other}
    addi x31, x31, -1
    bgtz x31, wait{hart}{other}
go{hart}{other}:
    sd   x31, {left}(x4)"""


def _image(program: Program) -> Image:
    """The harts' code and the table of what registers hold before."""
    chance = random.Random(program.seed)
    harts = len(program.harts)
    parts = [".option norvc"]
    table: list[int] = []
    for hart, operations in enumerate(program.harts):
        held = presets(operations)
        results, _ = registers(operations)
        loads = []
        for register, value in sorted(held.items()):
            loads.append(f"    ld   x{register}, {8 * len(table)}(x30)")
            table.append(value)
        loads += [f"    li   x{r}, 0" for r in results.values() if r not in held]
        waits = "".join(
            _WAIT.format(hart=hart, other=other, at=LINE * other, left=LINE * hart + 8)
            for other in range(harts)
            if other != hart
        )
        mask = chance.choice((0, 3, 7, 15))
        parts.append(
            _HARNESS.format(
                hart=hart,
                instances=LINE * hart + 16,
                data=_BASE + _DATA,
                out=_BASE + _OUT + hart * _OUT_BYTES,
                progress=_BASE + _PROGRESS,
                own=LINE * hart,
                done=LINE * (HARTS + hart),
                waits=waits,
                line=LINE,
                held="\n".join(loads),
                skew_mask=mask,
                skew=chance.randrange(mask + 1),
                body="\n".join(f"    {line}" for line in code(operations, hart)),
                results="\n".join(f"    sd   x{r}, {8 * (r - FIRST_RESULT)}(x3)" for r in results.values()),
                stride=STRIDE,
                row=8 * MOST_RESULTS,
            )
        )
    values = ", ".join(map(str, table)) or "0"
    parts.append(f".data\n.balign 8\ntable: .dword {values}")
    return assemble("\n".join(parts), base=_BASE + _CODE).image
