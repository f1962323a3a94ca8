"""The dashboard in a real browser: a run is started, the page opened, and what `summary.json` says read from it."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from experiments.specs.scenario import Scenario
from experiments.virtual.check import check_virtual
from experiments.virtual.run import run_virtual
from tests import browser as browsers
from tests.browser import Browser
from tests.report.folders import run_folder, summary
from tests.report.test_command import HOSTILE
from tests.report.test_trace import SCENARIO, live_records

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),  # the first run compiles
    pytest.mark.skipif(browsers.program() is None, reason="without chromium on the PATH"),
]


class Served:
    """`esa dashboard` as a process, over a folder of runs."""

    def __init__(self, results: Path) -> None:
        command = [sys.executable, "-m", "experiments.cli", "dashboard", str(results), "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, process_group=0)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        found = re.match(r"dashboard at (http://127\.0\.0\.1:\d+/); Ctrl-C ends it", line)
        assert found, line + self.process.stderr.read()
        self.address = found[1]

    def of(self, *names: str) -> str:
        """Address of the page with these runs."""
        with urllib.request.urlopen(f"{self.address}api/runs", timeout=30) as answer:
            number = {run["name"]: run["id"] for run in json.loads(answer.read())["runs"]}
        return f"{self.address}#{'+'.join(str(number[name]) for name in names)}"

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGINT)
        _, told = self.process.communicate(timeout=30)
        return self.process.returncode, told


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def simulated(results: Path) -> list[str]:
    """Names of two runs."""
    texts = [SCENARIO.replace('policy = "esa"', f'policy = "{policy}"') for policy in ("esa", "atp")]
    return [run_virtual(Scenario.parse(text, check_virtual), results, Console(quiet=True))[1].name for text in texts]


@pytest.fixture(scope="module")
def served(results: Path, simulated: list[str]) -> Iterator[Served]:
    one = Served(results)
    yield one
    assert one.end() == (130, "esa: interrupted; nothing is lost\n")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with Browser.start() as browser:
        yield browser


def kept(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def shown_values(browser: Browser) -> dict[str, list[float]]:
    """What the bars show by job, a value for each run."""
    script = "[...document.querySelectorAll('.bar .value')].map(e => [e.dataset.job, +e.dataset.value, e.textContent])"
    found: dict[str, list[float]] = {}
    for job, value, text in browser.evaluate(script):
        assert text == f"{1e6 * value:.1f} µs" or text == f"{1e3 * value:.3f} ms"
        found.setdefault(job, []).append(value)
    return found


def test_the_page_says_what_the_summary_says(
    served: Served, chromium: Browser, results: Path, simulated: list[str]
) -> None:
    chromium.look(1280, 800)
    chromium.open(served.address)  # the newest
    chromium.wait("document.querySelectorAll('.tile').length > 0 && document.querySelector('canvas.cells')", 120)
    first = chromium.evaluate("document.getElementById('first').selectedOptions[0].textContent")
    told = kept(results / first)
    assert first in simulated
    assert shown_values(chromium) == {job["name"]: [job["jct_s"]] for job in told["jobs"]}
    assert chromium.evaluate("(e => e.scrollWidth <= e.clientWidth)(document.getElementById('jobs'))")
    figures = chromium.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.tile')]"
        ".map(e => [e.dataset.figure, e.querySelector('b').textContent]))"
    )
    assert float(figures["occupancy_mean"].removesuffix(" %")) == pytest.approx(100 * told["occupancy_mean"], abs=0.05)
    assert float(figures["mean_per_bound"].removesuffix("\N{MULTIPLICATION SIGN}")) == pytest.approx(
        told["mean_per_bound"], abs=0.005
    )
    total = sum(counters["collisions"] for counters in told["switch_counters"].values())
    assert figures["collisions"] == f"{total:,}"
    # The memory map has colours of both jobs somewhere; time moves.
    assert chromium.evaluate("document.getElementById('at').textContent") != ""
    before = chromium.evaluate("document.getElementById('at').textContent")
    chromium.evaluate(
        "(() => { const t = document.getElementById('time'); t.value = 100; t.dispatchEvent(new Event('input')); })()"
    )
    assert chromium.evaluate("document.getElementById('at').textContent") != before
    colours = (
        "new Set(new Uint32Array(document.querySelector('canvas.flow').getContext('2d')"
        ".getImageData(0, 0, 400, 200).data.buffer)).size"
    )
    assert chromium.evaluate(colours) > 3
    assert chromium.evaluate("document.querySelectorAll('.plot canvas').length") >= 5
    assert all(address.startswith((served.address, "about:")) for address in chromium.asked)
    assert chromium.problems == []


def test_two_runs_stand_side_by_side(served: Served, chromium: Browser, results: Path, simulated: list[str]) -> None:
    chromium.open(served.of(*simulated))
    chromium.wait("document.querySelectorAll('.map:not([hidden]) canvas.flow').length == 2", 120)
    names = chromium.evaluate(
        "['first', 'second'].map(id => document.getElementById(id).selectedOptions[0].textContent)"
    )
    both = [{job["name"]: job["jct_s"] for job in kept(results / name)["jobs"]} for name in names]
    assert shown_values(chromium) == {job: [one[job] for one in both] for job in both[0]}
    assert {kept(results / name)["policy"] for name in names} == {"esa", "atp"}
    assert chromium.problems == []


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone(served: Served, chromium: Browser, simulated: list[str], dark: bool) -> None:
    chromium.look(390, 844, dark=dark, phone=True)
    chromium.open(served.of(simulated[0]))
    chromium.wait("document.querySelector('canvas.cells') && document.querySelectorAll('.plot canvas').length > 4", 120)
    assert chromium.evaluate("document.documentElement.scrollWidth") <= 390
    background = chromium.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(19, 22, 25)" if dark else "rgb(246, 247, 248)")
    chromium.look(1280, 800)


def test_a_run_under_way_is_followed_until_it_is_over(served: Served, results: Path, chromium: Browser) -> None:
    folder, (begun, *records) = run_folder(results / "growing", records=[]), live_records()
    told = (folder / "summary.json").read_text()
    (folder / "summary.json").unlink()
    (folder / "scenario.toml").write_text('name = "small"\n[[jobs]]\nname = "mlp"\niterations = 6\n')
    with (folder / "records.jsonl").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(begun) + "\n")
        file.flush()
        chromium.open(served.of("growing"))
        chromium.wait("!document.getElementById('live').hidden")
        file.write("".join(json.dumps(record) + "\n" for record in records if record["event"] != "end"))
        file.flush()
        chromium.wait("document.getElementById('jobs').textContent.includes('3 / 6')")
        # Two iterations a second, six of them.
        assert "3.000 s" in chromium.evaluate("document.getElementById('jobs').textContent")
        (folder / "summary.json").write_text(told)
    chromium.wait("document.getElementById('live').hidden")
    chromium.wait("document.querySelector('[data-figure=mean_jct_s]').textContent.includes('10.00 s')")
    assert chromium.problems == []


def test_hostile_names_are_names(served: Served, results: Path, chromium: Browser) -> None:
    told = summary(names=HOSTILE, scenario=HOSTILE[0], policy=HOSTILE[1])
    records = sorted((record for name in HOSTILE for record in live_records(name)), key=lambda record: record["t"])
    hostile = run_folder(results / "<img src=x onerror=alert(1)>", told, records)
    broken = results / "broken"
    broken.mkdir()
    (broken / "summary.json").write_text('{"jobs": 3, "scenario": "<b>')
    shutil.copy(__file__, broken / "records.jsonl")
    for folder in (hostile, broken):
        chromium.open(served.of(folder.name))
        chromium.wait("document.querySelectorAll('.tile').length > 0")
        assert chromium.evaluate("document.querySelectorAll('script').length") == 2
        assert chromium.evaluate("[...document.images].every(i => i.src.endsWith('/static/icon.svg'))")
        text = chromium.evaluate("document.body.innerText")
        assert "\x1b" not in text
        assert (HOSTILE[0] in text) == (folder is hostile)
    assert "summary.json is no JSON" in chromium.evaluate("document.getElementById('notes').innerText")
    assert chromium.problems == []
