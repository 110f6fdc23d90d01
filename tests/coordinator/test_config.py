"""Run configurations: merging, overrides, and every kind of error with its exact message."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from bus import policies
from bus.handover import ORDERS
from bus.policies import serial
from coordinator.config import ConfigError, Overrides, for_program, json_schema, load, loads
from coordinator.monitor import TIERS
from coordinator.result import Ending
from coordinator.spec import OrderName, TierName, VmSpec
from hart.isa.extensions import implemented

NOTHING = Overrides()
POLICIES = ", ".join(map(policies.label, policies.NAMES))
MINIMAL = 'name = "x"\n[vm.guest]\nsource = ["a.S"]\n'


def parse(text, overrides=NOTHING):
    return loads(text, "f.toml", Path("."), overrides)


def errors(text, overrides=NOTHING):
    with pytest.raises(ConfigError) as caught:
        parse(text, overrides)
    return [p.describe("f.toml") for p in caught.value.problems]


def only_vm(text, overrides=NOTHING):
    (vm,) = parse(text, overrides).run.vms.values()
    return vm


def test_every_handover_order_has_a_name():
    assert get_args(OrderName) == tuple(ORDERS)


def test_defaults():
    vm = only_vm(MINIMAL)
    assert (vm.harts, vm.memory, vm.policy, vm.environment, vm.seed) == (1, 16 << 20, "serial", "bare", 0)
    assert vm.extensions == implemented(6)
    assert vm.limits.timeout_s == 60
    assert (vm.expect.expected_ending, vm.expect.expected_exit_code) == (Ending.EXIT, 0)


# (what stands in the file after MINIMAL, the message)
ONE_ERROR = [
    ("[vm]\nharts = 0", "f.toml:5: vm.harts = 0: must be at least 1"),
    ("[vm]\nharts = 1025", "f.toml:5: vm.harts = 1025: must be at most 1024"),
    ("[vm]\nharts = true", "f.toml:5: vm.harts = true: must be an integer"),
    ('[vm]\nharts = "4"', 'f.toml:5: vm.harts = "4": must be an integer'),
    (
        '[vm]\nmemory = "16MB"',
        'f.toml:5: vm.memory = "16MB": not a size; write a whole number of B, KiB, MiB, GiB, e.g. \'16MiB\'',
    ),
    ("[vm]\nmemory = 5000", "f.toml:5: vm.memory = 5000: 5000B is not a multiple of 4KiB from 4KiB to 1024GiB"),
    (
        '[vm]\npolicy = "seriel"',
        f"f.toml:5: vm.policy = \"seriel\": is not allowed; did you mean 'serial'?; allowed: {POLICIES}",
    ),
    (
        "[vm.limits]\ntimeout = 3",
        "f.toml:5: vm.limits.timeout: unknown key; did you mean 'timeout_s'?; allowed: max_instructions, timeout_s",
    ),
    ("[vm.limits]\ntimeout_s = 0", "f.toml:5: vm.limits.timeout_s = 0: must be more than 0"),
    (
        "[vm.reservation]\nreservation_set_size_exp = 13",
        "f.toml:5: vm.reservation.reservation_set_size_exp = 13: must be at most 12",
    ),
    (
        '[vm.isa]\nbase = "rv64ima_zacs"',
        'f.toml:5: vm.isa.base = "rv64ima_zacs": \'rv64ima_zacs\': unknown extension \'zacs\' at character 9; '
        "did you mean 'Zacas'?",
    ),
    ('[vm.isa]\nbase = "rv64i"\nZacas = true', "f.toml:4: vm.isa: Zacas needs Zaamo"),
    ("[vm.isa]\nZacas = 1", "f.toml:5: vm.isa.Zacas = 1: must be true or false"),
    (
        "[vm.isa]\nZa64rs = true\n[vm.reservation]\nreservation_set_size_exp = 7",
        "f.toml:2: vm: reservation_set_size_exp = 7 is too large for Za64rs",
    ),
    (
        '[vm.expect]\nending = "exti"',
        "f.toml:5: vm.expect.ending = \"exti\": is not allowed; did you mean 'exit'?; allowed: exit, trap, parked, "
        "instruction limit, watchdog, stopped, hart died, bus died, recorder died",
    ),
    (
        '[vm.expect]\nending = "trap"\nexit_code = 1',
        "f.toml:4: vm.expect: exit_code needs ending = 'exit', not 'trap'",
    ),
    ("[vm.expect.symbols]\na = { u8 = 256 }", "f.toml:5: vm.expect.symbols.a.u8 = 256: must be less than 256"),
    (
        "[vm.expect.symbols]\na = { u9 = 1 }",
        "f.toml:5: vm.expect.symbols.a.u9: unknown key; allowed: u8, u16, u32, u64, value",
    ),
    (
        "[vm.expect.memory]\nx = { u8 = 1, u16 = 1 }",
        "f.toml:5: vm.expect.memory.x: needs exactly one of u8, u16, u32, u64",
    ),
    ('[vm.expect.symbols]\na = "1"', 'f.toml:5: vm.expect.symbols.a = "1": must be an integer'),
    (
        '[vm.expect]\ninvariants = ["a == 1", "a = 1"]',
        "f.toml:5: vm.expect.invariants[1] = \"a = 1\": 'a = 1' is not an expression; write `==` to compare",
    ),
    (
        "[vm.expect.registers]\none.a0 = 1",
        'f.toml:5: vm.expect.registers.one = "one": the key is a hart number: 0, 1, ...',
    ),
    (
        "[vm.expect.registers]\n0.a9 = 1",
        "f.toml:5: vm.expect.registers.0.a9 = \"a9\": no such register; allowed: pc, x0 to x31, "
        "ABI names",
    ),
    ("[vm.expect.registers]\n1.a0 = 1", "f.toml:2: vm: expect.registers names hart 1, but harts are 0 to 0"),
    (
        "[vm.expect.sc_failures]\nother_stor = 1",
        "f.toml:4: vm.expect.sc_failures: no SC failure cause 'other_stor'; did you mean 'other_store'?; allowed: "
        "no_reservation, other_store, other_sc, other_amo, own_store, granule_mismatch, address_mismatch, trap, "
        "external_write, page_transition, bus_restart, injected, value_changed, tier_change",
    ),
    (
        '[vm.expect]\nconsole.matches = "("',
        'f.toml:5: vm.expect.console.matches = "(": not a regular expression: missing ), unterminated subpattern at '
        "position 0",
    ),
    ("[vm.expect.trap]\nhart = 0", "f.toml:4: vm.expect.trap.cause: missing; mcause: the manual's name, e.g. "
     "`illegal instruction`, or the number"),
    ("[vm]\nmax_instructions = 5", "f.toml:5: vm.max_instructions: unknown key; it belongs into vm.limits; allowed: "
     "harts, memory, policy, tier, environment, on_hart_death, on_bus_death, seed, isa, rules, host, guest, "
     "reservation, directory, limits, record, metrics, hart_metrics, outcome, expect"),
    ("[host.isa]\nZacas = 1", "f.toml:5: host.isa.Zacas = 1: must be true or false"),
    ("[host]\nmvendorid = -1", "f.toml:5: host.mvendorid = -1: must be at least 0"),
    ("[host.isa]\nZacas = false\n[vm.isa]\nZacas = true",
     "f.toml:7: vm.isa.Zacas = true: the host lacks Zacas (ENOENT); host.isa says what it has"),
    ('[host.isa]\nbase = "rv64ima"\n[vm.isa]\nbase = "rv64imac"',
     'f.toml:7: vm.isa.base = "rv64imac": the host lacks C, Zca (ENOENT); host.isa says what it has'),
    ("[vm]\nrules = \"kvm\"\n[vm.isa]\nZaamo = false",
     'f.toml:7: vm.isa.Zaamo = false: under rules = "kvm" Zaamo cannot be switched off on hart 0 (EINVAL): KVM '
     "allows it never"),
    ('[host.isa]\nbase = "rv64imac_zba"\n[vm]\nrules = "kvm"\n[vm.isa]\nbase = "rv64imac"',
     'f.toml:9: vm.isa.base = "rv64imac": under rules = "kvm" Zba cannot be switched off on hart 0 (EINVAL): KVM '
     "allows it never"),
    ('[vm]\nrules = "kvm"\n[vm.isa]\nZa64rs = false',
     "f.toml:7: vm.isa.Za64rs = false: Za64rs cannot be switched off on hart 0, having no KVM id: such extensions "
     "go with what they belong to"),
    ("[vm]\nharts = 2\n[vm.isa.harts.1]\nZa64rs = false",
     "f.toml:7: vm.isa.harts.1.Za64rs = false: Za64rs cannot be switched off on hart 1, having no KVM id: such "
     "extensions go with what they belong to"),
    ("[vm.isa.harts.1]\nZaamo = false", "f.toml:2: vm: isa.harts names hart 1, but harts are 0 to 0"),
    ("[vm.isa.harts.x]\nZaamo = false", "f.toml:4: vm.isa.harts.x = \"x\": the key is a hart number: 0, 1, ..."),
    ('[vm.isa.harts.0]\nbase = "rv64i"\nZacas = true', "f.toml:4: vm.isa: harts.0: Zacas needs Zaamo"),
    ('[vm]\nrules = "qemu"', 'f.toml:5: vm.rules = "qemu": is not allowed; allowed: simulator, kvm'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"), ONE_ERROR, ids=[message.split(":")[2] for _, message in ONE_ERROR]
)
def test_error_names_place_value_and_what_is_allowed(text, message):
    assert errors(MINIMAL + text) == [message]


@pytest.mark.parametrize(
    ("guest", "message"),
    [
        ('sorce = ["a.S"]', "f.toml:3: vm.guest.sorce: unknown key; did you mean 'source'?; allowed: source, c, elf, "
         "raw, address, entry, defines"),
        ('elf = "a"\nsource = ["a.S"]', "f.toml:2: vm.guest: needs exactly one of source, c, elf, raw; it has source "
         "and elf"),
        ("", "f.toml:2: vm.guest: needs exactly one of source, c, elf, raw; it has none"),
        ('raw = "a.bin"', "f.toml:2: vm.guest: raw needs address, the guest address where the image goes"),
        ('elf = "a"\naddress = 4', "f.toml:2: vm.guest: address belongs to raw; elf brings its own addresses"),
        ('elf = "a"\ndefines = { N = 1 }', "f.toml:2: vm.guest: defines are for source and c; elf is built already"),
        ("source = []", "f.toml:3: vm.guest.source = []: must not be empty"),
        ('source = "a.S"', 'f.toml:3: vm.guest.source = "a.S": must be a list'),
    ],
)  # fmt: skip
def test_guest_errors(guest, message):
    assert message in errors('name = "x"\n[vm.guest]\n' + guest)


def test_all_problems_are_reported_in_the_file_s_order():
    found = errors('name = ""\n[vm]\nharts = 0\nmemory = -1\n[vm.guest]\nelf = "a"\n')
    assert [line.split(":")[1] for line in found] == ["1", "3", "4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "f.toml:1: not TOML: Invalid value"),
        ('name = "x"', "f.toml: vm: missing: the table that describes the VM"),
        ('name = "x"\nvm = 3', "f.toml:2: vm = 3: must be a table"),
        ('name = "x"\nvms = {}', "f.toml:2: vms: has no VM"),
        ('name = "x"\nvms = 3', "f.toml:2: vms = 3: must be a table"),
        ("[vm.guest]\nelf = 'a'", "f.toml: name: missing; what the run is called in reports"),
    ],
)
def test_broken_documents(text, message):
    assert errors(text) == [message]


def test_vms_are_laid_over_the_common_table():
    text = """
        name = "two"
        [vm]
        harts = 2
        limits = { timeout_s = 5, max_instructions = 100 }
        guest = { source = ["a.S"], entry = "go", defines = { N = 1, M = 2 } }
        [vms.one]
        limits.timeout_s = 7
        guest.defines.N = 3
        [vms.two]
        harts = 4
        guest.elf = "b.elf"
        guest.defines = {}
    """
    with pytest.raises(ConfigError, match="defines are for source and c"):
        parse(text)
    vms = parse(text.replace("guest.elf", "guest.source = ['c.S'] #")).run.vms
    assert (vms["one"].harts, vms["two"].harts) == (2, 4)
    assert (vms["one"].limits.timeout_s, vms["one"].limits.max_instructions) == (7, 100)
    assert vms["one"].guest.defines == {"N": 3, "M": 2}
    assert (vms["two"].guest.source, vms["two"].guest.entry) == (["c.S"], None)


def test_a_problem_is_blamed_on_the_table_that_has_the_key():
    text = 'name = "x"\n[vm]\nharts = 0\nguest.elf = "a"\n[vms.one]\nseed = -1\n[vms.two]\n'
    assert errors(text) == [
        "f.toml:3: vm.harts = 0: must be at least 1",
        "f.toml:6: vms.one.seed = -1: must be at least 0",
    ]


def test_overrides_reach_every_vm():
    text = 'name = "x"\n[vm]\nguest.elf = "a"\nisa.Zacas = true\n[vms.one]\nharts = 2\n[vms.two]\nlimits.timeout_s = 3'
    config = parse(
        text, Overrides(harts=3, isa="rv64ima", seed=9, max_instructions=10, timeout=1.5, trace="t")
    )
    for vm in config.run.vms.values():
        assert (vm.harts, vm.seed, vm.limits.max_instructions, vm.limits.timeout_s) == (3, 9, 10, 1.5)
        assert vm.record.trace == "t"
        assert "Zacas" not in vm.extensions


def test_a_bad_override_is_blamed_on_its_option():
    assert errors(MINIMAL, Overrides(harts=0, policy="x")) == [
        "f.toml: --harts = 0: must be at least 1",
        f'f.toml: --policy = "x": is not allowed; allowed: {POLICIES}',
    ]


@pytest.mark.parametrize(
    ("keys", "without", "kept"),
    [
        ("A = false", {"A", "Zaamo", "Zalrsc", "Zacas", "Zabha", "Zawrs"}, {"Zalasr", "M"}),
        ("A = false\nZaamo = true", {"A", "Zalrsc", "Zawrs"}, {"Zaamo", "Zacas"}),
        ("C = false", {"C", "Zca"}, {"A"}),
        ("Zca = false", {"C", "Zca"}, {"A"}),
        ("Zicclsm = false", {"Zicclsm"}, {"A"}),
        ('base = "rv64ima"', {"Zacas", "Zca"}, {"Zaamo", "Zicsr"}),
        ('base = "rv64ima"\nZacas = true', {"Zabha"}, {"Zacas"}),
    ],
)
def test_extension_keys(keys, without, kept):
    on = only_vm(MINIMAL + "[vm.isa]\n" + keys).extensions
    assert not on & without
    assert kept <= on


def test_programs_run_without_a_config(tmp_path):
    kinds = {"a.S": "source", "a.c": "c", "a.elf": "elf", "a": "elf"}
    for name, key in kinds.items():
        (tmp_path / name).touch()
        config = for_program(tmp_path / name, Overrides(harts=2))
        assert getattr(config.run.vms["vm"].guest, key) in ([name], name)
        assert config.run.vms["vm"].harts == 2
        assert config.directory == tmp_path
    with pytest.raises(ConfigError, match=r"none\.elf: there is no such file"):
        for_program(tmp_path / "none.elf")


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml")


def test_schema_documents_every_key():
    schema = json_schema()
    json.dumps(schema)
    assert list(schema["properties"]) == ["name", "description", "host", "vm", "vms"]
    assert schema["required"] == ["name"]
    for table in [schema, *schema["$defs"].values()]:
        for key, description in table.get("properties", {}).items():
            assert "description" in description, key
    assert schema["$defs"]["_ExtensionKeys" if "_ExtensionKeys" in schema["$defs"] else "Isa"]["properties"][
        "Zacas"
    ]
    assert "null" not in json.dumps(
        [t.get("default") for t in schema["$defs"]["Vm"]["properties"].values() if "default" in t]
    )


def tiered(name):
    return f'name = "x"\n[vm]\nguest.source = ["a.S"]\ntier = "{name}"\n'


def test_native_tiers_need_a_policy_with_native_code(monkeypatch):
    assert only_vm(tiered("t2")).tier == "t2"
    monkeypatch.setattr(serial, "POLICY", replace(serial.POLICY, lowering=None))
    for allowed in get_args(TierName)[:2]:
        assert only_vm(tiered(allowed)).tier == allowed
    message = "policy 'serial' has no native code, which t2 needs; allowed with it: auto, interpreter"
    assert errors(tiered("t2")) == [f'f.toml:4: vm.tier = "t2": {message}']
    with pytest.raises(ValidationError, match="has no native code"):
        VmSpec(name="a", harts=1, tier="t1")


def test_every_tier_has_a_name():
    assert tuple(TIERS) == get_args(TierName)
