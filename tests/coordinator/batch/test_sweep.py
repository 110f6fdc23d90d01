"""Sweeps: which points there are, what they are called, and what is said when a sweep is wrong."""

from __future__ import annotations

import pytest

from coordinator.config import ConfigError, load
from tests.coordinator.batch.batches import plan_of, write


def parameters(directory, sweep, *settings):
    return [p.parameters for p in plan_of(write(directory, sweep), *settings).points()]


def test_without_a_sweep_there_is_one_point(tmp_path):
    assert parameters(tmp_path, "") == [{}]


def test_grid_is_every_combination_and_the_last_key_varies_fastest(tmp_path):
    found = parameters(tmp_path, "[sweep.grid]\nvm.harts = [1, 2]\nvm.policy = ['serial', 'inline']\n")
    assert found == [
        {"harts": 1, "policy": "serial"},
        {"harts": 1, "policy": "inline"},
        {"harts": 2, "policy": "serial"},
        {"harts": 2, "policy": "inline"},
    ]


def test_ranges(tmp_path):
    sweep = (
        "[sweep.grid]\nvm.harts = {from=1, to=9, times=2}\nvm.guest.defines.WHICH = {from=5, to=9, step=3}\n"
    )
    found = parameters(tmp_path, sweep)
    assert [(p["harts"], p["WHICH"]) for p in found] == [(h, w) for h in (1, 2, 4, 8) for w in (5, 8)]


def test_zip_goes_together(tmp_path):
    sweep = (
        "[[sweep.zip]]\nvm.harts = [1, 2]\nvm.guest.defines.WHICH = [3, 4]\n[[sweep.zip]]\nvm.seed = [8]\n"
    )
    assert parameters(tmp_path, sweep) == [
        {"harts": 1, "WHICH": 3, "seed": 8},
        {"harts": 2, "WHICH": 4, "seed": 8},
    ]


def test_named_points_set_any_keys(tmp_path):
    sweep = "[sweep.named.size]\nsmall = { vm.harts = 1 }\nlarge = { vm.harts = 4, vm.memory = '1MiB' }\n"
    plan = plan_of(write(tmp_path, sweep))
    points = list(plan.points())
    assert [p.parameters for p in points] == [{"size": "small"}, {"size": "large"}]
    assert '"memory":1048576' in points[1].config


def test_base_can_vary(tmp_path):
    (tmp_path / "other.toml").write_text(
        'name="other"\n[vm]\nharts=3\nguest.source=["tiny.S"]\nguest.defines={WHICH=1}\n'
    )
    sweep = "[sweep.named.which]\na.base = 'tiny.toml'\nb.base = 'other.toml'\n"
    points = list(plan_of(write(tmp_path, sweep)).points())
    assert ['"harts":3' in p.config for p in points] == [False, True]


def test_seeds_and_repetitions(tmp_path):
    found = parameters(tmp_path, "sweep.seeds = { from = 4, to = 5 }\nsweep.repeat = 2\n")
    assert found == [{"seed": s, "repetition": r} for s in (4, 5) for r in (0, 1)]


def test_conditions_leave_points_out(tmp_path):
    sweep = (
        "[sweep]\nwhere = [\"policy == 'serial' or harts >= 2\", 'harts in (1, 2)']\n"
        "[sweep.grid]\nvm.harts = [1, 2, 3]\nvm.policy = ['serial', 'inline']\n"
    )
    found = [(p["harts"], p["policy"]) for p in parameters(tmp_path, sweep)]
    assert found == [(1, "serial"), (2, "serial"), (2, "inline")]


def test_keys_with_the_same_last_part_keep_more_of_their_names(tmp_path):
    base = 'name="t"\n[vm]\nguest.source=["tiny.S"]\nguest.defines={WHICH=1}\n[vms.left]\n[vms.right]\n'
    file = write(tmp_path, "[sweep.grid]\nvms.left.harts = [1]\nvms.right.harts = [2]\n", base=base)
    assert [p.parameters for p in plan_of(file).points()] == [{"left_harts": 1, "right_harts": 2}]


def test_own_vm_table_is_laid_over_the_base(tmp_path):
    (point,) = plan_of(write(tmp_path, "vm.harts = 3\nvm.guest.defines.WHICH = 9\n")).points()
    assert '"harts":3' in point.config
    assert '"WHICH":9' in point.config


def test_command_line_settings(tmp_path):
    file = write(tmp_path, "vm.harts = 3\nsweep.grid.vm.policy = ['serial', 'inline']\n")
    points = list(plan_of(file, "vm.harts=2", "sweep.grid.vm.policy=['inline']", "vm.tier=t1").points())
    assert [p.parameters for p in points] == [{"policy": "inline"}]
    assert '"harts":2' in points[0].config
    assert '"tier":"t1"' in points[0].config


@pytest.mark.parametrize(
    ("sweep", "settings", "message"),
    [
        ("[sweep.grid]\nvm.harts = 4\n", (), "b.toml:4: sweep.grid.vm.harts: must be a list of values"),
        ("[sweep.grid]\nvm.harts = []\n", (), "b.toml:4: sweep.grid.vm.harts: must be a list of values"),
        (
            "[sweep.grid]\nvm.hart = [4]\n",
            (),
            "b.toml:4: sweep.grid.vm.hart: unknown key; did you mean 'harts'?",
        ),
        (
            "[sweep.grid]\nvm.policy = ['serial', 'serail']\n",
            (),
            "b.toml:4: sweep.grid.vm.policy = \"serail\": is not allowed; did you mean 'serial'?; allowed:",
        ),
        ("[sweep.grid]\nvm.harts = { from = 4, to = 1 }\n", (), "to = 1 is below from = 4"),
        (
            "[sweep.grid]\nvm.harts = { from = 4 }\n",
            (),
            "a range is { from, to, step or times }: to: Field required",
        ),
        (
            "[sweep.zip]\nvm.harts = [1]\nvm.seed = [1, 2]\n",
            (),
            "of one length; vm.harts has 1, vm.seed has 2",
        ),
        ("[sweep]\nseeds = 0\n", (), "b.toml:4: sweep.seeds = 0: must be from 1 to"),
        ("[sweep]\nsedes = 2\n", (), "b.toml:4: sweep.sedes: unknown key; did you mean 'seeds'?"),
        ("[sweep]\nseeds = 2\ngrid.vm.seed = [1]\n", (), "vm.seed varies on 2 axes"),
        (
            "[sweep]\nseeds = 2\nwhere = 'sed > 1'\n",
            (),
            "no parameter 'sed'; did you mean 'seed'?; there are seed",
        ),
        ("[sweep]\nseeds = 2\nwhere = 'seed > \"a\"'\n", (), "'>' not supported between"),
        ("[batch]\nretry = ['hart dead']\n", (), "did you mean 'hart died'?"),
        ("vm.harts = 0\n", (), "b.toml:3: vm.harts = 0: must be at least 1"),
        ("", ("vm.harts=0",), "--set vm.harts = 0: must be at least 1"),
        ("", ("vm.hart=1",), "--set vm.hart: unknown key; did you mean 'harts'?"),
        ("", ("batch.job=1",), "--set batch.job: unknown key; did you mean 'jobs'?"),
        ("", ("vm.harts",), "write --set KEY=VALUE"),
        ("[sweep]\nseeds = 2\n", ("vm.seed=1",), "the sweep varies vm.seed"),
        ("[sweep]\ngrid.base = ['no.toml']\n", (), "no.toml: cannot be read"),
        ("[sweep.grid]\nvm.memory = ['64KiB', '4EiB']\n", (), "(at the point memory=4EiB)"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, sweep, settings, message):
    with pytest.raises(ConfigError) as caught:
        list(plan_of(write(tmp_path, sweep), *settings).points())
    assert message in str(caught.value)
    if not settings:
        assert ".toml" in str(caught.value)


def test_what_is_wrong_in_the_base_is_named_there(tmp_path):
    file = write(tmp_path, "sweep.seeds = 2\n", base='name="t"\n[vm]\nguest.source=["tiny.S"]\nhart=2\n')
    with pytest.raises(ConfigError, match=r"tiny\.toml:4: vm\.hart: unknown key"):
        list(plan_of(file).points())


def test_a_scaling_batch_of_locks(tmp_path):
    locks = ("tas", "ttas", "ticket", "mcs", "clh", "qspin", "array")
    named = "".join(f"{lock} = {{ vm.guest.defines.WHICH = {n} }}\n" for n, lock in enumerate(locks))
    sweep = (
        "[sweep]\nseeds = 5\n[sweep.grid]\nvm.harts = { from = 1, to = 16, times = 2 }\n"
        f"vm.policy = ['serial', 'inline']\n[sweep.named.lock]\n{named}"
    )
    plan = plan_of(write(tmp_path, sweep))
    points = list(plan.points())
    assert plan.parameters == ("harts", "policy", "lock", "seed")
    assert len({p.id for p in points}) == 7 * 5 * 2 * 5
    assert len(plan.images) == 7


def test_a_sweep_without_points_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"b\.toml:5: sweep\.where: leaves no point"):
        parameters(tmp_path, "[sweep]\nseeds = 3\nwhere = 'seed > 5'\n")


def test_a_batch_file_is_no_run(tmp_path):
    with pytest.raises(
        ConfigError, match=r"b\.toml:2: base: belongs to a batch file, which `hartstorm batch` runs"
    ):
        load(write(tmp_path, "sweep.seeds = 3\n"))


def test_points_that_are_the_same_are_an_error(tmp_path):
    sweep = "[sweep.named.x]\na = { vm.harts = 2 }\nb = { vm.harts = 2 }\n"
    with pytest.raises(ConfigError, match=r"b\.toml:3: sweep: points 0 and 1 \(x=b\) are the same"):
        parameters(tmp_path, sweep)
