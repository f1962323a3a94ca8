"""A sweep gives the same bytes on any number of processes, however often it was interrupted, on a cluster too."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from experiments import cli
from experiments.common.processes import local_executor
from experiments.specs.scenario import Scenario
from experiments.specs.sweep_file import Point, load_sweep
from experiments.specs.toml_files import ScenarioError
from experiments.virtual.check import check_virtual
from experiments.virtual.sweep import (
    POINTS,
    SweepError,
    dask_executor,
    finished_points,
    point_file,
    run_point,
    sweep,
)
from experiments.virtual.sweep_tables import sweep_table, write_sweep

pytestmark = pytest.mark.timeout(600)  # on a cold machine every process compiles the simulator

SCENARIOS = Path(__file__).parents[2] / "experiments" / "scenarios" / "sim"

BASE = """
name = "base"
aggregators = 16
[virtual]
sample_us = 20.0
[network]
hosts = 6
rate = "100 Gb/s"
[job_defaults]
workers = 2
iterations = 2
window = 16
jitter = 0.3
model = "communication-heavy"
scale = 0.0002
[[jobs]]
name = "a"
[[jobs]]
name = "b"
"""
SWEEP = """
name = "grid"
scenario = "base.toml"
seeds = [5, 6]
[axes]
policy = ["esa", "ps"]
"job_defaults.window" = [8, 16]
"""


class Here(Executor):
    """Runs where it is called, and counts; `most`: then somebody presses Ctrl-C."""

    def __init__(self, most: int | None = None, run: Callable[[str], Any] = run_point) -> None:
        self.runs = 0
        self._most = most
        self._run = run

    def submit(self, _function: Any, /, *arguments: Any, **_keywords: Any) -> Future[Any]:
        if self.runs == self._most:
            raise KeyboardInterrupt
        self.runs += 1
        future: Future[Any] = Future()
        try:
            future.set_result(self._run(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.toml").write_text(BASE)
    Path("sweep.toml").write_text(SWEEP)


def grid() -> tuple[list[Point], list[Scenario]]:
    _, points = load_sweep(Path("sweep.toml"), check_virtual)
    return points, [point.scenario for point in points]


def swept(folder: str, executor: Executor) -> Path:
    """A whole sweep into a folder."""
    points, simulations = grid()
    results = sweep(simulations, executor, Path(folder))
    write_sweep("grid", points, results, Path(folder))
    return Path(folder)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_sweeps_here_are_good() -> None:
    files = sorted((SCENARIOS / "sweeps").glob("*.toml"))
    assert "memory" in {file.stem for file in files}
    for file in files:
        assert len(load_sweep(file, check_virtual)[1]) > 1


def test_the_grid_is_the_product_in_the_order_of_the_file() -> None:
    points, simulations = grid()
    assert [(*point.axes.values(), point.seed) for point in points] == [
        ("esa", 8, 5), ("esa", 8, 6), ("esa", 16, 5), ("esa", 16, 6),
        ("ps", 8, 5), ("ps", 8, 6), ("ps", 16, 5), ("ps", 16, 6),
    ]  # fmt: skip
    for point, simulation in zip(points, simulations, strict=True):
        windows = {job.window for job in simulation.job_specs}
        assert (simulation.policy, windows, simulation.seed) == (
            point.axes["policy"],
            {point.axes["job_defaults.window"]},
            point.seed,
        )


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ("[axes.network]\nrate = ['10 Gb/s', '40 Gb/s']", [10e9, 40e9]),
        ("[axes]\nnetwork.rate = ['10 Gb/s', '40 Gb/s']", [10e9, 40e9]),
        ('[axes]\n"network.rate" = ["10 Gb/s", "40 Gb/s"]', [10e9, 40e9]),
    ],
)
def test_an_axis_may_be_in_a_table(axes: str, expected: list[float]) -> None:
    Path("sweep.toml").write_text(f'name = "x"\nscenario = "base.toml"\n{axes}\n')
    _, points = load_sweep(Path("sweep.toml"), check_virtual)
    assert [point.scenario.network.rate for point in points] == expected
    assert [point.axes for point in points] == [{"network.rate": rate} for rate in ("10 Gb/s", "40 Gb/s")]


def test_an_axis_may_be_of_one_job_and_seeds_a_number() -> None:
    text = 'name = "x"\nscenario = "base.toml"\nseeds = 3\n[axes]\n"jobs.1.window" = [4]\n'
    Path("sweep.toml").write_text(text)
    _, points = load_sweep(Path("sweep.toml"), check_virtual)
    assert [point.seed for point in points] == [1, 2, 3]
    assert [[job.window for job in point.scenario.jobs] for point in points] == [[16, 4]] * 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "grid"', "", "sweep.toml: name: missing"),
        ('name = "grid"', 'name = "grid"\nseed = 1', "seed: unknown key; allowed: name, scenario, seeds, axes"),
        ('"base.toml"', '"absent.toml"', "cannot read absent.toml"),
        ("[5, 6]", "[]", "seeds: []; allowed: a list of different numbers, or how many"),
        ("[5, 6]", "[5, 5]", "seeds: [5, 5]; allowed: a list of different numbers"),
        ("[5, 6]", "0", "seeds: 0; allowed"),
        ("[5, 6]", "1.5", "seeds: 1.5; allowed"),
        ("[5, 6]", "[-1]", "seeds"),
        ('["esa", "ps"]', '"esa"', "axes.policy: 'esa'; allowed: a list of values"),
        ('["esa", "ps"]', "[]", "axes.policy: []; allowed: a list of values"),
        ('["esa", "ps"]', '["esa", "esa"]', "axes.policy: ['esa', 'esa']; allowed: values that occur once"),
        ('["esa", "ps"]', '["esa", "best"]', "policy = best, job_defaults.window = 8: base.toml: policy: unknown"),
        ("[8, 16]", "[8, 0]", "policy = esa, job_defaults.window = 0: base.toml: job_defaults.window: 0"),
        ('"job_defaults.window"', '"windows"', "policy = esa, windows = 8: base.toml: windows: unknown key"),
        ('"job_defaults.window"', '"jobs.window"', "'jobs' is a list; allowed: numbers from 0 to 1 in place"),
        ('"job_defaults.window"', '"jobs.2.window"', "'jobs' is a list; allowed: numbers from 0 to 1 in place of '2'"),
        ('"job_defaults.window"', '"name.first"', "axes.name.first: 'name' is no table"),
        ('"job_defaults.window"', '"seed"', "seed: is no axis"),
        ("[5, 6]", "100000", "axes: 400000 points; allowed: 100000"),
    ],
)  # fmt: skip
def test_bad_sweeps_are_refused_before_anything_starts(old: str, new: str, message: str) -> None:
    assert old in SWEEP
    Path("sweep.toml").write_text(SWEEP.replace(old, new, 1))
    with pytest.raises(ScenarioError) as refused:
        load_sweep(Path("sweep.toml"), check_virtual)
    assert "\n" not in str(refused.value)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--executor", "slurm"], "executor: unknown executor 'slurm'; allowed: local, dask"),
        (["--scheduler", "tcp://x:1"], "scheduler: 'local' has none; allowed: with --executor dask"),
        (["--results", "base.toml"], "results: cannot make the folder base.toml"),
    ],
)
def test_bad_options_are_refused_before_anything_starts(options: list[str], message: str) -> None:
    result = CliRunner().invoke(cli.app, ["sweep", "sweep.toml", *options])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "\n" not in result.stderr.strip()
    assert not Path("results").exists()


@pytest.mark.slow
def test_one_process_and_two_give_the_same_bytes() -> None:
    with local_executor(jobs=1) as executor:
        one = swept("one", executor)
    with local_executor(jobs=2) as executor:
        two = swept("two", executor)
    assert bytes_of(one) == bytes_of(two) == bytes_of(swept("here", Here()))


@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes() -> None:
    pytest.importorskip("distributed", reason="the extra 'cluster' is not installed: no distributed")
    with dask_executor(jobs=2) as executor:
        cluster = swept("cluster", executor)
    assert bytes_of(cluster) == bytes_of(swept("here", Here()))


def test_an_interrupted_sweep_goes_on_where_it_was() -> None:
    points, simulations = grid()
    with pytest.raises(KeyboardInterrupt):
        sweep(simulations[:3], Here(), Path("cut"), progress=_interrupt_after(2))
    kept = finished_points(simulations, Path("cut"))
    finished = [result is not None for result in kept]
    assert (sum(finished[:3]), sum(finished)) == (2, 2)
    write_sweep("grid", points, kept, Path("cut"), "interrupted")
    state = json.loads(Path("cut/sweep.json").read_text())
    assert state == {"name": "grid", "points": 8, "finished": 2, "incomplete": "interrupted"}
    rows = list(csv.DictReader(Path("cut/table.csv").read_text().splitlines()))
    assert [row["incomplete"] == "" for row in rows] == finished
    assert {row["incomplete"] for row in rows} == {"", "not run"}

    executor = Here()
    resumed = swept("cut", executor)
    assert executor.runs == 6
    assert bytes_of(resumed) == bytes_of(swept("whole", Here()))


def _interrupt_after(count: int) -> Callable[[int], None]:
    def progress(done: int) -> None:
        if done == count:
            raise KeyboardInterrupt

    return progress


@pytest.mark.slow
def test_ctrl_c_leaves_a_sweep_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    executors = iter([Here(most=2), Here()])
    monkeypatch.setattr(
        "experiments.virtual.sweep.executor_named", lambda *_: lambda: contextlib.nullcontext(next(executors))
    )
    result = CliRunner().invoke(cli.app, ["sweep", "sweep.toml"])
    assert result.exit_code == 130, result.output
    assert "esa: interrupted; finished points are kept, the same command goes on from there" in result.stderr
    folder = Path("results/sweep-grid")
    assert json.loads((folder / "sweep.json").read_text())["incomplete"] == "interrupted"
    assert (folder / "table.csv").exists()

    result = CliRunner().invoke(cli.app, ["sweep", "sweep.toml"])
    assert result.exit_code == 0, result.output
    assert bytes_of(folder) == bytes_of(swept("here", Here()))
    assert "mean JCT s" in result.output


def test_what_other_code_made_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    _, simulations = grid()
    sweep(simulations[:1], Here(), Path("old"))
    again = Here()
    sweep(simulations[:1], again, Path("old"))
    assert again.runs == 0
    monkeypatch.setattr("experiments.virtual.sweep.code_fingerprint", lambda: "other")
    sweep(simulations[:1], again, Path("old"))
    assert again.runs == 1


def test_a_worker_with_other_code_is_refused() -> None:
    _, simulations = grid()
    elsewhere = Here(run=lambda text: run_point(text)._replace(code="other"))
    with pytest.raises(SweepError, match="runs other code than this machine"):
        sweep(simulations[:1], elsewhere, Path("mixed"))
    assert finished_points(simulations[:1], Path("mixed")) == [None]


def test_a_file_that_was_cut_short_counts_as_not_run() -> None:
    _, simulations = grid()
    sweep(simulations[:2], Here(), Path("cut"))
    path = point_file(Path("cut"), simulations[0].to_toml())
    path.write_text(path.read_text()[:100])
    assert [result is None for result in finished_points(simulations[:2], Path("cut"))] == [True, False]


def test_a_point_that_cannot_be_run_is_named_and_others_are_kept() -> None:
    _, simulations = grid()

    def run(text: str) -> Any:
        if "seed = 6" in text:
            raise MemoryError("too large")
        return run_point(text)

    with pytest.raises(SweepError, match=r"base, esa, seed 6: MemoryError: too large"):
        sweep(simulations[:2], Here(run=run), Path("broken"))
    # Which of the two futures was looked at first is not fixed; a finished one is never lost by a later sweep.
    assert len(sweep(simulations[:2], Here(), Path("broken"))) == 2


@pytest.mark.slow
def test_a_process_that_dies_is_told_from_a_result() -> None:
    _, simulations = grid()
    with local_executor(jobs=1) as executor:
        executor.submit(_die)
        with pytest.raises(SweepError, match="a process ended that was at work"):
            sweep(simulations[:1], executor, Path("dead"))


def _die() -> None:
    import os

    os._exit(1)


def test_equal_points_are_run_once() -> None:
    _, simulations = grid()
    executor = Here()
    results = sweep([simulations[0]] * 3, executor, Path("same"))
    assert executor.runs == 1
    assert len(results) == 3
    assert len(list((Path("same") / POINTS).iterdir())) == 1


def test_tables_hold_every_point() -> None:
    points, simulations = grid()
    folder = swept("all", Here())
    rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    assert [(row["policy"], row["job_defaults.window"], row["seed"]) for row in rows][:3] == [
        ("esa", "8", "5"), ("esa", "8", "6"), ("esa", "16", "5"),
    ]  # fmt: skip
    results = [result for result in finished_points(simulations, folder) if result is not None]
    assert [float(row["mean_jct_s"]) for row in rows] == [result.summary["mean_jct_s"] for result in results]
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    heads = [record for record in records if record["event"] == "point"]
    assert [head["point"] for head in heads] == list(range(8))
    assert [head["summary"] for head in heads] == [result.summary for result in results]
    own = [{"point": record.pop("point"), **record} for record in records if record["event"] == "job"]
    assert [(record["point"], record["name"]) for record in own] == [(n, name) for n in range(8) for name in "ab"]
    assert sweep_table("grid", points, results).row_count == 4
