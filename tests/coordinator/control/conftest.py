"""Fixtures of the control channel's tests; the helpers of the directory above can be imported."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from control_serving import client, served

__all__ = ["client", "served"]
