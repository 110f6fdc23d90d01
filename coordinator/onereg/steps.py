"""An access to a register as a sequence of steps: the checks that classes share, and how steps combine.

Owns what a step is. Knows no class's order of checks.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import NamedTuple

from coordinator.machine import MachineState
from coordinator.refusal import Refusal
from coordinator.registers import LAYOUT, RegisterId, width
from coordinator.vcpu import Vcpu


class Access(NamedTuple):
    """One GET (whose value is 0) or SET."""

    vcpu: Vcpu
    register: RegisterId
    value: int

    @property
    def name(self) -> str:
        """The register, for messages."""
        return self.register.name

    def refuse(self, number: int, why: str) -> Refusal:
        """The refusal of this access."""
        return Refusal(number, f"{self.name}: {why}")


Step = Callable[[Access], int | None]
"""Goes on (None), refuses (raises Refusal), or ends the access: with the value of a GET, with DONE for a
SET."""

DONE = 0


# Combining steps


def in_order(*steps: Step) -> Step:
    """Steps one after the other; the first that refuses or answers ends them."""

    def run(a: Access) -> int | None:
        for step in steps:
            result = step(a)
            if result is not None:
                return result
        return None

    return run


def by_subtype(branches: Mapping[int, Step]) -> Step:
    """Branch on the id's subtype; ENOENT for one that the class lacks."""

    def run(a: Access) -> int | None:
        _subtype_known(a)
        return branches[a.register.subtype or 0](a)

    return run


def by_name(branches: Mapping[str, Step], otherwise: Step | None = None) -> Step:
    """Branch on the register's own name; comes after `listed`."""

    def run(a: Access) -> int | None:
        branch = branches.get(own_name(a), otherwise)
        assert branch is not None, f"no step for {a.name}"
        return branch(a)

    return run


def own_name(a: Access) -> str:
    """The register's name within its class; comes after `listed`."""
    return LAYOUT[a.register.kind, a.register.subtype][a.register.index]


# Checks


def size(*allowed: int) -> Step:
    """EINVAL unless the id gives one of these sizes, in bytes."""

    def check(a: Access) -> None:
        if a.register.size not in allowed:
            sizes = " or ".join(map(str, allowed))
            raise a.refuse(errno.EINVAL, f"the id says {a.register.size} bytes, the register has {sizes}")

    return check


word = size(8)


def own_size(a: Access) -> None:
    """EINVAL unless the id gives the size that the register has."""
    size(width(a.register.kind, a.register.index, a.vcpu.host.vlenb))(a)


def copied(a: Access) -> None:
    """EFAULT for a value that does not fit the size, where the kernel copies it from the user."""
    if not 0 <= a.value < 1 << 8 * a.register.size:
        raise a.refuse(errno.EFAULT, f"{a.value:#x} is no unsigned value of {a.register.size} bytes")


def listed(a: Access) -> None:
    """ENOENT for an index past the last."""
    names = LAYOUT[a.register.kind, a.register.subtype]
    if a.register.index >= len(names):
        raise a.refuse(errno.ENOENT, f"index {a.register.index:#x} is past the last, {len(names) - 1}")


def _subtype_known(a: Access) -> None:
    if (a.register.kind, a.register.subtype) not in LAYOUT:
        raise a.refuse(errno.ENOENT, f"no subtype {a.register.subtype}")


def at_rest(a: Access) -> None:
    """EBUSY while the hart runs."""
    if a.vcpu.machine.state is MachineState.RUNNING:
        raise a.refuse(errno.EBUSY, "the hart is running; pause the VM first")


def not_run(a: Access) -> None:
    """EBUSY once the vCPU has run."""
    if a.vcpu.has_run:
        raise a.refuse(errno.EBUSY, "cannot be set once the vCPU has run")


def extension_on(name: str) -> Step:
    """ENOENT while this extension is off in the vCPU."""

    def check(a: Access) -> None:
        if name not in a.vcpu.enabled:
            raise a.refuse(errno.ENOENT, f"there is no such register while {name} is off")

    return check


def boolean(a: Access) -> None:
    """EINVAL for a value other than 0 and 1."""
    if a.value not in (0, 1):
        raise a.refuse(errno.EINVAL, f"{a.value:#x} is neither 0 nor 1")


def must_equal(what: Callable[[Vcpu], int], or_zero: bool = False) -> Step:
    """End a SET: done for the value that there is anyway, EINVAL for another."""

    def check(a: Access) -> int:
        wanted = what(a.vcpu)
        if a.value != wanted and not (or_zero and a.value == 0):
            raise a.refuse(errno.EINVAL, f"{a.value:#x} is not the host's {wanted:#x}")
        return DONE

    return check


def keep(a: Access) -> int:
    """End a SET: store the value, for ONE_REG alone."""
    a.vcpu.keep(a.register, a.value)
    return DONE


def stored(default: Callable[[Vcpu], int] = lambda vcpu: 0) -> Step:
    """End a GET with the stored value."""
    return lambda a: a.vcpu.recall(a.register, default(a.vcpu))
