"""The plan: ids that stand for all that defines a point, and for nothing else."""

from __future__ import annotations

import threading

import pytest

from coordinator import paths
from coordinator.batch import guests
from coordinator.batch import plan as plan_module
from coordinator.batch.file import load_batch
from coordinator.batch.plan import make_plan
from coordinator.config import load
from coordinator.config.errors import ConfigError
from coordinator.config.model import Run
from tests.coordinator.batch.batches import BASE, TINY, plan_of, write


def ids(file):
    return [p.id for p in plan_of(file).points()]


def test_the_same_file_has_the_same_ids(tmp_path):
    file = write(tmp_path, "sweep.seeds = 3\n")
    found = ids(file)
    assert len(set(found)) == 3
    assert ids(file) == found


def test_moving_and_renaming_changes_no_id(tmp_path):
    before = ids(write(tmp_path, ""))
    other = tmp_path / "elsewhere"
    other.mkdir()
    file = write(other, 'description = "x"\n')
    (other / "tiny.S").rename(other / "guest.S")
    file.write_text(file.read_text().replace('name = "b"', 'name = "c"') + 'vm.guest.source = ["guest.S"]\n')
    assert ids(file) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda d, f: f.write_text(f.read_text() + "vm.harts = 2\n"),
        lambda d, f: f.write_text(f.read_text() + "vm.seed = 2\n"),
        lambda d, f: f.write_text(f.read_text() + "vm.expect.exit_code = 2\n"),
        lambda d, f: f.write_text(f.read_text() + "batch.time_s = 2\n"),
        lambda d, f: f.write_text(f.read_text() + "sweep.repeat = 2\n"),
        lambda d, f: (d / "tiny.S").write_text(TINY.replace("li   ", "nop\n li ")),
        lambda d, f: (d / "tiny.S").write_text(TINY + "more:\n"),
    ],
)
def test_what_defines_a_point_changes_its_id(tmp_path, change):
    file = write(tmp_path, "")
    before = ids(file)
    change(tmp_path, file)
    assert before[0] != ids(file)[-1]


def test_the_engine_changes_every_id(tmp_path, monkeypatch):
    file = write(tmp_path, "")
    before = ids(file)
    monkeypatch.setattr(plan_module, "engine_identity", lambda: "another")
    assert ids(file) != before


def test_each_different_guest_is_built_once(tmp_path, monkeypatch):
    built = []
    build = guests.build
    monkeypatch.setattr(guests, "build", lambda vm, directory: built.append(vm) or build(vm, directory))
    plan = plan_of(write(tmp_path, "sweep.seeds = 5\nsweep.grid.vm.guest.defines.WHICH = [1, 2]\n"))
    assert len(list(plan.points())) == 10
    assert len(built) == len(plan.images) == 2


def test_a_configuration_survives_the_way_to_the_worker():
    for file in paths.shipped_configs().values():
        run = load(file).run
        assert Run.model_validate_json(run.model_dump_json(exclude_none=True)) == run


def test_points_that_differ_in_their_seed_are_checked_once_and_yet_whole(tmp_path, monkeypatch):
    checked = []
    check = plan_module.check
    monkeypatch.setattr(
        plan_module, "check", lambda *given, **more: checked.append(1) or check(*given, **more)
    )
    sweep = "[sweep]\nseeds = [4, 9]\nrepeat = 2\ngrid.vm.guest.defines.WHICH = [1, 2]\n"
    points = list(plan_of(write(tmp_path, sweep)).points())
    assert len(checked) == 2
    runs = [Run.model_validate_json(point.config) for point in points]
    seen = [(run.vms["vm"].guest.defines["WHICH"], run.vms["vm"].seed) for run in runs]
    assert seen == [(which, seed) for which in (1, 2) for seed in (4, 4, 9, 9)]
    assert [point.parameters["seed"] for point in points] == [seed for _, seed in seen]
    assert len({point.id for point in points}) == 8


def test_a_seed_of_one_of_several_vms_is_not_the_sweeps(tmp_path):
    base = BASE + "[vms.a]\nseed = 70\n[vms.b]\n"
    points = list(plan_of(write(tmp_path, "sweep.seeds = 2\n", base=base)).points())
    runs = [Run.model_validate_json(point.config) for point in points]
    assert [(run.vms["a"].seed, run.vms["b"].seed) for run in runs] == [(70, 0), (70, 1)]


@pytest.mark.outside
def test_c_guests_are_built_beside_each_other(tmp_path, monkeypatch):
    pytest.importorskip("ziglang")
    at_once, most, lock = [0], [0], threading.Lock()
    build = guests.build

    def counted(vm, directory):
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        both.wait(60)
        try:
            return build(vm, directory)
        finally:
            with lock:
                at_once[0] -= 1

    both = threading.Barrier(2)
    monkeypatch.setattr(guests, "build", counted)
    monkeypatch.setattr(guests.os, "sched_getaffinity", lambda pid: {0, 1})
    (tmp_path / "g.c").write_text('#include "hartstorm.h"\nint main(int h, int n) { return WHICH; }\n')
    base = 'name = "c"\nvm.guest.c = ["g.c"]\nvm.memory = "1MiB"\n'
    file = write(tmp_path, "sweep.grid.vm.guest.defines.WHICH = [1, 2, 3, 4]\n", base=base)
    seen = []
    points = list(plan_of(file).points(lambda points, guests: seen.append((points, guests))))
    assert len(points) == 4
    assert most == [2]
    assert seen == [(1, 1), (2, 2), (3, 3), (4, 4)]


@pytest.mark.outside
def test_the_guest_that_cannot_be_built_is_named(tmp_path):
    pytest.importorskip("ziglang")
    (tmp_path / "g.c").write_text("int main(void) { return WHICH; }\n#if WHICH == 2\n#error two\n#endif\n")
    base = 'name = "c"\nvm.guest.c = ["g.c"]\n'
    file = write(tmp_path, "sweep.grid.vm.guest.defines.WHICH = [1, 2, 3]\n", base=base)
    with pytest.raises(ConfigError, match=r"(?s)error: two.*at the point WHICH=2"):
        list(plan_of(file).points())


def test_an_expectation_without_symbol_is_found_before_the_run(tmp_path):
    base = BASE.replace("seen == WHICH", "sen == WHICH")
    with pytest.raises(
        ValueError, match=r"tiny\.toml:8: .*no symbol or constant 'sen'; did you mean 'seen'\?"
    ):
        ids(write(tmp_path, "", base=base))


@pytest.mark.parametrize("name", paths.shipped_batches())
def test_shipped_batches_have_points(name):
    plan = make_plan(load_batch(paths.shipped_batches()[name]))
    assert plan.batch.file.name == name
    assert plan.batch.file.description
    assert next(plan.points()).id
