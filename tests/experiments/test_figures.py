"""Figures: their intervals are what they say, their simulations can be run in the time there is, their files repeat."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from esa.report.records import JobSummary, Summary
from esa.report.statistics import Interval, mean_interval, ratio_interval, verdict
from experiments import cli
from experiments.specs.scenario import Scenario
from experiments.studies.figures import claims
from experiments.studies.figures import make as command
from experiments.studies.figures.base import Effort
from experiments.studies.figures.catalogue import FIGURES
from experiments.studies.figures.cells import cell_of
from experiments.studies.figures.figure import estimated_hops
from experiments.studies.figures.report import seeds_text
from experiments.studies.figures.run import make_figure
from experiments.virtual.fingerprint import code_fingerprint
from experiments.virtual.sweep import Result, run_point

# Two cores at 2 million packet-hops a second each: 51 and 2.1 minutes; 60 and 3 are allowed, compiling included.
MOST_HOPS = {False: 12.3e9, True: 0.5e9}
LEAST_SEEDS = {False: 5, True: 3}


class Made(Executor):
    """Instead of simulating, makes figures up from the scenario's text; every `cut`-th simulation does not end."""

    def __init__(self, cut: int | None = None, most: int | None = None) -> None:
        self.runs = 0
        self._cut = cut
        self._most = most

    def submit(self, _function: Any, /, *arguments: Any, **_keywords: Any) -> Future[Any]:
        if self.runs == self._most:
            raise KeyboardInterrupt
        self.runs += 1
        future: Future[Any] = Future()
        future.set_result(self._made_up(*arguments, self._cut is not None and self.runs % self._cut == 0))
        return future

    @staticmethod
    def _made_up(text: str, cut: bool) -> Result:
        simulation = Scenario.parse(text)
        jct_s = 0.001 + int(hashlib.sha256(text.encode()).hexdigest()[:4], 16) * 1e-8
        jobs = [JobSummary(name=job.name, workers=job.workers, fragments=100) for job in simulation.job_specs]
        summary = Summary(
            scenario=simulation.name,
            policy=simulation.policy,
            switch="virtual",
            topology=simulation.topology,
            seed=simulation.seed,
            jobs=jobs,
            mean_jct_s=None if cut else jct_s,
            mean_wait_s=0.0,
            mean_bound_s=0.0005,
            mean_per_bound=None if cut else jct_s / 0.0005,
            occupancy_mean=0.5,
            useful_mean=0.25,
            packet_hops=1000,
            incomplete="job a gave up" if cut else None,
        )
        records = '{"event": "sample", "t_s": 0.001, "taken": 3, "useful": 2, "ps_bytes": 1000}\n'
        return Result(summary.as_dict(), records, code_fingerprint())


class Tiny(Effort):
    """A figure's simulations in a second."""

    @property
    def scale(self) -> float:
        return 0.0005

    @property
    def seeds(self) -> range:
        return range(1, 3)


class Uneven(Effort):
    """As where much is simulated, what is claimed has more seeds than the rest."""

    @property
    def many_seeds(self) -> range:
        return range(1, 5)


class Here(Executor):
    def submit(self, _function: Any, /, *arguments: Any, **_keywords: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(run_point(*arguments))
        return future


# Intervals


@pytest.mark.parametrize("count", [*range(2, 32), 100])
def test_a_mean_has_students_interval(count: int) -> None:
    from scipy import stats  # takes a second, and as much again in every other process of tests

    values = np.random.default_rng(count).normal(3.0, 2.0, count)
    interval = mean_interval(values)
    low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert interval.centre == pytest.approx(values.mean())
    reach = (high - low) / 2
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-9 * reach)
    assert interval.seeds == count


@pytest.mark.parametrize("count", [0, 1])
def test_an_interval_of_too_few_values_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=rf"values: {count}; allowed: 2 and more"):
        mean_interval([1.0] * count)


def test_a_ratio_is_taken_seed_by_seed() -> None:
    below = np.array([1.0, 10.0, 100.0])  # seeds differ a hundredfold, the ratio hardly
    ratio = ratio_interval([2.0, 21.0, 200.0], below)
    assert ratio.centre == pytest.approx((2.0 * 2.1 * 2.0) ** (1 / 3))
    assert 1.89 < ratio.low < ratio.centre < ratio.high < 2.2


def test_a_ratio_and_its_inverse_say_the_same() -> None:
    generator = np.random.default_rng(1)
    above, below = generator.uniform(1, 2, (2, 5))
    one, other = ratio_interval(above, below), ratio_interval(below, above)
    assert (one.centre, one.low, one.high) == pytest.approx((1 / other.centre, 1 / other.high, 1 / other.low))


def test_a_ratios_interval_of_five_seeds_holds_the_truth_in_19_of_20_cases_and_resampling_does_not() -> None:
    generator = np.random.default_rng(1)
    draws = np.exp(generator.normal(math.log(1.5), 0.1, (2000, 5)))
    held = sum(one.low <= 1.5 <= one.high for one in (ratio_interval(draw, np.ones(5)) for draw in draws))
    assert 0.935 < held / len(draws) < 0.965
    resampled = np.log(draws)[:, generator.integers(0, 5, (1000, 5))].mean(axis=2)  # (draws, resamplings)
    low, high = np.percentile(resampled, (2.5, 97.5), axis=1)
    assert 0.80 < float(np.mean((low <= math.log(1.5)) & (math.log(1.5) <= high))) < 0.87


def test_ratios_need_a_value_above_0_of_each_seed() -> None:
    with pytest.raises(ValueError, match="allowed: one of each per seed"):
        ratio_interval([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="not above 0"):
        ratio_interval([1.0, 2.0], [1.0, 0.0])


def test_what_has_no_figure_has_no_interval() -> None:
    assert not mean_interval([1.0, math.nan]).known
    assert not ratio_interval([1.0, 2.0], [math.nan, 1.0]).known


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(1.1, 1.3, "+"), (0.9, 1.2, "="), (0.7, 0.9, "-"), (math.nan, math.nan, "?")]
)
def test_a_verdict_needs_the_whole_interval(low: float, high: float, expected: str) -> None:
    assert verdict(Interval((low + high) / 2, low, high, 5)) == expected


def test_seeds_as_text() -> None:
    assert (seeds_text([1, 2, 3]), seeds_text([4]), seeds_text([1, 3])) == ("1-3", "4", "1, 3")


# Points


@pytest.mark.slow
@pytest.mark.parametrize("quick", [False, True])
def test_all_figures_can_be_simulated_in_the_time_there_is(quick: bool) -> None:
    hops = {}
    for figure in FIGURES.values():
        places = defaultdict(list)
        for point in figure.points(Effort(quick)):
            places[tuple(point.axes.items())].append(point.scenario)
        for place, simulations in places.items():
            seeds = [simulation.seed for simulation in simulations]
            assert len(set(seeds)) == len(seeds) >= LEAST_SEEDS[quick], (figure.name, place)
            # Figures share simulations: each counts once.
            text = simulations[0].to_toml()
            hops[text] = max(hops.get(text, 0.0), len(seeds) * estimated_hops(simulations[0]))
    assert sum(hops.values()) <= MOST_HOPS[quick]


@pytest.mark.slow
def test_a_simulation_costs_about_what_is_reckoned() -> None:
    for policy in ("esa", "atp", "ps"):
        point = next(
            point for point in FIGURES["jct_memory"].points(Tiny(quick=True)) if point.axes["policy"] == policy
        )
        measured = cell_of(point, run_point(point.scenario.to_toml())).measured["packet_hops"]
        assert measured == pytest.approx(estimated_hops(point.scenario), rel=0.3)


# Files


@pytest.mark.slow
@pytest.mark.timeout(600)  # on a cold machine it compiles the simulator
def test_a_figure_from_simulations_to_files(tmp_path: Path) -> None:
    figure = FIGURES["occupancy"]
    made = [make_figure(figure, Tiny(quick=True), Here(), tmp_path / str(k), tmp_path / str(k)) for k in range(2)]
    names = ["occupancy.png", "occupancy.csv", "occupancy.points.csv", "occupancy.seeds.txt"]
    assert [path.name for path in made[0].files] == names
    for name in names:
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()
    assert (tmp_path / "0" / names[0]).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "0" / names[3]).read_text() == "1\n2\n"
    table = list(csv.DictReader(io.StringIO((tmp_path / "0" / names[1]).read_text())))
    assert [line["policy"] for line in table] == ["esa", "atp", "switchml"]
    for line in table:
        assert float(line["taken_low"]) <= float(line["taken"]) <= float(line["taken_high"])
        assert 0 < float(line["useful"]) <= float(line["taken"]) < 1
    points = list(csv.DictReader(io.StringIO((tmp_path / "0" / names[2]).read_text())))
    assert [(line["policy"], line["seed"]) for line in points[:2]] == [("esa", "1"), ("esa", "2")]
    assert made[0].run == 6
    assert not made[0].cut
    again = make_figure(figure, Tiny(quick=True), Made(most=0), tmp_path / "0", tmp_path / "again")
    assert again.run == 0  # all were kept
    assert (tmp_path / "again" / names[1]).read_bytes() == (tmp_path / "0" / names[1]).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_can_be_drawn_whatever_did_not_end(name: str, tmp_path: Path) -> None:
    made = make_figure(FIGURES[name], Uneven(quick=True), Made(cut=7), tmp_path, tmp_path)
    assert all(len(line) == len(made.shown.head) for line in made.shown.lines)
    assert all(path.stat().st_size > 0 for path in made.files)
    assert made.cut
    assert all(line.endswith(": job a gave up") for line in made.cut)


# The command


@contextlib.contextmanager
def _executor(executor: Executor) -> Iterator[Executor]:
    yield executor


def test_an_interrupted_command_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["claim", "--quick", "--results", str(tmp_path)]
    first, second = Made(most=3), Made()
    monkeypatch.setattr(command, "local_executor", lambda jobs: _executor(first))
    interrupted = CliRunner().invoke(cli.app, ["figures", *arguments])
    assert interrupted.exit_code == 130
    assert "the same command goes on from there" in interrupted.output
    monkeypatch.setattr(command, "local_executor", lambda jobs: _executor(second))
    done = CliRunner().invoke(cli.app, ["figures", *arguments])
    assert done.exit_code == 0, done.output
    points = len(FIGURES["claim"].points(Effort(quick=True)))
    assert f"claim: {points} simulations, {second.runs} of them run" in done.output
    assert "1 figures in" in done.output
    assert "| 512 |" in (tmp_path / "figures" / "quick" / command.SUMMARY).read_text()


def test_a_documents_tables_are_those_of_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "local_executor", lambda jobs: _executor(Made()))
    document = tmp_path / "evaluation.md"
    places = "<!-- figure claim -->\nold\n<!-- end -->\nbetween\n<!-- figure map -->\nkept\n<!-- end -->\nbehind\n"
    document.write_text(f"before\n{places}")
    arguments = ["claim", "--quick", "--results", str(tmp_path), "--document", str(document)]
    done = CliRunner().invoke(cli.app, ["figures", *arguments])
    assert done.exit_code == 0, done.output
    table = (tmp_path / "figures" / "quick" / command.SUMMARY).read_text().split("png)\n\n")[1]
    text = document.read_text()
    assert text.startswith(f"before\n<!-- figure claim -->\n\n{table.rstrip()}\n\n<!-- end -->\nbetween\n")
    assert text.endswith("<!-- figure map -->\nkept\n<!-- end -->\nbehind\n")
    document.write_text(places.replace("map", "mop"))
    refused = CliRunner().invoke(cli.app, ["figures", *arguments])
    assert refused.exit_code == 2
    assert "unknown figure 'mop'; allowed: claim, " in refused.stderr


@pytest.mark.slow
def test_claims_hold_or_fall_short_and_the_status_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "local_executor", lambda jobs: _executor(Made()))
    done = CliRunner().invoke(cli.app, ["claims", "--quick", "--results", str(tmp_path)])
    lines = [line for line in done.stdout.splitlines() if line.rstrip().endswith(("holds", "falls short"))]
    assert len(lines) == 1 + 4 + 1 + 2 * 3 + 1 + 2 * 3
    short = sum(line.rstrip().endswith("short") for line in lines)
    assert done.exit_code == (1 if short else 0), done.output
    assert (f"esa: {short} of {len(lines)} claims fall short: " in done.stderr) == bool(short)


@pytest.mark.parametrize(
    ("figure", "at_least", "holds"),
    [
        (Interval(1.4, 1.36, 1.44, 5), True, True),
        (Interval(1.4, 1.34, 1.46, 5), True, False),
        (Interval(1.2, 1.1, 1.3, 5), False, True),
        (Interval(1.3, 1.2, 1.4, 5), False, False),
        (Interval(math.nan, math.nan, math.nan, 5), False, False),
    ],
)
def test_a_claim_holds_if_the_whole_interval_does(figure: Interval, at_least: bool, holds: bool) -> None:
    assert claims.Found("", "", figure, 1.35, at_least).holds is holds


def test_what_did_not_end_is_said_and_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "local_executor", lambda jobs: _executor(Made(cut=10)))
    done = CliRunner().invoke(cli.app, ["figures", "claim", "--quick", "--results", str(tmp_path)])
    assert done.exit_code == 1
    assert re.search(r"^esa: \d+ simulations did not end as they should: claim", done.stderr, re.MULTILINE)
    pattern = r"^claim, rows \d+, window \d+, policy \w+, seed \d: job a gave up$"
    assert re.search(pattern, done.stdout, re.MULTILINE)
    assert (tmp_path / "figures" / "quick" / "claim.png").exists()


def test_bad_input_is_refused_in_one_line(tmp_path: Path) -> None:
    refused = CliRunner().invoke(cli.app, ["figures", "jct", "--results", str(tmp_path)])
    assert refused.exit_code == 2
    assert refused.output.startswith("esa: unknown figure 'jct'; allowed: claim, jct_memory")
    (tmp_path / "file").write_text("")
    refused = CliRunner().invoke(cli.app, ["figures", "claim", "--results", str(tmp_path / "file")])
    assert refused.exit_code == 2
    assert refused.output.startswith("esa: results: cannot make the folder")
