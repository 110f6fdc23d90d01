"""Where hartstorm keeps files: what it ships, and the user's cache. Creates nothing."""

from __future__ import annotations

from pathlib import Path

from hart.jit.cache import default_directory as cache_directory

__all__ = ["CONFIGS", "GUEST_LIBRARY", "cache_directory"]

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
"""The run configurations and guests that come with hartstorm."""

GUEST_LIBRARY = CONFIGS / "guests" / "lib"
"""Start code, linker script and header for C guests."""
