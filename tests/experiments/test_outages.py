"""[[failures]]: a switch, a PS and a host die and return, live and in virtual time, by the same file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rich.console import Console

from esa.report import load_run
from experiments.live.check import check_live
from experiments.live.counters import SwitchCounters
from experiments.live.errors import RunError
from experiments.live.outages import outages
from experiments.live.run import run
from experiments.live.snapshots import iterations_of_all, snapshot
from experiments.specs.failures import FailureSpec
from experiments.specs.scenario import Scenario
from experiments.specs.toml_files import ScenarioError
from experiments.virtual.check import check_virtual
from experiments.virtual.run import evaluate
from tests.experiments.test_racks import Switch
from tests.experiments.test_run import leftovers
from tests.experiments.texts import BESIDE, LIVE

pytestmark = pytest.mark.timeout(300)  # a first simulation compiles the event loop

TWO = """
name = "dying"
[network]
rate = "10 Mb/s"
[job_defaults]
window = 64
quantisation = "fixed"
[[jobs]]
name = "a"
model = "mlp"
iterations = 6
[[jobs]]
name = "b"
model = "cnn"
iterations = 30
batch_size = 4
[virtual]
sample_us = 10_000.0
"""
FAILURES = """
[[failures]]
what = "switch"
name = "switch-0"
at_s = 0.3
down_s = 0.3
[[failures]]
what = "ps"
name = "b"
at_s = 0.4
down_s = 0.3
[[failures]]
what = "host"
name = "a-1"
at_s = 0.9
down_s = 0.3
"""


def load(tmp_path: Path, text: str, **overrides: object) -> Scenario:
    path = tmp_path / "dying.toml"
    path.write_text(text)
    return Scenario.load(path, check_live, **overrides)


def test_a_switch_a_ps_and_a_host_die_and_return(root: None, tmp_path: Path) -> None:
    scenario = load(tmp_path, TWO + FAILURES)
    disturbed, folder = run(scenario, tmp_path, Console(quiet=True))
    undisturbed, _ = run(load(tmp_path, TWO), tmp_path, Console(quiet=True))
    assert disturbed.incomplete is undisturbed.incomplete is None
    assert [job.final_loss for job in disturbed.jobs] == [job.final_loss for job in undisturbed.jobs], "sums are exact"
    assert disturbed.failures is not None
    for asked, told in zip(scenario.failures, disturbed.failures, strict=True):
        assert (told.what, told.name, told.stopped) == (asked.what, asked.name, ["a"] if asked.what == "host" else [])
        assert asked.at_s <= told.died_s
        assert told.died_s + 0.05 < told.back_s <= told.restored_s
    a, b = disturbed.jobs
    assert a.wait_s == pytest.approx(disturbed.failures[2].back_s - disturbed.failures[2].died_s, abs=0.5)
    assert a.wait_s > 0.05
    assert (b.wait_s, b.iterations, a.iterations) == (0.0, 30, 6)
    assert a.fragments == undisturbed.jobs[0].fragments, "what was done twice counts once"
    assert disturbed.total("completed") > 0
    events = [record["event"] for record in load_run(folder).records if record["event"] in ("died", "back", "works")]
    assert sorted(events) == ["back"] * 3 + ["died"] * 3 + ["works"] * 3
    assert leftovers(os.getpid(), tmp_path) == []


def test_the_same_file_in_virtual_time_tells_the_same(tmp_path: Path) -> None:
    scenario = load(tmp_path, TWO + FAILURES)
    check_virtual(scenario)
    summary, _ = evaluate(scenario)
    assert summary.incomplete is None
    assert summary.failures is not None
    switch, ps, host = summary.failures
    assert [told.died_s for told in summary.failures] == [0.3, 0.4, 0.9]
    assert (switch.restored_s, ps.restored_s, host.restored_s) == (switch.back_s, ps.back_s, None)
    assert host.stopped == ["a"]
    assert summary.jobs[0].wait_s == pytest.approx(0.3)


def test_a_job_whose_host_is_gone_for_good_is_named_and_the_others_go_on(root: None, tmp_path: Path) -> None:
    text = TWO.replace('model = "mlp"', 'model = "cnn"').replace("iterations = 6", "iterations = 500")
    failure = '[[failures]]\nwhat = "host"\nname = "a-ps"\nat_s = 0.2\n'
    with pytest.raises(RunError, match="job a waits, and a-ps is down for good"):
        run(load(tmp_path, text + failure), tmp_path, Console(quiet=True))
    (folder,) = tmp_path.glob("dying-*")
    summary = load_run(folder).summary
    assert summary.incomplete == "job a waits, and a-ps is down for good"
    assert summary.failures is not None
    assert (summary.failures[0].back_s, summary.failures[0].stopped) == (None, ["a"])
    a, b = summary.jobs
    assert a.jct_s is None
    assert b.jct_s > 0
    assert leftovers(os.getpid(), tmp_path) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            LIVE + FAILURES.replace("switch-0", "rack-0"),
            r"failures\[0\]\.name: no switch 'rack-0'; allowed: switch-0",
        ),
        (
            BESIDE
            + '[[flows]]\nname = "x"\nfrom = "host-3"\nto = "host-4"\n'
            + '[[failures]]\nwhat = "host"\nname = "host-4"\nat_s = 1.0\n',
            r"failures\[0\]\.name: host-4 has the flow 'x'; allowed: without flows",
        ),
    ],
)
def test_what_cannot_die_live_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load(tmp_path, text)


def failing(at_s: float, down_s: float | None, name: str = "a", what: str = "ps") -> FailureSpec:
    return FailureSpec(what=what, name=name, at_s=at_s, down_s=down_s)


def test_failures_of_one_thing_that_overlap_are_one_outage() -> None:
    found = outages(
        [
            failing(3, 1),
            failing(1, 2, name="b"),
            failing(1, 2),
            failing(9, 1),
            failing(9.5, None),
            failing(1, 2, what="host"),
            failing(20, 1),
        ]
    )
    assert [(one.what, one.name, one.at_s, one.until_s, one.numbers) for one in found] == [
        ("ps", "b", 1, 3, [1]),
        ("ps", "a", 1, 4, [2, 0]),
        ("host", "a", 1, 3, [5]),
        ("ps", "a", 9, float("inf"), [3, 4, 6]),
    ]


def test_ranks_go_on_from_the_last_iteration_that_all_have_finished(tmp_path: Path) -> None:
    assert iterations_of_all(tmp_path, "a", 2) == 0
    for rank, iterations in ((0, 8), (0, 9), (1, 9), (1, 10)):
        path = snapshot(tmp_path, "a", rank, iterations)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert iterations_of_all(tmp_path, "a", 2) == 9
    assert iterations_of_all(tmp_path, "a", 3) == 0, "one has finished none"


def test_a_job_that_was_stopped_is_counted_over_its_runs() -> None:
    switch = Switch(10)
    counters = SwitchCounters("s1", switch.read, switch, {"a": 1, "b": 2})
    counters.begin()
    switch.gradients = 17
    counters.count()
    counters.pause("a")
    switch.gradients = 3  # a new run counts from zero, and warms up
    counters.count()
    assert counters.counted["a"]["gradients"] == 7
    counters.go_on("a")
    switch.gradients = 5
    counters.count()
    assert counters.counted["a"]["gradients"] == 9
