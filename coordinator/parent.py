"""Worker processes of a command end when the command does, however it ends.

`multiprocessing` leaves that to its queues, and a worker holds both ends of the queue that it waits for: where the
command is killed, it would wait for ever, or work for nobody.
"""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """From now on this process, a child by `multiprocessing`, ends when its parent has ended."""
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
