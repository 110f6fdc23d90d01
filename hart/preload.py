"""What the fork server loads once, so that each hart and bus process starts by a fork alone.

Owns nothing but the imports and the compilation that every such process needs.
"""

from __future__ import annotations

import gc

import bus.server
import hart.environments.bare
import hart.jit.service
import hart.process
import hart.trace
from bus.failures import compile_failures
from bus.native import host_atomics, host_identity
from bus.parking import parking
from bus.policies import NAMES, policy
from bus.policies.inline import preload
from hart.jit.compiler import engine_identity

__all__ = ["bus", "hart"]

for _name in NAMES:
    policy(_name)
host_atomics()
parking()
compile_failures()
preload()
engine_identity()
host_identity()
# Objects that live forever need no collector; leaving them alone keeps their pages shared.
gc.collect()
gc.freeze()
