"""Traces keep to the trace event format, of live runs and of virtual time, and say what happened when."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from esa.report.live_trace import live_trace
from esa.report.reading import read_run
from esa.report.trace import Trace
from esa.sim import simulate
from experiments import cli
from experiments.specs.scenario import Scenario
from experiments.virtual.check import check_virtual
from experiments.virtual.run import run_virtual
from experiments.virtual.trace import Watch, scenario_of, virtual_trace, watched
from experiments.virtual.translate import plan_of
from tests.report.folders import run_folder, summary
from tests.report.test_command import HOSTILE
from tests.report.trace_format import problems

pytestmark = pytest.mark.timeout(240)  # the first run compiles

SCENARIO = """
name = "small"
aggregators = 16
policy = "esa"

[network]
rate = "10 Gb/s"

[virtual]
sample_us = 10

[job_defaults]
workers = 2
iterations = 3
scale = 0.001
jitter = 0.2
window = 32

[[jobs]]
name = "a"
model = "communication-heavy"

[[jobs]]
name = "b"
model = "communication-heavy"
submit_s = 1e-5
"""


def iteration(job: str, rank: int, number: int, at: float) -> dict[str, Any]:
    """One of 0.5 s with two buckets, the second launched while the first is on its way."""
    first = [0, at - 0.4, at - 0.39, at - 0.38, at - 0.37, at - 0.3, at - 0.28, at - 0.2, at - 0.19]
    second = [1, at - 0.3, at - 0.29, at - 0.28, at - 0.27, at - 0.2, at - 0.15, at - 0.05, at - 0.04]
    told = {"event": "iteration", "job": job, "rank": rank, "t": at, "iteration": number, "loss": 1.0, "seconds": 0.5}
    return told | {"buckets": [first, second], "via_ps": 3 * number}


def live_records(job: str = "mlp") -> list[dict[str, Any]]:
    counters = dict.fromkeys(("collisions", "preemptions", "evicted", "reminders", "completed"), 2)
    return [
        {"event": "submit", "job": job, "t": 1.0},
        *(iteration(job, rank, number, 1.5 + number / 2) for number in range(3) for rank in range(2)),
        *({"event": "occupancy", "t": 1 + k / 4, "rows": {job: k}, "counters": {job: counters}} for k in range(4)),
        {"event": "end", "job": job, "rank": 0, "t": 3.0, "end": 3.0},
    ]


def tracks(trace: Trace) -> dict[str, list[tuple[str, float, float]]]:
    """By track's name: name, begin and length of its spans, milliseconds."""
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in trace.events if e["name"] == "thread_name"}
    found: dict[str, list[tuple[str, float, float]]] = {name: [] for name in names.values()}
    for event in trace.events:
        if event["ph"] == "X":
            found[names[event["pid"], event["tid"]]].append((event["name"], event["ts"] / 1e3, event["dur"] / 1e3))
    return found


def test_a_live_run_s_trace_shows_what_each_worker_was_at(tmp_path: Path) -> None:
    trace = live_trace(read_run(run_folder(tmp_path / "a", records=live_records())))
    assert problems(trace.text()) == []
    shown = tracks(trace)
    assert shown["rank 1: iterations"][0] == ("iteration 0", 1000.0, 500.0)
    assert shown["rank 1: compute"][0] == ("forward, backward", 1000.0, pytest.approx(200.0))
    assert shown["rank 0: quantise"][:2] == [
        ("bucket 0", 1110.0, pytest.approx(10.0)),
        ("bucket 1", 1210.0, pytest.approx(10.0)),
    ]
    assert shown["rank 0: send"][0] == ("bucket 0", 1130.0, pytest.approx(70.0))
    assert shown["rank 0: receive"][1] == ("bucket 1", 1350.0, pytest.approx(100.0))
    around = [(e["ph"], e["ts"]) for e in trace.events if e["ph"] in "be" and e["cat"] == "rank 0: aggregate"][:4]
    assert around == [("b", 1130000.0), ("e", 1300000.0), ("b", 1230000.0), ("e", 1450000.0)]
    counts = [e for e in trace.events if e["ph"] == "C"]
    assert [e["args"] for e in counts if e["name"] == "rows by job"] == [{"mlp": k} for k in range(4)]
    assert {e["name"] for e in counts} >= {"preemptions", "evicted", "collisions", "sums from the PS to rank 0"}


def test_records_of_an_older_run_show_the_rest(tmp_path: Path) -> None:
    trace = live_trace(read_run(run_folder(tmp_path / "a")))
    assert problems(trace.text()) == []
    assert set(tracks(trace)) == {"rank 0: iterations", "rank 1: iterations"}


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    records = sorted((record for name in HOSTILE for record in live_records(name)), key=lambda record: record["t"])
    text = live_trace(read_run(run_folder(tmp_path / "a", summary(names=HOSTILE), records))).text()
    assert problems(text) == []
    assert "\\u001b" not in text
    assert r"\\x1b" in text


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ph": "Z"}, "phase 'Z'"),
        ({"ts": -1}, "ts is -1"),
        ({"dur": None}, "dur is None"),
        ({"tid": "one"}, "tid is 'one'"),
        ({"ts": 500_000, "dur": 700_000}, "overlaps"),
        ({"pid": 77}, "process 77 has no name"),
    ],
)
def test_the_check_of_the_format_finds_what_is_wrong(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    trace = live_trace(read_run(run_folder(tmp_path / "a", records=live_records())))
    spans = [event for event in trace.events if event["ph"] == "X" and event["name"].startswith("iteration")]
    spans[-1].update(change)
    assert any(why in problem for problem in problems(trace.text()))


def scenario(text: str = SCENARIO) -> Scenario:
    return Scenario.parse(text, check_virtual)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_virtual(scenario(), tmp_path_factory.mktemp("results"), Console(quiet=True))[1]


def test_a_run_in_virtual_time_is_traced_by_running_it_again(simulated: Path) -> None:
    run = read_run(simulated)
    trace, same = virtual_trace(run, scenario_of(run), 300)
    assert same
    assert problems(trace.text()) == []
    shown = tracks(trace)
    jobs = {job.name: job for job in run.summary.jobs}
    # Every nanosecond that was computed is there; all that was begun came.
    computed = dict.fromkeys(jobs, 0.0)
    process = {e["pid"]: e["args"]["name"] for e in trace.events if e["name"] == "process_name"}
    for event in trace.events:
        if event["ph"] == "X" and event["name"] == "compute":
            computed[process[event["pid"]].removeprefix("job ")] += event["dur"] / 1e6
    for name, job in jobs.items():
        assert computed[name] == pytest.approx(job.workers * job.compute_s, rel=1e-3)
    received = sum(len(spans) for track, spans in shown.items() if track.endswith(": receive"))
    assert received == len([e for e in trace.events if e["ph"] == "b"]) > 0
    trains = {name: shown[f"{name}: hosts"][-1] for name in jobs}
    assert trains["b"][1] == pytest.approx(0.01)
    for name, job in jobs.items():
        assert trains[name][2] == pytest.approx(1e3 * job.jct_s, abs=1e-5)
    # Counters end where the summary does.
    for counter in ("collisions", "preemptions", "evicted", "completed"):
        last = [e["args"] for e in trace.events if e["ph"] == "C" and e["name"] == counter][-1]
        kept = {name: run.summary.switch_counters[name][counter] for name in jobs}
        assert all(last[name] <= kept[name] for name in jobs)
        assert sum(last.values()) >= 0.9 * sum(kept.values())
    rows = [e["args"] for e in trace.events if e["ph"] == "C" and e["name"] == "rows by job"]
    assert 0 < max(sum(one.values()) for one in rows) <= 16


def test_who_looks_changes_nothing() -> None:
    plan = plan_of(scenario())
    plain, seen = simulate(plan), watched(plan, Watch(plan, Trace(), 1000))
    assert plain.jobs == seen.jobs
    assert plain.switch_counters == seen.switch_counters
    assert (plain.end_s, plain.packet_hops) == (seen.end_s, seen.packet_hops)
    assert np.array_equal(plain.series, seen.series)


@pytest.mark.parametrize("method", ["atp", "gloo"])
def test_other_ways_to_sum_are_traced(tmp_path: Path, method: str) -> None:
    text = SCENARIO.replace('policy = "esa"', 'transport = "gloo"' if method == "gloo" else f'policy = "{method}"')
    _, folder = run_virtual(scenario(text), tmp_path, Console(quiet=True))
    run = read_run(folder)
    trace, same = virtual_trace(run, scenario_of(run), 100)
    assert same
    assert problems(trace.text()) == []
    assert any(track.endswith(": receive") for track in tracks(trace))


def test_a_job_that_is_stopped_and_goes_on_is_traced(tmp_path: Path) -> None:
    failures = '\n[[failures]]\nwhat = "host"\nname = "a-0"\nat_s = 1.5e-4\ndown_s = 5e-5\n'
    _, folder = run_virtual(scenario(SCENARIO + failures), tmp_path, Console(quiet=True))
    run = read_run(folder)
    trace, same = virtual_trace(run, scenario_of(run), 200)
    assert same
    assert problems(trace.text()) == []


def test_the_command(simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.app, ["trace", str(simulated), "--steps", "50"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("trace: trace.json, ")
    assert problems(Path("trace.json").read_text()) == []
    assert json.loads(Path("trace.json").read_text())["otherData"]["scenario"] == "small"
    # Kept by another version: it is said.
    other = Path(shutil.copytree(simulated, tmp_path / "other"))
    told = json.loads((other / "summary.json").read_text())
    (other / "summary.json").write_text(json.dumps(told | {"makespan_s": 1.0}))
    done = CliRunner().invoke(cli.app, ["trace", str(other), "--steps", "50"])
    assert done.exit_code == 0
    assert "the run does not come out as it is kept" in done.stderr
    (other / "scenario.toml").write_text("name = 3")
    done = CliRunner().invoke(cli.app, ["trace", str(other)])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    for place in ("nowhere", "."):
        done = CliRunner().invoke(cli.app, ["trace", place])
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
