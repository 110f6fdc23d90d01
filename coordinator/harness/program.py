"""One guest image of many litmus tests: the kernel, the schedule, a block and a table for each hart, the tests.

Owns how they come together. A VM that is started once can then run any of the tests without being given new code.
"""

from __future__ import annotations

import random
import struct
from functools import cache
from pathlib import Path

from coordinator.harness import memory
from coordinator.harness.compile import Compiled, compile_test
from coordinator.harness.memory import Block
from coordinator.harness.schedule import Effort, schedule
from coordinator.litmus.test import LitmusTest
from hart.asm import assemble
from hart.image import Chunk, Image

_KERNEL = Path(__file__).with_name("kernel.S")
_FACTOR = 6364136223846793005  # Knuth's, for 2**64
FIRST_TEST = memory.TESTS + (memory.WORD << memory.COMMAND_TEST_BITS) // 64
"""Behind the table of records."""
MAX_TESTS = (FIRST_TEST - memory.TESTS) // memory.WORD


class Program:
    """The tests of a harness VM, in the order in which commands number them."""

    def __init__(self) -> None:
        """None yet."""
        self.tests: list[Compiled] = []
        self._end = FIRST_TEST

    def add(self, test: LitmusTest) -> bool:
        """Compile a test; false if there is no room for another.

        Raises:
            Unsupported: the harness cannot run it.
            LitmusError: its code cannot be assembled.

        """
        made = compile_test(test, self._end)
        end = -(-(self._end + len(made.data)) // memory.ROOM) * memory.ROOM
        if end > memory.TESTS + memory.TESTS_BYTES or len(self.tests) == MAX_TESTS:
            return False
        self.tests.append(made)
        self._end = end
        return True

    def image(self, harts: int, seed: int, effort: Effort) -> Image:
        """The image for a VM of so many harts."""
        kernel = _kernel()
        records = struct.pack(f"<{len(self.tests)}Q", *(t.record for t in self.tests))
        chunks = (
            *kernel.chunks,
            Chunk(memory.SCHEDULE, schedule(seed, effort)),
            Chunk(memory.HART_BLOCKS, _blocks(harts, seed)),
            Chunk(memory.TESTS, records),
            *(Chunk(t.record, t.data) for t in self.tests),
        )
        return Image("litmus tests", kernel.entry, chunks, kernel.symbols)


@cache
def _kernel() -> Image:
    return assemble([_KERNEL], base=memory.RAM_BASE, defines=memory.defines()).image


def _blocks(harts: int, seed: int) -> bytes:
    choose = random.Random(seed)
    made = bytearray()
    for hart in range(harts):
        words = [0] * Block.END
        words[Block.TABLE] = memory.TABLES + hart * memory.TABLE_BYTES
        words[Block.RANDOM] = choose.getrandbits(64) | 1
        words[Block.FACTOR] = _FACTOR
        made += struct.pack(f"<{Block.END}Q", *words)
    return bytes(made)
