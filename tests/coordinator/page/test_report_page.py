"""`hartstorm report`: the page says what it must, needs nothing from outside, and lets nothing in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.page.markup import Markup, table, tag
from coordinator.results import Status
from tests.coordinator.results.locks import lock_batch
from tests.coordinator.results.made import batch, record, vm

pytest.importorskip("matplotlib")

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def report(directory, file, *words):
    done = CliRunner().invoke(app, ["report", str(directory), "-o", str(file), *words])
    assert done.exit_code == 0, done.output
    return file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A batch whose every text is hostile, one point of which failed."""
    directory = tmp_path_factory.mktemp("page")
    lock_batch(
        directory,
        locks=("tas", f"mcs{EVIL}", "clh"),
        seeds=2,
        facts={"name": f"locks{EVIL}", "description": EVIL, "source": EVIL, "file": {"name": EVIL}},
        status=lambda p: Status.FAILED if (p["lock"], p["harts"], p["seed"]) == ("tas", 4, 1) else Status.OK,
        text=EVIL,
    )
    return directory / "report.html", report(directory, directory / "report.html")


class Reader(HTMLParser):
    """Collects elements, and checks that they are closed in order."""

    void = frozenset({"meta", "link", "br"})

    def __init__(self):
        super().__init__()
        self.elements, self.open, self.ids = [], [], []

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        self.ids += [value for key, value in attributes if key == "id"]
        if name not in self.void:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_startendtag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        self.ids += [value for key, value in attributes if key == "id"]


@pytest.fixture(scope="module")
def read(page):
    reader = Reader()
    reader.feed(page[1])
    reader.close()
    assert reader.open == []
    return reader


def test_no_name_becomes_markup(page, read):
    names = {name for name, _ in read.elements}
    assert not names & {"script", "img", "iframe", "object", "embed", "form"}
    assert not [key for _, attributes in read.elements for key in attributes if key.startswith("on")]
    assert page[1].count("&lt;script&gt;") > 5


def test_nothing_is_referred_to_outside(page, read):
    for name, attributes in read.elements:
        for key, value in attributes.items():
            if key in ("href", "src", "xlink:href", "srcset", "data", "action"):
                assert value.startswith("#") or (name, value) == ("link", "data:,"), (name, key, value)
    assert re.findall(r"https?://|//\w+\.\w+|@import", page[1]) == []
    assert set(re.findall(r"url\((.)", page[1])) <= {"#"}
    policies = [a["content"] for n, a in read.elements if n == "meta" and "http-equiv" in a]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_ids_are_unique_and_all_that_is_used_exists(page, read):
    assert len(read.ids) == len(set(read.ids))
    used = {a["href"][1:] for _, a in read.elements if a.get("href", "").startswith("#")}
    used |= set(re.findall(r"url\(#([^)\s]+)\)", page[1]))
    assert used
    assert used <= set(read.ids)


def test_failures_come_first_and_warnings_before_figures(page):
    headings = re.findall(r"<h2>([^<]+)</h2>", page[1])
    assert headings == [
        *(
            "Failures",
            "Before you read on",
            "At 8 harts",
            "Figures",
            "Measurements",
            "Fits",
            "Hosts",
            "Points",
            "Batch file",
        ),
    ]
    failures = page[1].split("<h2>Failures</h2>")[1].split("<h2>")[0]
    assert "lock=tas policy=serial harts=4 seed=1" in failures
    assert "2 points that failed" in failures


def test_the_best_at_the_most_harts_comes_first(page):
    glance = page[1].split("<h2>At 8 harts</h2>")[1].split("<h2>")[0]
    tables = glance.split("<table>")[1:]
    captions = [re.findall("<caption><span>(.*?)</span>", text)[0] for text in tables]
    assert captions == [f"{policy}: means over runs, the best in bold" for policy in ("serial", "inline")]
    header = re.findall(r'<th scope="col".*?>(.*?)</th>', tables[1])
    rows = {
        name: dict(zip(header[1:], re.findall("<td.*?>(.*?)</td>", cells), strict=True))
        for name, cells in re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', tables[1])
    }
    tas, *others = rows
    assert (tas, others[-1], len(others)) == ("tas", "clh", 2)
    (throughput,) = [name for name, cells in rows.items() if "<strong>" in cells["throughput (operations/s)"]]
    assert throughput in others  # one law for both: chance decides
    law = 8 / (1 + 0.1 * 7 + 0.01 * 56)
    assert float(rows["clh"]["throughput, times that at 1"]) == pytest.approx(law, rel=0.2)


def test_it_can_be_read_without_seeing(read):
    pictures = [a for name, a in read.elements if name == "svg"]
    assert pictures
    assert all(a["role"] == "img" and a["aria-label"] for a in pictures)
    count = [name for name, _ in read.elements].count
    assert count("desc") == len(pictures)
    assert count("caption") == count("table") > 3
    assert all(a["scope"] in ("col", "row") for name, a in read.elements if name == "th")


def test_colours_follow_the_readers_scheme(page):
    assert "@media (prefers-color-scheme: dark)" in page[1]
    pictures = "".join(re.findall(r"<svg.*?</svg>", page[1], re.DOTALL))
    assert re.findall(r"#[0-9a-fA-F]{6}\b", pictures) == []
    assert "var(--c" in pictures


def test_figures_lie_beside_it(page):
    names = {file.name for file in page[0].with_name("report-figures").iterdir()}
    assert {"operations_per_s.svg", "operations_per_s.png", "fairness.svg"} <= names


def test_a_batch_without_operations_or_harts_or_finished_points(tmp_path):
    nothing = report(batch(tmp_path / "a", lambda planned: None), tmp_path / "a.html")
    assert "24</b> pending" in nothing
    assert "<figure>" not in nothing

    def bare(planned):
        return record(planned, vms=(vm(harts=planned.parameters["harts"]),))

    assert "<figure>" in report(batch(tmp_path / "b", bare), tmp_path / "b.html", "--no-figures")
    assert not (tmp_path / "b-figures").exists()


def test_markup_escapes_what_is_none():
    assert tag("p", "<&", Markup("<b>x</b>"), class_='"') == '<p class="&quot;">&lt;&amp;<b>x</b></p>'
    assert '<th scope="row">&lt;</th>' in table("c", ["a", "b"], [("<", "1")], 1)


def browse(file, directory):
    """The page as Chromium has it, its console messages, and the URLs outside that the page asked for.

    No name resolves, so that nothing leaves this machine; what the browser asks for itself has no initiator.
    """
    log = directory / "net.json"
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
            *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={directory / 'profile'}"),
            *("--window-size=390,2000", f"--log-net-log={log}"),
            *("--virtual-time-budget=2000", "--dump-dom", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    asked = {
        event["params"]["url"]
        for event in events
        if event.get("params", {}).get("url", "").startswith(("http", "ws"))
        and event["params"].get("initiator", "not an origin") != "not an origin"
    }
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line], asked


@pytest.mark.outside
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
def test_a_browser_has_nothing_to_complain_of(page, tmp_path):
    shown, console, asked = browse(page[0], tmp_path)
    assert "Measurements</h2>" in shown
    assert (console, asked) == ([], set())


@pytest.mark.outside
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
def test_what_it_would_complain_of_is_seen(tmp_path):
    file = tmp_path / "bad.html"
    file.write_text('<img src="http://example.invalid/x.png"><script>console.error("bad")</script>')
    _, console, asked = browse(file, tmp_path)
    assert any("bad" in line for line in console)
    assert asked == {"http://example.invalid/x.png"}
