"""Running a program on Spike and reading its commit log.

Owns the command line. Judges nothing.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from hart.elf import write_elf
from hart.image import Image

TIMEOUT_S = 60


class SpikeError(Exception):
    """Spike did not run the program to its end."""


def commits(spike: Path, image: Image, isa: str, ram: int, ram_bytes: int, directory: Path) -> list[str]:
    """Spike's log of `image` on one M-mode hart from its first instruction to its end."""
    program, log = directory / "program.elf", directory / "spike.log"
    program.write_bytes(write_elf(image))
    command = [
        str(spike),
        f"--isa={isa}",
        "--priv=m",
        f"-m{ram:#x}:{ram_bytes:#x}",
        "--pmpregions=0",
        "--log-commits",
        f"--log={log}",
        str(program),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise SpikeError(f"no end after {TIMEOUT_S} s") from None
    if done.returncode:
        raise SpikeError(f"exit code {done.returncode}: {done.stderr}")
    return log.read_text().splitlines()
