"""What a VM is asked to be: size, policy, reservation behaviour, limits, host. Data only, checked when made.

Names of the reservation settings are sail-riscv's where it has them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from bus import policies
from bus.handover import LONGEST_CONSTRAINED_LOOP
from coordinator.host import U64, HostModel, Rules
from hart import environments
from hart.spelling import nearest

MAX_HARTS = 1024

VM_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""What a VM may be called."""

TierName = Literal["auto", "interpreter", "t1", "t2"]
"""How hot code is run: by the interpreter, by native code of one tier, or (`auto`) by all that the policy allows."""

OrderName = Literal["fifo", "lifo", "nearest", "random"]
"""The keys of `bus.handover.ORDERS`."""


PROFILE_OR_TRACE = "a traced VM cannot be profiled: writing the trace is what would take its time"


def tier_problem(tier: TierName, policy: str) -> str | None:
    """Why a VM of that policy cannot run in that tier, or None if it can. The policy must exist."""
    if tier in ("auto", "interpreter") or policies.policy(policy).lowering is not None:
        return None
    return f"policy {policy!r} has no native code, which {tier} needs; allowed with it: auto, interpreter"


def order_problem(policy: str) -> str | None:
    """Why the order of a VM of that policy cannot be recorded, or None if it can. The policy must exist."""
    if policies.policy(policy).total_order:
        return None
    allowed = ", ".join(name for name in policies.NAMES if policies.policy(name).total_order)
    return (
        f"policy {policies.label(policy)!r} has no total order to record; policies that have one: {allowed}"
    )


@dataclass(frozen=True, config=ConfigDict(extra="forbid", defer_build=True))
class WatchSettings:
    """How the coordinator watches a running VM.

    Attributes:
        poll_interval_s: seconds between two looks at harts and bus.
        silence_s: a hart that passes no safepoint for so long is reported as not answering.
        hot_addresses: how many of the most contended addresses a result lists.

    """

    poll_interval_s: Annotated[float, Field(gt=0, le=10)] = 0.02
    silence_s: Annotated[float, Field(gt=0, le=3600)] = 2.0
    hot_addresses: Annotated[int, Field(strict=True, ge=0, le=4096)] = 16


@dataclass(frozen=True, config=ConfigDict(extra="forbid", defer_build=True))
class VmSpec:
    """Everything that defines a VM but its program and its extensions, which are set through ONE_REG.

    Attributes:
        name: what its owner calls it.
        harts: how many; they are numbered from 0.
        ram_base: guest physical address of RAM, a multiple of 4096.
        ram_bytes: size of RAM, a multiple of 4096.
        policy: coherence policy, a module under `bus/policies/`.
        reservation_set_size_exp: granules have 2**this bytes.
        require_exact_reservation_addr: an SC must use the LR's address and size.
        invalidate_on_same_hart_store: a hart's own store or AMO to the granule ends its reservation.
        invalidate_on_trap: a trap ends the reservation.
        spurious_sc_failure: probability with which an SC that could succeed fails.
        hold_instructions: under `directory`, a hart keeps a granule that others want for so many instructions more.
        handover_order: under `directory`, which waiting hart gets a granule next, a key of `bus.handover.ORDERS`.
        seed: of every random choice in the VM.
        max_instructions: per hart; None for no limit.
        timeout_s: wall-clock limit of a run in seconds; None for no limit.
        record_order: file for the order in which the policy performs accesses, or None.
        trace: file for the instruction trace, or None.
        record_memory: file for every memory event (`bus.recording_file`), or None.
        memory_events: whether harts note their memory events without a file: whoever makes the VM reads the rings.
        recorded_bytes: offset in RAM and size of what is recorded; None for all of RAM.
        events_when_full: what a hart does while its ring of memory events is full: wait for space, or lose and count.
        profile: measure what each piece of guest code takes; not together with a trace.
        tier: which execution tiers to use; a traced VM is interpreted whatever it says.
        cache: directory of the object cache; None for the user's.
        environment: guest environment, a module under `hart/environments/`.
        on_hart_death: what happens to the VM when a hart's process dies.
        on_bus_death: likewise for the bus process.
        watch: how it is watched.
        host: the simulated host.
        rules: `simulator`: every implemented extension can be switched off; `kvm`: exactly the kernel's
            rules.

    """

    name: Annotated[str, Field(pattern=VM_NAME)]
    harts: Annotated[int, Field(strict=True, ge=1, le=MAX_HARTS)]
    ram_bytes: Annotated[int, Field(strict=True, ge=4096, le=1 << 40, multiple_of=4096)] = 16 << 20
    ram_base: Annotated[U64, Field(multiple_of=4096)] = 0x8000_0000
    policy: Annotated[str, Field(max_length=64)] = "serial"
    reservation_set_size_exp: Annotated[int, Field(strict=True, ge=3, le=12)] = 6
    require_exact_reservation_addr: bool = False
    invalidate_on_same_hart_store: bool = False
    invalidate_on_trap: bool = False
    spurious_sc_failure: Annotated[float, Field(ge=0, le=1)] = 0.0
    hold_instructions: Annotated[int, Field(strict=True, ge=0, le=1 << 32)] = LONGEST_CONSTRAINED_LOOP
    handover_order: OrderName = "fifo"
    seed: U64 = 0
    max_instructions: Annotated[int, Field(strict=True, ge=1)] | None = None
    timeout_s: Annotated[float, Field(gt=0)] | None = None
    record_order: str | None = None
    trace: str | None = None
    record_memory: str | None = None
    memory_events: bool = False
    recorded_bytes: tuple[int, int] | None = None
    events_when_full: Literal["wait", "lose"] = "wait"
    profile: bool = False
    tier: TierName = "auto"
    cache: str | None = None
    environment: Annotated[str, Field(max_length=64)] = "bare"
    on_hart_death: Literal["stop", "continue"] = "stop"
    on_bus_death: Literal["stop", "restart"] = "stop"
    watch: WatchSettings = Field(default_factory=WatchSettings)
    host: HostModel = Field(default_factory=HostModel)
    rules: Rules = "simulator"

    @model_validator(mode="after")
    def _names_exist(self) -> VmSpec:
        for key, names, label in (
            ("policy", policies.NAMES, policies.label),
            ("environment", environments.NAMES, str),
        ):
            name = getattr(self, key)
            if name not in names:
                there_are = ", ".join(map(label, names))
                raise ValueError(f"{key} = {name!r}{nearest(name, names)}; there are {there_are}")
        if problem := tier_problem(self.tier, self.policy):
            raise ValueError(f"tier = {self.tier!r}: {problem}")
        if self.profile and self.trace is not None:
            raise ValueError(f"profile = True: {PROFILE_OR_TRACE}")
        if self.record_order is not None and (problem := order_problem(self.policy)):
            raise ValueError(f"record_order = {self.record_order!r}: {problem}")
        return self

    @model_validator(mode="after")
    def _fits_the_address_space(self) -> VmSpec:
        if self.ram_base + self.ram_bytes > 1 << 64:
            raise ValueError(
                f"RAM from {self.ram_base:#x} with {self.ram_bytes:#x} bytes passes the end of 2**64"
            )
        return self

    def holds(self, address: int, size: int) -> bool:
        """Whether `size` bytes from `address` lie in RAM."""
        return self.ram_base <= address and address + size <= self.ram_base + self.ram_bytes
