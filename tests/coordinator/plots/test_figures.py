"""What figures show, and `hartstorm plot`."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.plots.batch import batch_figure
from coordinator.plots.draw import _apart, inline_svg
from coordinator.plots.figure import axis_label, figure
from coordinator.plots.style import DARK, FAINT, INK, LOOKS, PAPER
from coordinator.results import ResultsError, open_results
from coordinator.results.statistics import summarise
from tests.coordinator.results.locks import lock_batch


@pytest.fixture(scope="module")
def locks(tmp_path_factory):
    return lock_batch(tmp_path_factory.mktemp("locks"), locks=("tas", "mcs", "clh <$x$>"))


def of(directory, *words, **options):
    with open_results(directory) as results:
        return batch_figure(results, *words, **options)


def plot(*words):
    return CliRunner().invoke(app, ["plot", *map(str, words)])


def test_many_lines_are_spread_over_panels(locks):
    shown = of(locks, "operations_per_s", "harts")
    assert [panel.title for panel in shown.panels] == ["serial", "inline"]
    assert [line.label for line in shown.panels[0].lines] == ["tas", "mcs", "clh <$x$>"]
    assert [[line.look for line in panel.lines] for panel in shown.panels] == [[0, 1, 2]] * 2
    assert shown.has_own_scales  # 500 times as much in one panel
    assert shown.cores == 4
    assert shown.is_log_x
    assert all(line.fit for line in shown.panels[0].lines)
    point = shown.panels[0].lines[0].points[0]
    assert point.low < point.mean < point.high


def test_few_lines_share_a_panel(locks):
    shown = of(locks, "fairness", "harts", by=["policy"], where="lock == 'mcs'")
    assert [[line.label for line in panel.lines] for panel in shown.panels] == [["serial", "inline"]]
    assert shown.is_share


def series(**means):
    """One point each at 1 and 4 harts, by `a_b` of the parameters `lock` and `policy`, and what follows from policy."""
    groups = {}
    for name, mean in means.items():
        lock, policy = name.split("_")
        operations = {"inline": 100, "directory": 20}[policy]
        groups[lock, policy, operations] = {n: summarise([n * mean] * 2) for n in (1, 4)}
    return groups


def lines_of(shown):
    return {panel.title: [line.label for line in panel.lines] for panel in shown.panels}


BY = ("lock", "policy", "OPERATIONS")


def test_what_follows_from_another_parameter_names_nothing():
    means = {f"{lock}_{policy}": 1 for lock in ("tas", "mcs", "clh") for policy in ("inline", "directory")}
    shown = figure("instret", "harts", BY, series(**means))
    assert lines_of(shown) == {"inline": ["tas", "mcs", "clh"], "directory": ["tas", "mcs", "clh"]}
    assert lines_of(figure("instret", "harts", BY, series(tas_inline=1, tas_directory=1))) == {
        "": ["inline", "directory"]
    }


def test_what_is_always_0_is_said_and_not_drawn():
    locks = ("tas", "mcs", "clh", "lrsc")
    groups = series(**{f"{lock}_inline": 0 for lock in locks}, **{f"{lock}_directory": 3 for lock in locks})
    shown = figure("messages_per_operation", "harts", BY, groups, among=groups)
    assert lines_of(shown) == {"": [*locks]}
    assert shown.title == "Messages per operation against harts: directory"
    assert "Not drawn, being 0 throughout: inline." in shown.caption
    groups = series(tas_inline=0, tas_directory=0, lrsc_inline=1, lrsc_directory=0)
    shown = figure("sc_failures_per_operation", "harts", BY, groups, among=groups)
    assert lines_of(shown) == {"": ["all"]}
    assert shown.title.endswith(": lrsc, inline")
    assert shown.zero == ("tas", "directory")
    nothing = figure("sc_failures_per_operation", "harts", BY, series(tas_inline=0, mcs_inline=0))
    assert lines_of(nothing) == {"": ["tas", "mcs"]}


def test_fits_are_drawn_while_points_can_be_seen(locks):
    few = of(locks, "operations_per_s", "harts")
    assert [panel.shows_fits for panel in few.panels] == [True, True]
    assert "Universal Scalability Law" in few.caption
    assert not replace(few.panels[0], lines=few.panels[0].lines * 2).shows_fits


def test_ticks_of_logarithmic_axes_are_numbers():
    pytest.importorskip("matplotlib")
    values = series(tas_inline=1, mcs_inline=100)
    shown = figure("messages_per_operation", "harts", BY, values)
    assert shown.is_log_y
    assert "mathdefault" not in inline_svg(shown, shown.panels[0], "x")


def test_latencies_are_in_seconds(locks):
    shown = of(locks, "latency_p99_ns", "harts")
    assert (shown.y, shown.tick_unit) == ("latency, 99th percentile", "s")
    assert shown.panels[0].lines[0].points[0].mean == pytest.approx(5 / 4000, rel=0.1)


def test_axes_have_units():
    assert axis_label("operations_per_s") == "throughput (operations/s)"
    assert axis_label("run_s") == "time that the longest-running hart took (s)"
    assert axis_label("of_my_own") == "of_my_own"
    assert axis_label("latency_p999_ticks") == "latency, 99.9th percentile (ticks)"


def test_words_as_x_keep_their_order(locks):
    shown = of(locks, "instret", "lock", by=["policy"])
    assert shown.xs == ["tas", "mcs", "clh <$x$>"]
    assert not shown.is_log_x


def test_values_that_span_much_are_logarithmic():
    few = {("a",): {1: summarise([1.0]), 2: summarise([3.0])}}
    many = {("a",): {1: summarise([1.0]), 2: summarise([3000.0])}}
    assert not figure("m", "x", ["by"], few).is_log_y
    assert figure("m", "x", ["by"], many).is_log_y


def test_a_metric_that_no_point_has(locks):
    with pytest.raises(ResultsError, match="has both harts and messages"):
        of(locks, "messages", "harts", where="seed > 9")


def test_labels_are_moved_apart_in_order():
    moved = _apart([0.5, 0.5, 0.9, 0.0, 0.52], 0.1)
    order = sorted(range(5), key=moved.__getitem__)
    assert order in ([3, 0, 1, 4, 2], [3, 1, 0, 4, 2])
    places = sorted(moved)
    assert all(b - a >= 0.1 - 1e-9 for a, b in itertools.pairwise(places))
    assert _apart([0.2, 0.8], 0.1) == [0.2, 0.8]
    assert max(_apart([1.0] * 30, 0.1)) <= 1 + 1e-9


def _contrast(a, b):
    def luminance(colour):
        parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_seen_on_light_and_dark():
    """WCAG 2.1: 3 to 1 for graphics, 7 to 1 for text of the highest grade."""
    for look in LOOKS:
        assert _contrast(look.colour, PAPER) > 2.95, look
        assert _contrast(look.dark, DARK[PAPER]) > 3, look
    assert _contrast(FAINT, PAPER) > 3
    assert _contrast(INK, PAPER) > 7
    assert _contrast(DARK[INK], DARK[PAPER]) > 7
    assert len({look.marker for look in LOOKS}) == len(LOOKS)


def test_svg_and_png(locks, tmp_path):
    pytest.importorskip("matplotlib")
    words = (locks, "--y", "operations_per_s", "--by", "lock,policy", "-o")
    assert plot(*words, tmp_path / "a.svg").exit_code == 0
    assert plot(*words, tmp_path / "b.svg").exit_code == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert plot(*words, tmp_path / "a.png").exit_code == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_words(locks, tmp_path):
    wrong = plot(locks, "--y", "operation_per_s", "-o", tmp_path / "a.svg")
    assert (wrong.exit_code, "did you mean 'operations_per_s'" in wrong.stderr) == (2, True)
    wrong = plot(locks, "-o", tmp_path / "a.sgv")
    assert (wrong.exit_code, "did you mean '.svg'" in wrong.stderr) == (2, True)
    assert plot(locks, "-o", tmp_path / "no" / "a.svg").exit_code == 2


def test_without_matplotlib_the_extra_is_named(locks, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for words in (("plot", locks, "-o", tmp_path / "a.svg"), ("report", locks, "-o", tmp_path / "a.html")):
        done = CliRunner().invoke(app, [*map(str, words)])
        assert (done.exit_code, "pip install 'hartstorm[plots]'" in done.stderr) == (2, True)
