"""The host that a configured VM gets, and whether switches lead there to what `[vm.isa]` asks for.

Owns what is refused before a VM is made, so that the file can be named; the rules are `coordinator.switching`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from coordinator.config.isa import ExtensionSet
from coordinator.config.model import Vm
from coordinator.config.places import KeyPath
from coordinator.host import HostModel
from coordinator.switching import Switches, host_for, reach
from hart.isa import isa_string


def host_model(vm: Vm) -> HostModel:
    """The simulated host of the VM.

    Under rules `simulator` it lacks the extensions that the VM does not want and could not switch off, having no KVM
    id; under `kvm` it is what `[host]` says.
    """
    host, offered = vm.host, vm.host_extensions
    return HostModel(
        extensions=host_for(vm.extensions, offered) if vm.rules == "simulator" else offered,
        mvendorid=host.mvendorid,
        marchid=host.marchid,
        mimpid=host.mimpid,
        timer_frequency_hz=host.timer_frequency_hz,
    )


def isa_problems(vm: Vm) -> tuple[tuple[KeyPath, str], ...]:
    """What of `[vm.isa]` the VM cannot have: the key within the VM, and why not."""
    harts = tuple(vm.isa.first_harts(vm.harts))
    own = tuple((hart, table.asked) for hart, table in vm.isa.harts.items())
    exponent = vm.reservation.reservation_set_size_exp
    return _problems(_Question((vm.isa.asked, own, vm.host.isa.asked, vm.rules, exponent, harts), vm))


@dataclass(frozen=True, slots=True)
class _Question:
    """What the answer depends on, and a VM that asks: the points of a batch ask the same again and again."""

    key: tuple[object, ...]
    vm: Vm = field(compare=False)


@lru_cache(maxsize=64)
def _problems(question: _Question) -> tuple[tuple[KeyPath, str], ...]:
    vm = question.vm
    host = host_model(vm)
    switches = Switches(host, vm.rules, host.offers(vm.reservation.reservation_set_size_exp))
    found = (
        problem for hart in vm.isa.first_harts(vm.harts) for problem in _hart_problems(vm, hart, switches)
    )
    return tuple(dict.fromkeys(found))


def _hart_problems(vm: Vm, hart: int, switches: Switches) -> Iterator[tuple[KeyPath, str]]:
    wanted = vm.extensions_of(hart)
    if absent := wanted - vm.host_extensions:
        for key, names in _by_key(vm, hart, absent, on=True).items():
            yield key, f"the host lacks {', '.join(names)} (ENOENT); host.isa says what it has"
        return
    reached = reach(switches, wanted)
    reasons = {name: reason for name, _, reason in reached.refused}
    for on, word in ((True, "on"), (False, "off")):
        refused = {name for name, wants_on, _ in reached.refused if wants_on is on}
        for key, names in _by_key(vm, hart, refused, on).items():
            what = f"{', '.join(names)} cannot be switched {word} on hart {hart}"
            yield key, f'under rules = "{vm.rules}" {what} (EINVAL): {reasons[names[0]]}'
        left = wanted - reached.enabled if on else reached.enabled - wanted
        if left and not reached.refused:
            for key, names in _by_key(vm, hart, left, on).items():
                what = f"{', '.join(names)} cannot be switched {word} on hart {hart}"
                yield key, f"{what}, having no KVM id: such extensions go with what they belong to"


def _by_key(vm: Vm, hart: int, names: Iterable[str], on: bool) -> dict[KeyPath, list[str]]:
    """The extensions by the key that asks for their being on or off; consequences of others only if all are."""
    found: dict[KeyPath, list[str]] = {}
    for name in sorted(names):
        found.setdefault(_key(vm, hart, name, on), []).append(name)
    if len(found) > 1:
        found.pop(("isa",), None)
    return found


def _key(vm: Vm, hart: int, name: str, on: bool) -> KeyPath:
    """The key that asks for the extension's being on or off; all of `[vm.isa]` where none does by name."""
    tables: list[tuple[KeyPath, ExtensionSet]] = [(("isa",), vm.isa)]
    if str(hart) in vm.isa.harts:
        tables.insert(0, (("isa", "harts", str(hart)), vm.isa.harts[str(hart)]))
    for path, table in tables:
        if table.switches.get(name) is on:
            return (*path, name)
    for path, table in tables:
        if table.base is not None and (name in isa_string.parse(table.base)) is on:
            return (*path, "base")
    return ("isa",)
