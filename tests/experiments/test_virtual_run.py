"""Simulations from the command line: what they print and leave, and that it is the same every time."""

from __future__ import annotations

import csv
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from esa.report import load_run
from esa.signals import ending_asks
from esa.sim.plan import SERIES
from experiments import cli
from experiments.specs.scenario import Scenario
from experiments.virtual.check import check_virtual
from experiments.virtual.run import evaluate, records_text, run_virtual, series_text

pytestmark = pytest.mark.timeout(600)  # on a cold machine the first test compiles the simulator

SMALL = """
name = "small"
aggregators = 16
[virtual]
carry_gradients = true
sample_us = 20.0
[network]
hosts = 6
rate = "100 Gb/s"
[job_defaults]
workers = 2
iterations = 2
window = 16
model = "communication-heavy"
scale = 0.0002
[[jobs]]
name = "a"
[[jobs]]
name = "b"
submit_s = 0.00001
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(SMALL)


def esa(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def small(**overrides: Any) -> Scenario:
    return Scenario.load(Path("small.toml"), check_virtual, **overrides)


def test_figures_are_those_of_a_run() -> None:
    summary, outcome = evaluate(small())
    assert (summary.scenario, summary.policy, summary.switch, summary.topology) == (
        "small", "esa", "virtual", "single-rack",
    )  # fmt: skip
    a, b = summary.jobs
    assert (a.workers, a.iterations, a.final_loss, a.accuracy) == (2, 2, None, None)
    assert a.jct_s is not None
    assert b.jct_s is not None
    assert summary.mean_jct_s == pytest.approx((a.jct_s + b.jct_s) / 2)
    assert summary.makespan_s == max(a.jct_s, b.jct_s + 1e-5)
    # 6,400 floats in four buckets and two iterations, 64 to a fragment, from two workers.
    fragments = 2 * 2 * sum(-(-part.bytes // 256) for part in _buckets())
    assert [job.fragments for job in summary.jobs] == [fragments, fragments]
    assert summary.checked == 2 * fragments
    assert summary.total("gradients") >= 2 * fragments
    assert summary.incomplete is None
    assert outcome.series.dtype == SERIES


def _buckets() -> Any:
    from experiments.virtual.translate import plan_of

    return plan_of(small()).jobs[0].buckets


def test_equal_scenarios_give_equal_bytes() -> None:
    (summary, outcome), (again, repeated) = evaluate(small()), evaluate(Scenario.parse(small().to_toml()))
    assert again == summary
    assert records_text(repeated) == records_text(outcome)
    assert series_text(repeated) == series_text(outcome)
    jittery = SMALL.replace("window = 16", "window = 16\njitter = 0.5")
    Path("small.toml").write_text(jittery)
    assert evaluate(small(seed=1))[0].jobs != evaluate(small(seed=2))[0].jobs


def test_failures_happen_and_are_told() -> None:
    failures = """
[[failures]]
what = "switch"
name = "switch-0"
at_s = 0.00002
down_s = 0.0003
[[failures]]
what = "ps"
name = "b"
at_s = 0.00003
down_s = 0.0001
[[failures]]
what = "host"
name = "host-1"
at_s = 0.00004
"""
    Path("small.toml").write_text(SMALL.replace("hosts = 6", "hosts = 7") + failures)
    summary, outcome = evaluate(small())
    assert summary.incomplete is None
    switch, ps, host = summary.failures
    assert (switch.what, switch.name, switch.died_s, switch.back_s, switch.stopped) == (
        "switch", "switch-0", 0.00002, pytest.approx(0.00032), [],
    )  # fmt: skip
    assert (ps.name, ps.back_s) == ("b", pytest.approx(0.00013))
    assert (host.back_s, host.stopped) == (None, ["a"])
    assert summary.checked > 0
    assert all(job.inflation > 1 for job in summary.jobs)
    told = [json.loads(line) for line in records_text(outcome).splitlines()]
    assert [record["kind"] for record in told if record["event"] == "failure"] == ["switch", "ps", "host"]
    result = esa("sim", "small.toml")
    assert result.exit_code == 0, result.output
    assert re.search(r"host host-1 +0\.000040", result.output)


def test_every_way_of_summing_is_compared() -> None:
    Path("small.toml").write_text(SMALL.replace("carry_gradients = true\n", ""))
    result = esa("sim", "small.toml", "--policy", "esa, gloo, halving-doubling")
    assert result.exit_code == 0, result.output
    assert "small: esa, gloo, halving-doubling" in result.output
    summary, _ = evaluate(small(transport="halving-doubling"))
    assert (summary.policy, summary.incomplete) == ("halving-doubling", None)
    assert all(job.iterations == 2 and job.fragments == 0 and job.bound_s <= job.jct_s for job in summary.jobs)


def test_records_hold_every_job_and_sample() -> None:
    _, outcome = evaluate(small())
    records = [json.loads(line) for line in records_text(outcome).splitlines()]
    jobs = [record for record in records if record["event"] == "job"]
    samples = [record for record in records if record["event"] == "sample"]
    assert len(jobs) + len(samples) == len(records)
    assert [{"event": "job", **vars(job), "hosts": list(job.hosts)} for job in outcome.jobs] == jobs
    assert len(samples) == len(outcome.series) > 2
    assert samples[1] == {"event": "sample", **dict(zip(SERIES.names or (), outcome.series[1].item(), strict=True))}
    rows = list(csv.reader(series_text(outcome).splitlines()))
    assert tuple(rows[0]) == SERIES.names
    assert [float(cell) for cell in rows[2]] == [float(value) for value in outcome.series[1].item()]


def test_a_simulation_leaves_its_folder() -> None:
    result = esa("sim", "small.toml", "--seed", "3")
    assert result.exit_code == 0, result.output
    (folder,) = Path("results").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        "scenario.toml", "summary.json", "records.jsonl", "series.csv", "versions.json",
    }  # fmt: skip
    assert Scenario.parse((folder / "scenario.toml").read_text()) == small(seed=3)
    assert load_run(folder).summary == evaluate(small(seed=3))[0]
    assert "small: esa on virtual, seed 3" in result.output


def test_run_with_virtual_is_sim() -> None:
    result = esa("run", "--virtual", "small.toml", "--seed", "3", "--loss", "0.01")
    assert result.exit_code == 0, result.output
    (folder,) = Path("results").iterdir()
    found = load_run(folder).summary
    assert found == evaluate(small(seed=3, loss=0.01))[0]
    assert found.faults is not None
    refused = esa("run", "--virtual", "small.toml", "--switch", "bmv2")
    assert (refused.exit_code, refused.stderr) == (
        2, "esa: switch: virtual time has switches of its own; allowed: without --virtual\n",
    )  # fmt: skip


def test_several_policies_are_compared_and_reported() -> None:
    result = esa("sim", "small.toml", "--policy", "esa, ps", "--results", "out")
    assert result.exit_code == 0, result.output
    assert "small: esa, ps" in result.output
    assert "mean JCT / esa" in result.output
    folders = sorted(map(str, Path("out").iterdir()))
    assert len(folders) == 2
    report = esa("report", *folders)
    assert report.exit_code == 0, report.output
    assert "mean useful" in report.output
    assert Path("report.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.toml"], "cannot read absent.toml"),
        (["small.toml", "--policy", "esa,best"], "policy: unknown policy 'best'; allowed: esa, atp"),
        (["small.toml", "--seed", "-1"], "seed: -1: input should be greater than or equal to 0"),
        (["small.toml", "--results", "small.toml"], "results: cannot make the folder small.toml"),
    ],
)
def test_bad_options_are_refused_before_anything_starts(arguments: list[str], message: str) -> None:
    result = esa("sim", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "\n" not in result.stderr.strip()
    assert not Path("results").exists()


def test_a_simulation_that_ends_too_late_says_so() -> None:
    Path("small.toml").write_text(SMALL.replace("[virtual]", "[virtual]\nlimit_s = 0.00003"))
    result = esa("sim", "small.toml")
    assert result.exit_code == 1
    assert "esa: small, esa: not over after 3e-05 s of virtual time" in result.stderr
    (folder,) = Path("results").iterdir()
    summary = load_run(folder).summary
    assert summary.incomplete == "not over after 3e-05 s of virtual time"
    assert summary.mean_jct_s is None
    assert summary.jobs[0].fragments > 0


def test_an_interrupted_simulation_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.virtual import run

    def interrupted(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return evaluate(*arguments)

    monkeypatch.setattr(run, "evaluate", interrupted)
    result = esa("sim", "small.toml", "--policy", "esa,ps")
    assert result.exit_code == 130
    assert "esa: interrupted; what was simulated until then is kept" in result.stderr
    (folder,) = Path("results").iterdir()  # the second policy has not begun
    assert load_run(folder).summary.incomplete == "interrupted"
    assert (folder / "series.csv").exists()


def test_a_simulation_that_breaks_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.virtual import run

    def broken(*_arguments: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(run, "evaluate", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        run_virtual(small(), Path("results"), Console(quiet=True))
    (folder,) = Path("results").iterdir()
    assert load_run(folder).summary.incomplete == "ended early"
    assert [job.name for job in load_run(folder).summary.jobs] == ["a", "b"]


def test_a_second_interrupt_insists() -> None:
    with ending_asks() as asked:
        assert not asked()
        signal.raise_signal(signal.SIGTERM)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
