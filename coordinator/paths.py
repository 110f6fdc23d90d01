"""Where hartstorm keeps files: what it ships, and the user's cache. Creates nothing."""

from __future__ import annotations

import os
from pathlib import Path

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
"""The run configurations and guests that come with hartstorm."""

GUEST_LIBRARY = CONFIGS / "guests" / "lib"
"""Start code, linker script and header for C guests."""


def cache_directory() -> Path:
    """The user's cache for hartstorm, by the XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "hartstorm"
