"""The run configuration as data: every key, its unit, default and allowed values. Reads and runs nothing.

The JSON Schema that editors use is generated from these models, and so is `hartstorm configs show`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from bus import policies
from bus.access import ScFailure
from bus.handover import LONGEST_CONSTRAINED_LOOP
from coordinator import expression
from coordinator.check import linearizability
from coordinator.config.isa import SMALLEST_SET_EXP, HartNumber, Host, Isa, hart_number
from coordinator.config.table import Table
from coordinator.config.units import format_size, parse_size
from coordinator.host import Rules
from coordinator.result import Ending
from coordinator.spec import PROFILE_OR_TRACE, VM_NAME, OrderName, TierName, order_problem, tier_problem
from hart import causes, environments
from hart.isa import extensions
from hart.isa.registers import NUMBERS as REGISTERS
from hart.spelling import nearest

MEMORY_FILE = "memory.rec"
"""Where `record = "memory"` writes."""
PAGE = 4096
"""Guest memory comes in pages of this many bytes."""


# Field types


def _size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


_SIZE_TEXT = {"type": "string", "pattern": r"^\d[\d_]*\s*(B|KiB|MiB|GiB)?$"}
Size = Annotated[int, BeforeValidator(_size), WithJsonSchema({"anyOf": [{"type": "integer"}, _SIZE_TEXT]})]
"""Bytes: a number, or text such as `16MiB`."""


def _cause(value: object) -> object:
    if not isinstance(value, str):
        return value
    by_name = {name.casefold(): cause for cause, name in causes.NAMES.items()}
    if value.casefold() not in by_name:
        names = causes.NAMES.values()
        hint = nearest(value, names)
        raise ValueError(f"no such trap cause{hint}; allowed: {', '.join(names)}, or the number")
    return by_name[value.casefold()]


CauseNumber = Annotated[
    int,
    BeforeValidator(_cause),
    Field(ge=0, lt=1 << 64),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "enum": list(causes.NAMES.values())}]}),
]


def _place(value: object) -> object:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value if isinstance(value, str) else hex(value)
    raise ValueError("write a symbol, symbol+offset, or an address")


Place = Annotated[
    str, BeforeValidator(_place), WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]})
]
"""A guest address: a symbol, `symbol + offset`, or a number."""


def _check_expression(text: str) -> str:
    expression.parse(text)
    return text


ExpressionText = Annotated[str, AfterValidator(_check_expression)]


def _one_of(names: Sequence[str], label: Callable[[str], str] = str) -> tuple[AfterValidator, WithJsonSchema]:
    """What makes a string field one of `names`, each of which errors call by its label."""

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"is not allowed{nearest(name, names)}; allowed: {', '.join(map(label, names))}")
        return name

    return AfterValidator(check), WithJsonSchema({"type": "string", "enum": list(names)})


PolicyName = Annotated[str, *_one_of(policies.NAMES, policies.label)]
EnvironmentName = Annotated[str, *_one_of(environments.NAMES)]

Word64 = Annotated[int, Field(ge=-(1 << 63), lt=1 << 64)]
"""A 64-bit value, signed or unsigned."""


# [vm.guest]

PROGRAM_KEYS = ("source", "c", "elf", "raw")


class Guest(Table):
    """The program every hart runs: one of `source`, `c`, `elf`, `raw`. Paths start at the config file."""

    source: list[str] | None = Field(default=None, min_length=1)
    """Assembly sources, assembled together in this order."""
    c: list[str] | None = Field(default=None, min_length=1)
    """C sources (and assembly in C syntax), built together with the start code and header of `guests/lib`."""
    elf: str | None = None
    """A statically linked ELF64 for RISC-V."""
    raw: str | None = None
    """A raw memory image; needs `address`."""
    address: int | None = Field(default=None, ge=0, lt=1 << 64)
    """Where the raw image goes; also its entry unless `entry` says otherwise."""
    entry: Place | None = None
    """Where every hart starts. Default: the ELF's entry, `_start`, or the beginning."""
    defines: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Word64] = {}
    """Constants for the sources (`.equ` in assembly, -D in C), also usable in invariants."""

    @model_validator(mode="after")
    def _one_program(self) -> Self:
        given = [key for key in PROGRAM_KEYS if getattr(self, key) is not None]
        if len(given) != 1:
            has = " and ".join(given) or "none"
            raise ValueError(f"needs exactly one of {', '.join(PROGRAM_KEYS)}; it has {has}")
        if self.raw is not None and self.address is None:
            raise ValueError("raw needs address, the guest address where the image goes")
        if self.raw is None and self.address is not None:
            raise ValueError(f"address belongs to raw; {given[0]} brings its own addresses")
        if self.defines and not (self.source or self.c):
            raise ValueError(f"defines are for source and c; {given[0]} is built already")
        return self


# [vm.reservation], [vm.directory], [vm.limits], [vm.record]


class Reservation(Table):
    """How LR/SC reservations behave where the ISA leaves it open; sail-riscv's names where it has them."""

    reservation_set_size_exp: int = Field(default=6, ge=SMALLEST_SET_EXP, le=12)
    """The reservation set is an aligned block of 2 to this power bytes. Default 6 (64 bytes)."""
    require_exact_reservation_addr: bool = False
    """SC fails unless its address and size are the LR's. Default false: anywhere in the set will do."""
    invalidate_on_same_hart_store: bool = False
    """A hart's own store to its reservation set ends the reservation. Default false."""
    invalidate_on_trap: bool = False
    """A trap ends the hart's reservation. Default false."""
    spurious_sc_failure: float = Field(default=0.0, ge=0, le=1)
    """Probability with which an SC that could succeed fails, drawn from the VM's seed. Default 0."""


class Directory(Table):
    """How harts pass granules on under policy `directory`."""

    hold_instructions: int = Field(default=LONGEST_CONSTRAINED_LOOP, ge=0, le=1 << 32)
    """A hart that is asked for a granule first runs so many instructions more, unless it waits for the bus itself.
    Default 16, as many as a constrained LR/SC loop has."""
    handover_order: OrderName = "fifo"
    """Which of the harts that wait for a granule gets it next: the first to have asked (`fifo`), the last (`lifo`), the
    `nearest` to its last owner on a ring of hart numbers, or a `random` one. Default `fifo`."""


class Limits(Table):
    """When to stop a VM that does not end by itself."""

    max_instructions: int | None = Field(default=None, ge=1)
    """Instructions per hart. Default: no limit."""
    timeout_s: float | None = Field(default=60.0, gt=0)
    """Seconds of wall time for the VM, start to end. Default 60."""


class Record(Table):
    """What to keep of the run. Paths start at the current directory. With several VMs each file name gets the VM's
    name before its suffix."""

    order: str | None = None
    """File for the order in which the policy performed accesses. Default: none."""
    trace: str | None = None
    """File for the instructions that each hart ran. Default: none."""
    memory: str | None = None
    """File for every memory event, for `hartstorm check`; `record = "memory"` means `memory.rec`. Default: none."""
    when_full: Literal["wait", "lose"] = "wait"
    """What a hart does when memory events come faster than they are written: wait, or lose them and count. Default
    wait."""
    profile: bool = False
    """Measure what each piece of guest code takes; not together with `trace`. Default false."""
    hot_addresses: int = Field(default=16, ge=0, le=4096)
    """How many of the addresses that atomics touch most the result lists. Default 16."""

    @model_validator(mode="after")
    def _profile_or_trace(self) -> Self:
        if self.profile and self.trace is not None:
            raise ValueError(f"profile: {PROFILE_OR_TRACE}")
        return self


# [vm.outcome]


def _hart_register(name: str) -> str:
    hart, colon, register = name.partition(":")
    if not colon:
        raise ValueError("write HART:REGISTER, e.g. 0:a0")
    hart_number(hart)
    if register not in REGISTERS:
        raise ValueError(f"no such register{nearest(register, REGISTERS)}; allowed: x0 to x31, ABI names")
    return name


class Outcome(Table):
    """What tells one run's outcome from another's, as in a litmus test; over repetitions it becomes a histogram."""

    registers: list[Annotated[str, AfterValidator(_hart_register)]] = []
    """Registers at the end of the run, `HART:REGISTER`."""
    symbols: list[ExpressionText] = []
    """Symbols, or expressions as in `expect.invariants`, at the end of the run."""


MetricName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def _recorded(value: object) -> object:
    """`record = "memory"` is short for the usual file."""
    return {"memory": MEMORY_FILE} if value == "memory" else value


# [vm.expect]


class SizedValue(Table):
    """A value with its width in memory: exactly one key."""

    u8: int | None = Field(default=None, ge=-(1 << 7), lt=1 << 8)
    """One byte."""
    u16: int | None = Field(default=None, ge=-(1 << 15), lt=1 << 16)
    """Two bytes."""
    u32: int | None = Field(default=None, ge=-(1 << 31), lt=1 << 32)
    """Four bytes."""
    u64: int | None = Field(default=None, ge=-(1 << 63), lt=1 << 64)
    """Eight bytes."""

    @model_validator(mode="after")
    def _one_width(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"needs exactly one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def number(self) -> int:
        """The value, whatever the width."""
        (key,) = self.model_fields_set
        return int(getattr(self, key))

    @property
    def size(self) -> int | None:
        """Bytes; None where the symbol's own size is meant."""
        (key,) = self.model_fields_set
        return int(key[1:]) // 8 if key[1:].isdigit() else None


class SymbolValue(SizedValue):
    """What a symbol's memory holds. A bare number means `value`."""

    value: Word64 | None = None
    """At the size that the symbol was declared with (1, 2, 4 or 8 bytes)."""

    @model_validator(mode="before")
    @classmethod
    def _number_is_value(cls, given: object) -> object:
        return given if isinstance(given, dict) else {"value": given}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "integer"}, handler.resolve_ref_schema(handler(core_schema))]}


class TrapExpect(Table):
    """A trap that no handler takes. Keys left out are not checked."""

    cause: CauseNumber
    """mcause: the manual's name, e.g. `illegal instruction`, or the number."""
    hart: int | None = Field(default=None, ge=0)
    """The hart that traps. Default: any."""
    pc: Place | None = None
    """Address of the instruction that traps."""
    tval: Place | None = None
    """mtval."""


class ConsoleExpect(Table):
    """What the guest printed; each key given must hold. Bytes outside UTF-8 count as U+FFFD."""

    equals: str | None = None
    """The whole output."""
    contains: str | None = None
    """A part of the output."""
    matches: str | None = None
    """A Python regular expression found somewhere in the output."""

    @model_validator(mode="before")
    @classmethod
    def _text_is_contained(cls, given: object) -> object:
        return {"contains": given} if isinstance(given, str) else given

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler.resolve_ref_schema(handler(core_schema))]}

    @field_validator("matches")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern


class LinearizableExpect(Table):
    """The guest's own history of operations on one or more objects must be linearizable: each took effect at one
    instant while it ran."""

    type: Annotated[str, *_one_of(list(linearizability.TYPES))]
    """What the objects are: `counter`, `stack`, `queue`, `ring` (a queue that may be full), `deque`."""
    history: str
    """Symbol of the array of events, as many for each hart; see `guests/workloads/workload.h`."""
    capacity: int | None = Field(default=None, ge=1)
    """How much a ring holds."""
    most_states: int = Field(default=linearizability.MOST_STATES, ge=1)
    """How many states to search for each object; where they do not suffice the answer is `undecided`, and the
    expectation is not met. Default 200000."""

    @model_validator(mode="after")
    def _capacity_of_rings(self) -> Self:
        if linearizability.TYPES[self.type].bounded and self.capacity is None:
            raise ValueError(f"a {self.type} needs capacity, how much it holds")
        if self.capacity is not None and not linearizability.TYPES[self.type].bounded:
            raise ValueError(f"capacity is for a ring; a {self.type} holds any number")
        return self


def _register(name: str) -> str:
    if name != "pc" and name not in REGISTERS:
        hint = nearest(name, REGISTERS)
        raise ValueError(f"no such register{hint}; allowed: pc, x0 to x31, ABI names")
    return name


class Expect(Table):
    """What must be true after the run. Without `ending`, `exit_code` or `trap`: exit with code 0."""

    ending: Annotated[Ending, Field(strict=False)] | None = None
    """How the VM ends. Default: `trap` where a trap is expected, else `exit`."""
    exit_code: int | None = Field(default=None, ge=0)
    """The code the guest exits with. Default 0 where the ending is `exit`."""
    trap: TrapExpect | None = None
    """The trap that ends a hart."""
    symbols: dict[str, SymbolValue] = {}
    """Memory by symbol: a number at the symbol's own size, or `{ u32 = 5 }`."""
    memory: dict[str, SizedValue] = {}
    """Memory by address or `symbol + offset`."""
    registers: dict[HartNumber, dict[Annotated[str, AfterValidator(_register)], Word64]] = {}
    """Registers by hart number, then by name (`a0`, `x10`, `pc`), at the end of the run."""
    invariants: list[ExpressionText] = []
    """Expressions that must be true. Names: symbols, defines, `harts`, `instret` (all harts together)."""
    sc_failures: dict[str, Annotated[int, Field(ge=0)]] = {}
    """Failed SCs by cause, all harts together, e.g. `other_store = 1`."""
    console: ConsoleExpect | None = None
    """What the guest printed: text that must occur, or a table."""
    linearizable: LinearizableExpect | None = None
    """A history that must be linearizable."""

    @field_validator("sc_failures")
    @classmethod
    def _known_causes(cls, given: dict[str, int]) -> dict[str, int]:
        allowed = [cause.name.lower() for cause in ScFailure]
        for name in given:
            if name not in allowed:
                hint = nearest(name, allowed)
                raise ValueError(f"no SC failure cause {name!r}{hint}; allowed: {', '.join(allowed)}")
        return given

    @model_validator(mode="after")
    def _one_ending(self) -> Self:
        if self.exit_code is not None and self.expected_ending is not Ending.EXIT:
            raise ValueError(f"exit_code needs ending = 'exit', not {self.expected_ending.value!r}")
        if self.trap is not None and self.expected_ending is not Ending.TRAP:
            raise ValueError(f"trap needs ending = 'trap', not {self.expected_ending.value!r}")
        return self

    @property
    def expected_ending(self) -> Ending:
        """`ending`, or what follows from the other keys."""
        if self.ending is not None:
            return self.ending
        return Ending.EXIT if self.trap is None else Ending.TRAP

    @property
    def expected_exit_code(self) -> int | None:
        """`exit_code`, 0 by default, None where the ending is another."""
        return (self.exit_code or 0) if self.expected_ending is Ending.EXIT else None


# [vm]


class Vm(Table):
    """A virtual machine: its harts, memory and ISA, the guest it runs, and what must come of it."""

    harts: int = Field(default=1, ge=1, le=1024)
    """Number of harts; each is a process. Default 1."""
    memory: Size = 16 << 20
    """Size of guest RAM, a multiple of 4KiB; RAM starts at 0x80000000. Default `16MiB`."""
    policy: PolicyName = "serial"
    """Coherence policy, by name; `cas` is WRONG on purpose. Default `serial`."""
    tier: TierName = "auto"
    """How code is run that proves hot: `interpreter` as all code is at first, `t1` native code that is quick to
    compile, `t2` native code that is quick to run, `auto` by t1, then by t2. A traced VM is interpreted whatever
    this says. Default `auto`."""
    environment: EnvironmentName = "bare"
    """What the guest finds around it. `bare`: M-mode, HTIF, CLINT. Default `bare`."""
    on_hart_death: Literal["stop", "continue"] = "stop"
    """What becomes of the VM when a hart's process dies. Default `stop`."""
    on_bus_death: Literal["stop", "restart"] = "stop"
    """What becomes of the VM when its bus process dies. Default `stop`."""
    seed: int = Field(default=0, ge=0, lt=1 << 64)
    """Seed of everything random in the run. Default 0."""
    isa: Isa = Isa.model_construct()
    """ISA extensions."""
    rules: Rules = "simulator"
    """Which extensions may be switched off: `simulator` every one that hartstorm implements, `kvm` those that the
    kernel lets go, which none of the atomics are. Default `simulator`."""
    host: Host = Host.model_construct()
    """The simulated host. `[host]` is that of all VMs; what a VM says here is laid over it."""
    guest: Guest
    """The program."""
    reservation: Reservation = Reservation.model_construct()
    """LR/SC behaviour."""
    directory: Directory = Directory.model_construct()
    """How granules change hands, under policy `directory`."""
    limits: Limits = Limits.model_construct()
    """When to give up."""
    record: Annotated[Record, BeforeValidator(_recorded)] = Record.model_construct()
    """What to record."""
    metrics: dict[MetricName, ExpressionText] = {}
    """Numbers to keep of the run, by name: expressions as in `expect.invariants`. `operations` is what the guest did;
    rates are about it."""
    hart_metrics: dict[MetricName, ExpressionText] = {}
    """The same for each hart, whose number is `hart`: `u64(done, hart)`."""
    outcome: Outcome = Outcome.model_construct()
    """What tells outcomes apart."""
    expect: Expect = Expect.model_construct()
    """What must come of it."""

    @field_validator("memory")
    @classmethod
    def _whole_pages(cls, size: int) -> int:
        if not 0 < size <= 1 << 40 or size % PAGE:
            raise ValueError(f"{format_size(size)} is not a multiple of 4KiB from 4KiB to 1024GiB")
        return size

    @field_validator("tier")
    @classmethod
    def _tier_of_the_policy(cls, tier: TierName, info: ValidationInfo) -> TierName:
        if "policy" in info.data and (problem := tier_problem(tier, info.data["policy"])):
            raise ValueError(problem)
        return tier

    @field_validator("record")
    @classmethod
    def _order_of_the_policy(cls, record: Record, info: ValidationInfo) -> Record:
        wanted = record.order is not None and "policy" in info.data
        if wanted and (problem := order_problem(info.data["policy"])):
            raise ValueError(f"order: {problem}")
        return record

    @property
    def host_extensions(self) -> frozenset[str]:
        """Every ISA extension that the host has, as far as the reservation set allows it."""
        set_exp = self.reservation.reservation_set_size_exp
        return self.host.isa.extensions(SMALLEST_SET_EXP) & extensions.implemented(set_exp)

    def extensions_of(self, hart: int) -> frozenset[str]:
        """Every ISA extension that is on in a hart, with all it brings."""
        set_exp = self.reservation.reservation_set_size_exp
        return self.isa.of(hart).extensions(set_exp, self.host_extensions)

    @property
    def extensions(self) -> frozenset[str]:
        """Every ISA extension that some hart has."""
        return frozenset().union(*map(self.extensions_of, self.isa.first_harts(self.harts)))

    @property
    def common_extensions(self) -> frozenset[str]:
        """Every ISA extension that all harts have."""
        first, *others = map(self.extensions_of, self.isa.first_harts(self.harts))
        return first.intersection(*others)

    @model_validator(mode="after")
    def _granules_fit_the_isa(self) -> Self:
        for hart in self.isa.first_harts(self.harts):
            self.extensions_of(hart)
        return self

    @model_validator(mode="after")
    def _expected_harts_exist(self) -> Self:
        named = [("registers", int(hart)) for hart in self.expect.registers]
        if self.expect.trap is not None and self.expect.trap.hart is not None:
            named.append(("trap.hart", self.expect.trap.hart))
        named = [(f"expect.{key}", hart) for key, hart in named]
        named += [("isa.harts", int(hart)) for hart in self.isa.harts]
        named += [("outcome.registers", int(name.partition(":")[0])) for name in self.outcome.registers]
        for key, hart in named:
            if hart >= self.harts:
                raise ValueError(f"{key} names hart {hart}, but harts are 0 to {self.harts - 1}")
        return self


class Run(Table):
    """A run: VMs side by side. In the file, `[vm]` for one, or `[vms.NAME]` tables laid over `[vm]`; `[host]` below
    the `host` of each."""

    name: str = Field(min_length=1)
    """What the run is called in reports."""
    description: str = ""
    """What it shows, for people."""
    vms: dict[Annotated[str, Field(pattern=VM_NAME)], Vm]
    """Several VMs by name; each table is laid over `[vm]`."""

    def seeded(self, repetition: int) -> Self:
        """The same with each VM's seed raised by `repetition`."""
        vms = {
            name: vm.model_copy(update={"seed": (vm.seed + repetition) % (1 << 64)})
            for name, vm in self.vms.items()
        }
        return self.model_copy(update={"vms": vms})


def _without_nulls(schema: Any) -> Any:
    """`schema` without defaults that stand for a key left out: TOML has no null."""
    if isinstance(schema, list):
        return [_without_nulls(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _without_nulls(part) for key, part in schema.items() if part is not None}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a run configuration file, for editors."""
    schema: dict[str, Any] = _without_nulls(Run.model_json_schema())
    properties, definitions = schema["properties"], schema["$defs"]
    # `[vm]` and `[vms.NAME]` complete each other, so neither needs to be complete.
    definitions["Vm"].pop("required")
    schema["required"].remove("vms")
    one = {"$ref": "#/$defs/Vm", "description": "The VM, or what all VMs of `vms` have in common."}
    vms = properties.pop("vms")
    host = {"$ref": "#/$defs/Host", "description": "The simulated host of all VMs."}
    schema["properties"] = properties | {"host": host, "vm": one, "vms": vms}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
