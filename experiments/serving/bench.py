"""Vidur-Bench: each scheduler under each workload, one table of figures with intervals over seeds.

    cells, folder, cut = run_bench(ServingBench.load(path), Path("results"), console)    # `esa vidur-bench`

The folder holds the bench as resolved, `bench.csv`, a line for each figure of each cell, and a folder for each run with
its `summary.json`, as `esa serve` writes it. All schedulers get the same requests, seed by seed; each runs all of them
to their end.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from esa.report.records import ServingSummary, SpreadSummary, Summary
from esa.report.statistics import Interval, mean_interval
from esa.signals import ending_asks
from experiments.common.folders import give_to_caller, new_folder
from experiments.common.part_progress import PartProgress
from experiments.serving.run import evaluate, serving_of
from experiments.serving.side_by_side import side_by_side
from experiments.specs.serving import ServingScenario
from experiments.specs.serving_bench import ServingBench

RESULTS_FILE = "bench.csv"
Figure = Callable[[ServingSummary], float | None]


def _of(spread: str, part: str) -> Figure:
    def found(summary: ServingSummary) -> float | None:
        one: SpreadSummary | None = getattr(summary, spread)
        return None if one is None else float(getattr(one, part))

    return found


# By what they are called in the file: the figure, the table's head, and by what it is multiplied there.
FIGURES: dict[str, tuple[Figure, str, float]] = {
    "ttft_p50_s": (_of("ttft", "p50"), "ttft 50 %, s", 1.0),
    "ttft_p90_s": (_of("ttft", "p90"), "90 %, s", 1.0),
    "tbt_p50_s": (_of("tbt", "p50"), "tbt 50 %, ms", 1e3),
    "tbt_p99_s": (_of("tbt", "p99"), "99 %, ms", 1e3),
    "latency_per_token_p50_s": (_of("latency_per_token", "p50"), "by token 50 %, ms", 1e3),
    "scheduling_delay_p99_s": (_of("scheduling_delay", "p99"), "delay 99 %, s", 1.0),
    "mfu": (lambda one: one.mfu, "MFU, %", 100.0),
    "peak_memory": (lambda one: one.peak_memory, "memory, %", 100.0),
    "busy": (lambda one: one.busy, "busy, %", 100.0),
}


@dataclass(frozen=True)
class Cell:
    """A workload under a scheduler: its runs' summaries, seed by seed."""

    workload: str
    scheduler: str
    summaries: tuple[Summary, ...]

    def interval(self, figure: str) -> Interval | None:
        """Over the seeds; None where one of them has no such figure."""
        of = FIGURES[figure][0]
        values = [None if one.serving is None else of(one.serving) for one in self.summaries]
        known = [value for value in values if value is not None]
        return mean_interval(known) if len(known) == len(values) > 1 else None


def run_of(scenario: ServingScenario) -> Summary:
    """One run to its end."""
    return evaluate(scenario, serving_of(scenario, Path()))[0]


def run_bench(spec: ServingBench, results: Path, console: Console, processes: int = 1) -> tuple[list[Cell], Path, bool]:
    """Whole cells, the folder, and whether it was asked to end before all were. BadInput before anything runs."""
    places = [(workload, scheduler) for workload in spec.workload for scheduler in spec.schedulers]
    seeds = range(spec.seed, spec.seed + spec.seeds)
    for workload, scheduler in places:
        one = spec.scenario(workload, scheduler, spec.seed)
        serving_of(one.model_copy(update={"drawn": workload.model_copy(update={"count": 1})}), Path())
    folder = new_folder(results, spec.name)
    (folder / "bench.toml").write_text(spec.to_toml())
    console.print(
        f"{spec.name}: {len(places) * spec.seeds} runs of {spec.replicas.count} of {spec.replicas.model} on "
        f"{spec.replicas.gpu}; results in {folder}",
        highlight=False,
        soft_wrap=True,
    )
    cells: list[Cell] = []
    try:
        with (
            ending_asks() as asked,
            PartProgress(console, spec.name, packets=False) as shown,
            side_by_side(processes) as several,
        ):
            for workload, scheduler in places:
                scenarios = [spec.scenario(workload, scheduler, seed) for seed in seeds]
                summaries = _summaries(scenarios, several, asked)
                for scenario, summary in zip(scenarios, summaries, strict=False):
                    kept = folder / f"{scenario.name}-{scheduler}-{scenario.seed}"
                    kept.mkdir()
                    (kept / "scenario.toml").write_text(scenario.to_toml())
                    summary.save(kept)
                if len(summaries) < len(scenarios):
                    break
                cells.append(Cell(workload.name, scheduler, tuple(summaries)))
                shown.part(len(cells) / len(places))
        (folder / RESULTS_FILE).write_text(bench_text(cells))
    finally:
        give_to_caller(folder)
    console.print(bench_table(spec, cells))
    return cells, folder, len(cells) < len(places)


def _summaries(
    scenarios: Sequence[ServingScenario], several: Callable[..., list[Summary]] | None, asked: Callable[[], bool]
) -> list[Summary]:
    """Fewer where it was asked to end."""
    if several is not None:
        return [] if asked() else several(run_of, [(one,) for one in scenarios])
    found: list[Summary] = []
    for one in scenarios:
        if asked():
            break
        found.append(run_of(one))
    return found


def bench_text(cells: Sequence[Cell]) -> str:
    """A line for each figure of each cell, in SI units; empty where a seed has none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("workload", "scheduler", "figure", "mean", "low", "high", "seeds"))
    for cell in cells:
        for name in FIGURES:
            known = cell.interval(name)
            values = ("", "", "") if known is None else known[:3]
            writer.writerow((cell.workload, cell.scheduler, name, *values, len(cell.summaries)))
    return text.getvalue()


def bench_table(spec: ServingBench, cells: Sequence[Cell]) -> Table:
    """For people: means and half of their 95 % intervals."""
    title = f"{spec.name}: {spec.seeds} seeds, 95 % intervals"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", caption_justify="left")
    for name in ("workload", "scheduler"):
        table.add_column(name, no_wrap=True)
    for _, head, _ in FIGURES.values():
        table.add_column(head, justify="right", no_wrap=True)
    for cell in cells:
        shown = [(cell.interval(name), factor) for name, (_, _, factor) in FIGURES.items()]
        table.add_row(cell.workload, cell.scheduler, *("-" if one is None else _text(one, by) for one, by in shown))
    rates = ", ".join(f"{one.name} {one.rate:g} ({one.count})" for one in spec.workload)
    table.caption = f"requests a second (and how many): {rates}"
    return table


def _text(found: Interval, factor: float) -> str:
    return f"{factor * found.centre:.3g} ± {factor * (found.high - found.centre):.2g}"
