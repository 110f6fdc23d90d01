"""Runs the VMs of one configuration side by side and judges each. Prints nothing, and knows no process or socket:
whoever calls it says how a VM is made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bus.access import MemoryFault
from coordinator.config.model import Run, Vm
from coordinator.expect import judge
from coordinator.outcome import Outcome
from coordinator.result import VmResult
from coordinator.spec import VmSpec, WatchSettings
from hart.image import Image

POLL_S = 0.02
"""How often the runner looks whether a VM has ended."""


class RunnableVm(Protocol):
    """What the runner needs of a VM; `coordinator.machine.Machine` and the control client's VM both offer it."""

    def load(self, image: Image) -> None:
        """Place the program."""

    def start(self) -> None:
        """Start every hart."""

    def wait(self, timeout_s: float) -> VmResult | None:
        """The result once the run is over, or None if it is not after `timeout_s`."""

    def progress(self) -> tuple[int, ...]:
        """Instructions retired so far, per hart."""

    def read_memory(self, address: int, size: int) -> bytes:
        """Bytes of RAM."""

    def destroy(self) -> None:
        """End everything and free it."""


CreateVm = Callable[[VmSpec, frozenset[str]], RunnableVm]
"""Makes a VM with exactly these extensions switched on, ready to load."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a VM is: instructions retired by all harts together, seconds since its start, and its end if reached."""

    vm: str
    harts: int
    instret: int
    elapsed_s: float
    result: VmResult | None


def vm_spec(name: str, vm: Vm, file_suffix: str = "") -> VmSpec:
    """What the configuration asks of VM `name`; `file_suffix` is put into the names of recorded files."""
    return VmSpec(
        name=name,
        harts=vm.harts,
        ram_bytes=vm.memory,
        policy=vm.policy,
        reservation_set_size_exp=vm.reservation.reservation_set_size_exp,
        require_exact_reservation_addr=vm.reservation.require_exact_reservation_addr,
        invalidate_on_same_hart_store=vm.reservation.invalidate_on_same_hart_store,
        invalidate_on_trap=vm.reservation.invalidate_on_trap,
        spurious_sc_failure=vm.reservation.spurious_sc_failure,
        seed=vm.seed,
        max_instructions=vm.limits.max_instructions,
        timeout_s=vm.limits.timeout_s,
        record_order=_suffixed(vm.record.order, file_suffix),
        trace=_suffixed(vm.record.trace, file_suffix),
        environment=vm.environment,
        on_hart_death=vm.on_hart_death,
        on_bus_death=vm.on_bus_death,
        watch=WatchSettings(hot_addresses=vm.record.hot_addresses),
    )


def _suffixed(file: str | None, suffix: str) -> str | None:
    if file is None or not suffix:
        return file
    path = Path(file)
    return str(path.with_name(f"{path.stem}-{suffix}{path.suffix}"))


def run(
    config: Run,
    images: Mapping[str, Image],
    create: CreateVm,
    report: Callable[[Sequence[Progress]], None] = lambda progress: None,
) -> list[Outcome]:
    """Run every VM of `config` to its end; `images` holds each one's program by VM name.

    `report` is called about every `POLL_S` with where each VM is. However this ends, no VM is left behind.
    """
    vms: dict[str, RunnableVm] = {}
    several = len(config.vms) > 1
    try:
        for name, vm in config.vms.items():
            vms[name] = create(vm_spec(name, vm, name if several else ""), vm.extensions)
            vms[name].load(images[name])
        for started in vms.values():
            started.start()
        results = _wait(config, vms, report)
        return [
            Outcome(name, vm, results[name], judge(name, vm, results[name], images[name], _reader(vms[name])))
            for name, vm in config.vms.items()
        ]
    finally:
        for created in vms.values():
            created.destroy()


def _wait(
    config: Run, vms: Mapping[str, RunnableVm], report: Callable[[Sequence[Progress]], None]
) -> dict[str, VmResult]:
    begin = time.monotonic()
    results: dict[str, VmResult] = {}
    while len(results) < len(vms):
        for name, vm in vms.items():
            if name not in results and (result := vm.wait(POLL_S)) is not None:
                results[name] = result
        elapsed = time.monotonic() - begin
        report([_progress(name, config.vms[name], vms[name], results.get(name), elapsed) for name in vms])
    return results


def _progress(name: str, vm: Vm, running: RunnableVm, result: VmResult | None, elapsed_s: float) -> Progress:
    if result is not None:
        return Progress(name, vm.harts, sum(h.instret for h in result.harts), result.wall_s, result)
    return Progress(name, vm.harts, sum(running.progress()), elapsed_s, None)


def _reader(vm: RunnableVm) -> Callable[[int, int], bytes]:
    def read(address: int, size: int) -> bytes:
        try:
            return vm.read_memory(address, size)
        except MemoryFault as fault:
            raise ValueError(str(fault)) from fault

    return read
