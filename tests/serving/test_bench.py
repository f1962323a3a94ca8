"""Vidur-Bench: its table to the runs that it is of."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from esa.errors import BadInput
from esa.report import load_run
from esa.report.statistics import mean_interval
from experiments.cli import app
from experiments.serving.bench import FIGURES
from experiments.specs.serving_bench import ServingBench

SHIPPED = sorted((Path(__file__).parents[2] / "experiments" / "benches").glob("*.toml"))
SMALL = """name = "small"
seeds = 2
schedulers = ["vllm", "sarathi"]
[replicas]
model = "llama-2-7b"
gpu = "a100"
[[workload]]
name = "short"
lengths = "exegpt-s"
count = 10
rate = 20
[[workload]]
name = "together"
lengths = "exegpt-t"
arrivals = "static"
count = 10
"""


def bench(folder: Path, text: str = SMALL, *more: str) -> Path:
    """Run it; returns its folder."""
    path = folder / "bench.toml"
    path.write_text(text)
    done = CliRunner().invoke(app, ["vidur-bench", str(path), "--results", str(folder / "results"), *more])
    assert done.exit_code == 0, done.output
    assert "together" in done.output
    (found,) = (folder / "results").iterdir()
    return found


def test_a_line_is_the_interval_over_the_runs_of_its_cell(tmp_path: Path) -> None:
    folder = bench(tmp_path)
    with (folder / "bench.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == 2 * 2 * len(FIGURES)
    for row in rows:
        runs = [load_run(folder / f"{row['workload']}-{row['scheduler']}-{seed}").summary for seed in (1, 2)]
        assert [one.seed for one in runs] == [1, 2]
        assert all(one.serving is not None and one.serving.finished == 10 for one in runs)
        values = [FIGURES[row["figure"]][0](one.serving) for one in runs if one.serving is not None]
        known = mean_interval([value for value in values if value is not None])
        assert [float(row[name]) for name in ("mean", "low", "high")] == pytest.approx(known[:3])


@pytest.mark.slow
def test_side_by_side_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = []
    for name, more in (("one", ()), ("other", ("--processes", "2"))):
        (tmp_path / name).mkdir()
        folders.append(bench(tmp_path / name, SMALL, *more))
    for name in ("bench.csv", "bench.toml", "together-sarathi-2/summary.json"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    assert ServingBench.load(folders[0] / "bench.toml") == ServingBench.load(tmp_path / "one" / "bench.toml")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_benches_are_valid(path: Path) -> None:
    assert ServingBench.load(path).to_toml()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (('"sarathi"', '"orka"'), "schedulers: unknown scheduler 'orka'; allowed: faster-transformer, orca"),
        (('name = "together"', 'name = "short"'), "workload: short is given twice"),
        (('"sarathi"]', '"lightllm"]\nvidur = {cap = 4}'), "pp 2; allowed: 1 and 1"),
        (('"llama-2-7b"', '"llama-2-70b"'), "no room for the keys and values"),
        (("seeds = 2", "seeds = 1"), "seeds: 1: input should be greater than or equal to 2"),
    ],
)
def test_a_bench_that_cannot_be_is_refused_before_it_runs(
    tmp_path: Path, change: tuple[str, str], problem: str
) -> None:
    path = tmp_path / "bench.toml"
    text = SMALL.replace(*change)
    path.write_text(text.replace('"a100"', '"a100"\npp = 2') if "lightllm" in text else text)
    done = CliRunner().invoke(app, ["vidur-bench", str(path), "--results", str(tmp_path / "results")])
    said = f"{done.output} {done.exception if isinstance(done.exception, BadInput) else ''}"
    assert problem in " ".join(said.split())
    assert not [*tmp_path.glob("results/*")]
