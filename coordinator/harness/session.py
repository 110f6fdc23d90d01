"""A VM that runs the tests of a program, one after the other, without being started anew for each.

Owns the VM and the words by which host and harts talk. What outcomes mean is `coordinator.harness.outcomes`.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bus.link import BusLost
from bus.policies import policy as policy_named
from coordinator.harness import memory
from coordinator.harness.memory import Block, Control, Team
from coordinator.harness.program import Program
from coordinator.harness.schedule import FAST, SLOW
from coordinator.result import VmResult
from coordinator.spec import TierName, VmSpec
from coordinator.vm import VirtualMachine

SILENCE_S = 120.0
"""A test of which no round ends for so long is given up."""
COMPILING_S = 10.0
"""How long harts wait at most for the native code of a test."""
_POLL_S = 0.002


@dataclass(frozen=True, slots=True)
class Setting:
    """What tests are run on.

    Attributes:
        policy: coherence policy.
        tier: execution tiers.
        harts: number of harts.
        seed: of everything random.
        spurious_sc_failure: probability that an SC fails for no reason.

    """

    policy: str = "inline"
    tier: TierName = "auto"
    harts: int = 2
    seed: int = 0
    spurious_sc_failure: float = 0.0

    @property
    def slow(self) -> bool:
        """Whether instructions are interpreted, or the bus has a part in accesses that harts contend for."""
        chosen = policy_named(self.policy)
        return self.tier == "interpreter" or chosen.lowering is None or chosen.total_order or chosen.owned


def vm_spec(setting: Setting, teams: int = 1, record: Path | None = None) -> VmSpec:
    """The VM for a setting, with memory for so many teams.

    Raises:
        pydantic.ValidationError: there is no such policy or tier.

    """
    harts = max(1, setting.harts)
    return VmSpec(
        name="litmus",
        harts=harts,
        ram_base=memory.RAM_BASE,
        ram_bytes=memory.ram_bytes(teams),
        policy=setting.policy,
        tier=setting.tier,
        seed=setting.seed,
        spurious_sc_failure=setting.spurious_sc_failure,
        record_memory=None if record is None else str(record.absolute()),
        recorded_bytes=(memory.TEAMS - memory.RAM_BASE + Team.PLAIN, 2 * Team.AREA_BYTES),
    )


class Broken(Exception):
    """A test could not be run to its end; the session is over. Says what happened."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Outcomes so far: how often each was seen, as the guest wrote it, and how many its tables had no room for."""

    outcomes: Mapping[tuple[int, ...], int]
    lost: int


class Session:
    """A started VM; use it as a context manager."""

    def __init__(self, program: Program, setting: Setting, record: Path | None = None) -> None:
        """Start the VM; with `record`, it is slower and the accesses of one team to locations are recorded there.

        Raises:
            OSError: the host has not the memory, or no process can be started.

        """
        teams = setting.harts // min(len(compiled.test.threads) for compiled in program.tests)
        self._program = program
        self._harts = setting.harts
        self._sequence = 0
        self._command = 0
        self._vm = VirtualMachine(vm_spec(setting, teams, record))
        effort = SLOW if setting.slow or record is not None else FAST
        self._vm.load(program.image(setting.harts, setting.seed, effort))
        self._vm.start()

    def __enter__(self) -> Session:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the VM."""
        self._vm.destroy()

    def begin(self, test: int) -> None:
        """Have the harts begin a test, in native code where there is any; none must be running."""
        self._vm.compile_ahead(self._program.tests[test].loops, COMPILING_S)
        self._sequence += 1
        self._command = self._sequence << memory.COMMAND_TEST_BITS | test
        self._write(Control.COMMAND)
        self._test = test
        self._progress = (0, time.monotonic())

    def end(self) -> Counts:
        """Have the harts end it, wait until they have, and give what they counted.

        Raises:
            Broken: the VM ended instead, or a round takes too long.

        """
        self._write(Control.STOP)
        while any(self._word(hart, Block.DONE) != self._command for hart in range(self._harts)):
            time.sleep(_POLL_S)
            self.check()
        return self.counts()

    def done(self) -> int:
        """Outcomes counted so far."""
        return sum(
            self._word(hart, Block.OUTCOMES)
            for hart in range(self._harts)
            if self._word(hart, Block.SEEN) == self._command
        )

    def check(self) -> None:
        """See that the test goes on.

        Raises:
            Broken: it does not.

        """
        result = self._vm.wait(0)
        if result is not None:
            raise Broken(_ending(result))
        done, since = self.done(), time.monotonic()
        if done != self._progress[0]:
            self._progress = (done, since)
        elif since - self._progress[1] > SILENCE_S:
            raise Broken(f"no round has ended for {SILENCE_S:g} s")

    def counts(self) -> Counts:
        """What was counted until now; while the test runs, perhaps not all of a round."""
        test = self._program.tests[self._test]
        values = len(test.observed)
        slot = 1 << (memory.WORD * (1 + values) - 1).bit_length()
        row = struct.Struct(f"<{1 + values}Q{slot - memory.WORD * (1 + values)}x")
        outcomes: dict[tuple[int, ...], int] = {}
        lost = 0
        for hart in range(self._harts // len(test.test.threads) * len(test.test.threads)):
            if self._word(hart, Block.SEEN) != self._command:
                continue
            lost += self._word(hart, Block.LOST)
            table = self._vm.read_memory(memory.TABLES + hart * memory.TABLE_BYTES, memory.TABLE_SLOTS * slot)
            for count, *state in row.iter_unpack(table):
                if count:
                    outcomes[tuple(state)] = outcomes.get(tuple(state), 0) + count
        return Counts(outcomes, lost)

    def _write(self, word: Control) -> None:
        try:
            self._vm.write_memory(memory.CONTROL + memory.WORD * word, struct.pack("<Q", self._command))
        except BusLost as lost:
            result = self._vm.wait(SILENCE_S)
            raise Broken(_ending(result) if result is not None else str(lost)) from lost

    def _word(self, hart: int, word: Block) -> int:
        address = memory.HART_BLOCKS + hart * memory.HART_BLOCK_BYTES + memory.WORD * word
        return int.from_bytes(self._vm.read_memory(address, memory.WORD), "little")


def _ending(result: VmResult) -> str:
    trap = None if result.hart is None else result.harts[result.hart].trap
    return result.detail if trap is None else f"{result.detail}: {trap.name} at `{trap.instruction}`"
