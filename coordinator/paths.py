"""Where hartstorm keeps what it ships: configurations and what guests are built with. Reads and creates nothing."""

from __future__ import annotations

from pathlib import Path

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
"""The run configurations and guests that come with hartstorm."""

GUEST_LIBRARY = CONFIGS / "guests" / "lib"
"""Start code, linker script and header for C guests."""


BATCHES = CONFIGS / "batches"
"""The batch files that come with hartstorm."""


def shipped_configs() -> dict[str, Path]:
    """The run configurations that come with hartstorm, by name."""
    return {file.stem: file for file in sorted(CONFIGS.rglob("*.toml")) if BATCHES not in file.parents}


def shipped_batches() -> dict[str, Path]:
    """The batch files that come with hartstorm, by name."""
    return {file.stem: file for file in sorted(BATCHES.glob("*.toml"))}
