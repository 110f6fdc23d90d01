"""`hartstorm`, `python -m coordinator`: gets the fork server going, then hands over to the command line.

Owns the order of starting alone. The fork server takes as long to load as the command line does, so they load side by
side; nothing that takes long to import may come before it.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys

from coordinator import launch

GARBAGE_THRESHOLD = 100_000
"""Objects made and kept between two looks for garbage."""
RUNS_GUESTS = frozenset({"run"})
"""Commands that always need the fork server."""


def main() -> None:
    """Entry point of the program."""
    # At its end the interpreter looks through every object for cycles, 0.1 s for nothing: its memory goes anyway.
    atexit.register(gc.freeze)
    # What is imported stays: looking through it for garbage while it grows is a fifth of the time that it takes.
    gc.set_threshold(GARBAGE_THRESHOLD)
    # pydantic would look for plugins in every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if RUNS_GUESTS.intersection(sys.argv[1:2]):
        launch.prepare()
    from coordinator.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
