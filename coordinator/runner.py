"""Runs the VMs of one configuration side by side, through the control channel, and judges each. Prints nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from coordinator.config.errors import ConfigError, Problem
from coordinator.config.load import UNNAMED_VM
from coordinator.config.model import Run, Vm
from coordinator.config.offer import host_model
from coordinator.control.client import ControlClient, RefusedByServer, RemoteVm
from coordinator.expect import Check, Verdict, judge
from coordinator.measure import ReadMemory, measure, operations
from coordinator.outcome import Outcome
from coordinator.result import Ending, VmResult
from coordinator.spec import VM_NAME, VmSpec, WatchSettings
from hart.image import Image

POLL_S = 0.02
"""How often the runner looks whether a VM has ended."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a VM is: instructions retired by all harts together, seconds since its start, and its end if reached."""

    vm: str
    harts: int
    instret: int
    elapsed_s: float
    result: VmResult | None


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may take: seconds, or operations as `vm.metrics.operations` counts them. None for no limit."""

    time_s: float | None = None
    operations: int | None = None


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
        hold_instructions=vm.directory.hold_instructions,
        handover_order=vm.directory.handover_order,
        seed=vm.seed,
        max_instructions=vm.limits.max_instructions,
        timeout_s=vm.limits.timeout_s,
        record_order=_recorded(vm.record.order, file_suffix),
        trace=_recorded(vm.record.trace, file_suffix),
        record_memory=_recorded(vm.record.memory, file_suffix),
        events_when_full=vm.record.when_full,
        profile=vm.record.profile,
        tier=vm.tier,
        environment=vm.environment,
        on_hart_death=vm.on_hart_death,
        on_bus_death=vm.on_bus_death,
        watch=WatchSettings(hot_addresses=vm.record.hot_addresses),
        host=host_model(vm),
        rules=vm.rules,
    )


def _recorded(file: str | None, suffix: str) -> str | None:
    """Where the VM's processes write: absolute, for they and their coordinator may have another current directory."""
    if file is None:
        return None
    path = Path(file).absolute()
    return str(path.with_name(f"{path.stem}-{suffix}{path.suffix}") if suffix else path)


def names(config: Run, name: str | None = None) -> dict[str, str]:
    """What a server is to call each VM of `config`, so that those of several configurations keep apart.

    A VM that has no name of its own is called as the configuration is, where that can be a VM's name. With `name`, the
    VM is called that, or, of several, each so: `NAME-with`.

    Raises:
        ConfigError: no VM can be called that.

    """
    only = len(config.vms) == 1
    made = {vm: vm if name is None else name if only else f"{name}-{vm}" for vm in config.vms}
    if name is None and [*made] == [UNNAMED_VM] and _is_vm_name(config.name):
        made = {UNNAMED_VM: config.name}
    if wrong := [vm for vm in made.values() if not _is_vm_name(vm)]:
        said = "may have 64 letters, digits, '.', '_' and '-', and begins with a letter or digit"
        raise ConfigError("", [Problem("--name", f"a VM cannot be called {wrong[0]!r}: its name {said}")])
    return made


def _is_vm_name(text: str) -> bool:
    return re.fullmatch(VM_NAME, text) is not None


def create(
    config: Run, images: Mapping[str, Image], client: ControlClient, names: Mapping[str, str] = {}
) -> dict[str, RemoteVm]:
    """Make every VM of `config`, by name, with its extensions set and its program loaded. All or none.

    Args:
        config: what to make.
        images: each VM's program, by name.
        client: where to make them.
        names: what the server is to call them, where that is not as in `config`.

    Raises:
        RefusedByServer: the coordinator cannot give what the configuration asks for.

    """
    vms: dict[str, RemoteVm] = {}
    several = len(config.vms) > 1
    try:
        for name, vm in config.vms.items():
            spec = vm_spec(names.get(name, name), vm, name if several else "")
            vms[name] = client.create_vm(spec)
            for hart in range(vm.harts):
                vms[name].set_extensions(hart, vm.extensions_of(hart))
            vms[name].load_image(images[name])
    except BaseException:
        for made in vms.values():
            made.destroy()
        raise
    return vms


def run(
    config: Run,
    images: Mapping[str, Image],
    client: ControlClient,
    report: Callable[[Sequence[Progress]], None] = lambda progress: None,
    budget: Budget = Budget(),
) -> list[Outcome]:
    """Run every VM of `config` to its end; `images` holds each one's program by VM name.

    `report` is called about every `POLL_S` with where each VM is. When the VMs together reach the budget they are
    stopped, and what was stopped is measured but not judged. However this ends, no VM is left behind.

    Raises:
        RefusedByServer: the coordinator cannot give what the configuration asks for.

    """
    with ended(config, images, client, report, budget) as (outcomes, _):
        return outcomes


@contextmanager
def ended(
    config: Run,
    images: Mapping[str, Image],
    client: ControlClient,
    report: Callable[[Sequence[Progress]], None] = lambda progress: None,
    budget: Budget = Budget(),
) -> Iterator[tuple[list[Outcome], Mapping[str, ReadMemory]]]:
    """As `run`, and keeps the VMs until the end of the block: gives their memory's readers by name, too."""
    vms = create(config, images, client)
    try:
        for loaded in vms.values():
            loaded.run()
        results, over = _wait(config, images, vms, report, budget)
        readers = {name: _reader(vm) for name, vm in vms.items()}
        yield (
            [
                _outcome(name, vm, results[name], images[name], readers[name], over)
                for name, vm in config.vms.items()
            ],
            readers,
        )
    finally:
        for created in vms.values():
            created.destroy()


def _outcome(name: str, vm: Vm, result: VmResult, image: Image, read: ReadMemory, over: str) -> Outcome:
    measured = measure(vm, result, image, read)
    if over and result.ending is Ending.STOPPED:
        return Outcome(name, vm, result, Verdict(()), measured, over)
    valueless = tuple(Check(key, text, why, ok=False) for key, text, why in measured.problems)
    return Outcome(name, vm, result, Verdict((*judge(vm, result, image, read).checks, *valueless)), measured)


def _wait(
    config: Run,
    images: Mapping[str, Image],
    vms: Mapping[str, RemoteVm],
    report: Callable[[Sequence[Progress]], None],
    budget: Budget,
) -> tuple[dict[str, VmResult], str]:
    """The results by VM, and which budget was reached, if any."""
    begin = time.monotonic()
    results: dict[str, VmResult] = {}
    over = ""
    while len(results) < len(vms):
        seen = []
        for name, vm in vms.items():
            if name not in results and (result := vm.wait(POLL_S)) is not None:
                results[name] = result
            seen.append(_progress(name, config.vms[name], vm, results.get(name), time.monotonic() - begin))
        report(seen)
        over = over or _reached(budget, config, images, vms, seen, time.monotonic() - begin)
        if over:
            for name in vms.keys() - results.keys():
                vms[name].stop()
    return results, over


def _reached(
    budget: Budget,
    config: Run,
    images: Mapping[str, Image],
    vms: Mapping[str, RemoteVm],
    seen: Sequence[Progress],
    elapsed_s: float,
) -> str:
    """Which budget is reached, for people; empty while none is."""
    if budget.time_s is not None and elapsed_s >= budget.time_s:
        return f"budget of {budget.time_s:g} s"
    if budget.operations is not None:
        done = sum(
            operations(config.vms[at.vm], at.instret, images[at.vm], _reader(vms[at.vm])) for at in seen
        )
        if done >= budget.operations:
            return f"budget of {budget.operations} operations"
    return ""


def _progress(name: str, vm: Vm, running: RemoteVm, result: VmResult | None, elapsed_s: float) -> Progress:
    if result is not None:
        return Progress(name, vm.harts, sum(h.instret for h in result.harts), result.wall_s, result)
    return Progress(name, vm.harts, sum(running.get_stats().instret), elapsed_s, None)


def _reader(vm: RemoteVm) -> ReadMemory:
    def read(address: int, size: int) -> bytes:
        try:
            return vm.get_memory(address, size)
        except RefusedByServer as refusal:
            raise ValueError(refusal.reason) from refusal

    return read
