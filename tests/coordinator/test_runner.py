"""Running a configuration through the control channel, with machines that execute nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_machine import FakeMachine

from coordinator.config import loads
from coordinator.config.model import PROGRAM_KEYS, Vm
from coordinator.config.offer import host_model
from coordinator.control.client import ControlClient
from coordinator.local import local_coordinator
from coordinator.progress import live_table, progress_line, show_progress
from coordinator.registers import decode
from coordinator.result import Ending
from coordinator.runner import run, vm_spec
from coordinator.spec import VmSpec
from hart.image import Chunk, Image, Symbol
from hart.isa.extensions import REGISTRY, effective, implemented

IMAGE = Image(
    "a.S", 0x8000_0000, (Chunk(0x8000_0000, b"\x05\0\0\0\0\0\0\0"),), {"five": Symbol("five", 0x8000_0000, 8)}
)


def config(text):
    return loads('name = "t"\n' + text, "t.toml", Path(".")).run


class Machines:
    """Makes fake machines and remembers them."""

    def __init__(self, run_s=0.05):
        self.made = []
        self._run_s = run_s

    def __call__(self, spec):
        self.made.append(FakeMachine(spec, self._run_s))
        return self.made[-1]


def run_fake(run_config, machines, report=lambda progress: None):
    with local_coordinator(machines) as client:
        return run(run_config, dict.fromkeys(run_config.vms, IMAGE), client, report)


def test_a_run_loads_runs_judges_and_destroys():
    machines = Machines()
    (outcome,) = run_fake(config('[vm]\nharts = 2\nguest.elf = "a"\nexpect.symbols.five = 5'), machines)
    assert outcome.result.ending is Ending.EXIT
    assert [(c.what, c.ok) for c in outcome.verdict.checks] == [
        ("ending", True),
        ("exit_code", True),
        ("symbols.five", True),
    ]
    assert machines.made[0].pc == [IMAGE.entry] * 2
    assert machines.made[0].destroyed


def test_vms_run_side_by_side_under_their_names():
    machines = Machines(run_s=0.2)
    progress = []
    outcomes = run_fake(
        config('[vm]\nguest.elf = "a"\n[vms.one]\n[vms.two]\nharts = 3'), machines, progress.append
    )
    assert [o.name for o in outcomes] == ["one", "two"]
    assert abs(machines.made[0].started - machines.made[1].started) < 0.2
    assert [p.vm for p in progress[0]] == ["one", "two"]
    assert progress[0][1].harts == 3
    assert all(p.result is not None for p in progress[-1])


@pytest.mark.parametrize(
    "isa",
    ["", 'base = "rv64i"', 'base = "rv64ima"', "Zacas = false", "A = false", "C = false", "Zicclsm = false",
     "M = false", "B = false\nZba = true", "Za64rs = false", "Zalrsc = false"],
)  # fmt: skip
def test_every_hart_gets_the_extensions_of_the_config(isa):
    machines = Machines()
    run_config = config(f'[vm]\nharts = 2\nguest.elf = "a"\n[vm.isa]\n{isa}')
    run_fake(run_config, machines)
    wanted = run_config.vms["vm"].extensions
    bundles = {"A", "B", "C"}
    for hart in range(2):
        assert effective(machines.made[0].extensions[hart]) - bundles == wanted - bundles


def test_harts_differ_and_the_host_is_the_configs(monkeypatch):
    sent = []

    def set_one_reg(client, vm, hart, register, value, real=ControlClient.set_one_reg):
        sent.append((hart, decode(register).name, value))
        real(client, vm, hart, register, value)

    monkeypatch.setattr(ControlClient, "set_one_reg", set_one_reg)
    machines = Machines()
    text = '[host]\nmvendorid = 9\n[host.isa]\nbase = "rv64imac_zba"\n[vm]\nharts = 2\nguest.elf = "a"\n'
    run_config = config(text + "[vm.isa.harts.1]\nZba = false\nM = false")
    vm = run_config.vms["vm"]
    run_fake(run_config, machines)
    [machine] = machines.made
    assert machine.spec.host.mvendorid == 9
    assert machine.spec.host.extensions == vm.host_extensions == machine.extensions[0] == vm.extensions_of(0)
    assert machine.extensions[0] - machine.extensions[1] == {"Zba", "M", "Zmmul"}
    assert vm.extensions - vm.common_extensions == {"Zba", "M", "Zmmul"}
    assert sorted(sent) == [(1, "isa_ext.m", 0), (1, "isa_ext.zba", 0)]  # as any client's


def test_the_rules_of_the_config_are_the_vms():
    machines = Machines()
    run_fake(config('[vm]\nrules = "kvm"\nguest.elf = "a"'), machines)
    assert machines.made[0].spec.rules == "kvm"
    assert machines.made[0].extensions[0] == implemented()


def test_nothing_is_left_when_the_run_is_interrupted():
    machines = Machines(run_s=3600)

    def interrupt(progress):
        raise KeyboardInterrupt

    two = config('[vm]\nguest.elf = "a"\n[vms.one]\n[vms.two]')
    with local_coordinator(machines) as client:
        with pytest.raises(KeyboardInterrupt):
            run(two, dict.fromkeys(two.vms, IMAGE), client, interrupt)
        assert [m.destroyed for m in machines.made] == [True, True]


def test_the_coordinator_ends_vms_that_its_command_forgot():
    machines = Machines(run_s=3600)
    with local_coordinator(machines) as client:
        client.create_vm(VmSpec(name="forgotten", harts=1)).run()
    assert machines.made[0].destroyed


def test_the_spec_says_what_the_config_says():
    vm = config(
        """
        [vm]
        harts = 3
        memory = "1MiB"
        seed = 7
        on_hart_death = "continue"
        on_bus_death = "restart"
        guest.elf = "a"
        isa.Zicclsm = false
        [vm.reservation]
        reservation_set_size_exp = 4
        require_exact_reservation_addr = true
        invalidate_on_same_hart_store = true
        invalidate_on_trap = true
        spurious_sc_failure = 0.25
        [vm.limits]
        max_instructions = 10
        timeout_s = 2.5
        [vm.record]
        order = "out/order.bin"
        trace = "trace"
        hot_addresses = 3
        """
    ).vms["vm"]
    spec = vm_spec("one", vm, "one")
    assert spec == VmSpec(
        name="one",
        harts=3,
        ram_bytes=1 << 20,
        seed=7,
        reservation_set_size_exp=4,
        require_exact_reservation_addr=True,
        invalidate_on_same_hart_store=True,
        invalidate_on_trap=True,
        spurious_sc_failure=0.25,
        max_instructions=10,
        timeout_s=2.5,
        record_order=str(Path.cwd() / "out/order-one.bin"),
        trace=str(Path.cwd() / "trace-one"),
        on_hart_death="continue",
        on_bus_death="restart",
        watch=spec.watch,
        host=spec.host,
    )
    assert spec.watch.hot_addresses == 3
    assert "Zicclsm" not in spec.host.extensions
    assert vm_spec("one", vm).record_order == str(Path.cwd() / "out/order.bin")


def test_no_key_is_forgotten_on_the_way_to_the_spec():
    # Every scalar key of a VM shows in its spec, or is for the builder, the judge, or who measures.
    elsewhere = {"isa", "guest", "metrics", "hart_metrics", "outcome", "expect"}
    source = "".join(Path(made.__code__.co_filename).read_text() for made in (vm_spec, host_model))
    for key, field in Vm.model_fields.items():
        if key not in elsewhere:
            inner = getattr(field.annotation, "model_fields", None)
            for name in {*(inner or [key])} - elsewhere:
                assert re.search(rf"(vm|host)\.(\w+\.)?{name}\b", source), name
    assert set(PROGRAM_KEYS) < set(Vm.model_fields["guest"].annotation.model_fields)
    assert {e for e in REGISTRY if REGISTRY[e].implemented} >= vm_spec(
        "x", config('[vm]\nguest.elf = "a"').vms["vm"]
    ).host.extensions


def test_progress_shows_rate_and_end(capsys):
    seen = []
    run_fake(config('[vm]\nharts = 2\nguest.elf = "a"'), Machines(run_s=0.1), seen.append)
    line = progress_line("t", seen[0])
    assert re.fullmatch(r"t: vm: [\d,]+ instructions, \d+\.\d\d MIPS, \d+\.\d s", line)
    assert progress_line("t", seen[-1]) == "t: ended"
    assert live_table("t", seen[0]).row_count == 1
    with show_progress("t") as report:
        report(seen[0])
    assert capsys.readouterr().err == ""  # too soon for a line
