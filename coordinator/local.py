"""The coordinator inside a command: VMs that live as long as the command does. Judges nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from coordinator.runner import CreateVm
from coordinator.spec import VmSpec
from coordinator.vm import VirtualMachine


@contextmanager
def local_coordinator() -> Iterator[CreateVm]:
    """Gives the function that makes VMs."""
    yield _create


def _create(spec: VmSpec, extensions: frozenset[str]) -> VirtualMachine:
    vm = VirtualMachine(spec)
    for hart in range(spec.harts):
        vm.set_extensions(hart, extensions)
    return vm
