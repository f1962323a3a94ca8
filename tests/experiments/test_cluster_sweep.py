"""Sweeps over scenarios of `esa cluster`: a grid, kept points, the same bytes on other processes."""

from __future__ import annotations

import csv
import json
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from experiments import cli
from experiments.common.processes import local_executor
from experiments.laboratory.sweep import run_cluster_point, runs_of
from experiments.specs.sweep_file import Point, load_sweep
from experiments.virtual.check import check_virtual
from experiments.virtual.sweep import dask_executor, sweep
from experiments.virtual.sweep_tables import write_sweep

LIST = """timestamp,duration,num_gpus
2017-10-09 00:00:00,100,4
2017-10-09 00:00:10,50,4
2017-10-09 00:00:20,10,2
"""
BASE = """name = "three"
[cluster]
hosts = 2
gpus = 2
[list]
format = "philly"
path = "list.csv"
"""
SWEEP = """name = "grid"
scenario = "base.toml"
seeds = 2
[axes]
scheduler = ["fifo", "shortest-remaining"]
"cluster.gpus" = [2, 4]
"""


class Here(Executor):
    """Runs where it is called, and counts."""

    def __init__(self) -> None:
        self.runs = 0

    def submit(self, function: Any, /, *arguments: Any, **_keywords: Any) -> Future[Any]:
        self.runs += 1
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "scenarios"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name, text in (("list.csv", LIST), ("base.toml", BASE), ("sweep.toml", SWEEP)):
        Path(name).write_text(text)


def grid() -> list[Point]:
    return load_sweep(Path("sweep.toml"), check_virtual)[1]


def swept(folder: str, executor: Executor) -> dict[str, bytes]:
    """What a sweep leaves in a folder."""
    points = grid()
    scenarios, by = runs_of([point.scenario for point in points])
    write_sweep("grid", points, sweep(scenarios, executor, Path(folder), by=by), Path(folder))
    return {path.name: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_a_grid_has_a_row_of_a_clusters_figures_for_each_point() -> None:
    done = CliRunner().invoke(cli.app, ["sweep", "sweep.toml", "--jobs", "1"])
    assert done.exit_code == 0, done.output
    assert "queuing s" in done.output
    folder = Path("results/sweep-grid")
    with (folder / "table.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert [(row["scheduler"], row["cluster.gpus"], row["seed"]) for row in rows[::2]] == [
        ("fifo", "2", "1"),
        ("fifo", "4", "1"),
        ("shortest-remaining", "2", "1"),
        ("shortest-remaining", "4", "1"),
    ]
    # One after the other: 100 s, 140 s and 140 s; 8 GPUs hold the first two, and the third after 60 s.
    assert float(rows[0]["mean_jct_s"]) == pytest.approx((100 + 140 + 140) / 3)
    assert float(rows[2]["mean_jct_s"]) == pytest.approx((100 + 50 + 50) / 3)
    assert {row["by_table"] for row in rows} == {"1.0"}
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert sum(record["event"] == "job" for record in records) == 3 * len(rows)


def test_finished_points_are_kept_until_a_file_that_they_read_is_another() -> None:
    first, again, other = Here(), Here(), Here()
    swept("kept", first)
    swept("kept", again)
    assert (first.runs, again.runs) == (8, 0)
    Path("other.csv").write_text(LIST.replace(",100,4", ",90,4"))
    Path("base.toml").write_text(BASE.replace("list.csv", "other.csv"))
    swept("kept", other)
    assert other.runs == 8
    points, _ = runs_of([point.scenario for point in grid()])
    assert points[0].to_toml().startswith("# list.path: sha256 ")
    assert json.loads(json.dumps(run_cluster_point(points[0].to_toml()).summary))["seed"] == 1


@pytest.mark.slow
def test_the_same_bytes_on_processes_and_on_dask() -> None:
    here = swept("here", Here())
    with local_executor(1) as processes:
        assert swept("there", processes) == here
    pytest.importorskip("distributed")
    with dask_executor(jobs=1) as cluster:
        assert swept("dask", cluster) == here


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("[2, 4]", "[2, 1]", "job philly-2: 4 GPUs; allowed: up to 2, all in the cluster"),
        ('"cluster.gpus"', '"cluster.gpu"', "cluster.gpu: unknown key; allowed: hosts, topology, gpus"),
        ('"fifo"', '"lifo"', "scheduler: unknown scheduler 'lifo'; allowed: fifo"),
    ],
)
def test_a_point_that_cannot_be_is_refused_before_any_runs(old: str, new: str, problem: str) -> None:
    Path("sweep.toml").write_text(SWEEP.replace(old, new))
    done = CliRunner().invoke(cli.app, ["sweep", "sweep.toml"])
    assert done.exit_code == 2, done.output
    assert problem in " ".join(done.output.split())
    assert not Path("results").exists()


def test_the_shipped_sweep_is_one() -> None:
    path = Path(cli.__file__).parent / "scenarios" / "cluster" / "sweeps" / "load.toml"
    name, points = load_sweep(path, check_virtual)
    assert (name, len(points)) == ("cluster-load", 27)
