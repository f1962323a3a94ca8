"""What a filled gap costs whom, by switch policy, rows and prediction of the gap, over seeds: `esa gaps`.

Three jobs of four ranks share a switch; one GPU of the first is filled with kernels of another task while it waits for
gradients (`esa/gpu_network/holders.py`). A seed draws the fillers' kernels and when the neighbours begin; all
predictions have the same, so an inflation is a ratio seed by seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import as_completed
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure as Canvas
from rich import box
from rich.console import Console
from rich.table import Table

from esa.errors import BadInput
from esa.exits import interruptible
from esa.gpu_network.holders import MEASURED, Filling, run_holder
from esa.report.statistics import Interval, mean_interval, ratio_interval
from esa.serving_network.jobs import Training
from esa.serving_network.network import SharedNetwork
from experiments.common.csv_text import csv_text
from experiments.common.folders import give_to_caller, make_folder, write_whole
from experiments.common.part_progress import PartProgress
from experiments.common.processes import local_executor
from experiments.studies.figures import draw

POLICIES = ("esa", "atp", "switchml", "ps")
ROWS = (256, 1024)
RANKS, JOBS = 4, 3
MODEL, SCALE = "communication-heavy", 0.05  # 1.2 ms an iteration
WINDOW = 128
KERNELS = 40  # of the fillers' task
FIRST = "none"  # what is filled is held against


class Setting(NamedTuple):
    """Of all runs. kernel_us, spread: of fillers, a log-normal's median and deviation of the logarithm. slice_us,
    switch_us: of time slices.
    """

    kernel_us: float = 300.0
    spread: float = 0.5
    ranks: int = 1
    iterations: int = 12
    slice_us: float = 500.0
    switch_us: float = 50.0


class Place(NamedTuple):
    """One run."""

    policy: str
    rows: int
    predictor: str
    seed: int


class Found(NamedTuple):
    """Seconds of an iteration, but for `rows` and `waited`, parts of the switch's."""

    holder_s: float
    neighbours_s: float
    gap_s: float
    filled_s: float
    late_s: float
    late_most_s: float
    rows: float
    waited: float


def network_of(policy: str, rows: int) -> SharedNetwork:
    """SwitchML's window is half of a job's part of the rows. BadInput."""
    window = WINDOW
    if policy == "switchml":
        window = min(WINDOW, 2 ** int(math.log2(max(1, rows // (2 * JOBS)))))
    return SharedNetwork(hosts=RANKS * JOBS, carrier=policy, rows=rows, window=window)


def find(place: Place, setting: Setting) -> Found:
    """The run itself, a function of its arguments."""
    random = np.random.default_rng((place.seed, 0x6A9))
    kernels = np.exp(setting.spread * random.standard_normal(KERNELS)) * setting.kernel_us * 1e3
    starts = [round(1e6 * each) for each in random.random(JOBS - 1)]
    jobs = [Training(f"job-{k}", MODEL, tuple(range(RANKS * k, RANKS * (k + 1)))) for k in range(JOBS)]
    filling = Filling(
        place.predictor,
        [[max(1, round(each)) for each in kernels]],
        setting.ranks,
        slice_ns=round(1e3 * setting.slice_us),
        switch_ns=round(1e3 * setting.switch_us),
    )
    held = run_holder(
        jobs[0],
        network_of(place.policy, place.rows),
        filling,
        jobs[1:],
        iterations=setting.iterations + MEASURED + 1,
        scale=SCALE,
        starts_ns=starts,
        seed=place.seed,
    )
    return Found(
        held.iteration_s, fmean(held.neighbours_s), held.gap_s, held.filled_s, held.late_s, held.late_most_s,
        held.rows, held.waited,
    )  # fmt: skip


def places_of(policies: Sequence[str], rows: Sequence[int], seeds: int) -> list[Place]:
    """`ps` has no rows, and one place."""
    return [
        Place(policy, each, predictor, seed)
        for policy in policies
        for each in (rows if network_of(policy, rows[0]).has_rows else rows[:1])
        for predictor in ("none", "learned", "endless")
        for seed in range(1, seeds + 1)
    ]


class Runs:
    """`runs.values("holder_s", "esa", 256, "learned")`, seed by seed."""

    def __init__(self, found: dict[Place, Found], seeds: int) -> None:
        self.found, self.seeds = found, seeds

    def values(self, figure: str, policy: str, rows: int, predictor: str) -> list[float]:
        places = (Place(policy, rows, predictor, seed) for seed in range(1, self.seeds + 1))
        return [float(getattr(self.found[place], figure)) for place in places]

    def inflation(self, figure: str, policy: str, rows: int, predictor: str) -> Interval:
        """Over the same with nothing filled."""
        return ratio_interval(self.values(figure, policy, rows, predictor), self.values(figure, policy, rows, FIRST))


def print_gaps(
    policies: Sequence[str],
    rows: Sequence[int],
    seeds: int,
    setting: Setting,
    results: Path,
    processes: int | None,
    console: Console,
) -> Runs:
    """Run everything, print the table, keep it with its picture. BadInput before anything runs."""
    if setting.iterations < 3:
        raise BadInput(f"iterations: {setting.iterations}; allowed: 3 and more")
    if not 0 < setting.kernel_us <= 1e6 or not 0 <= setting.spread <= 3:
        raise BadInput(f"kernel_us {setting.kernel_us:g}, spread {setting.spread:g}; allowed: above 0 to 1e6, 0 to 3")
    if not 1 <= setting.ranks <= RANKS:
        raise BadInput(f"ranks: {setting.ranks}; allowed: 1 to {RANKS}")
    for policy in policies:
        if policy not in POLICIES:
            raise BadInput(f"policy: unknown policy '{policy}'; allowed: {', '.join(POLICIES)}")
        for each in rows:
            network_of(policy, each)
    folder = make_folder(results / "gaps")
    places = places_of(policies, rows, seeds)
    found: dict[Place, Found] = {}
    with (
        interruptible("nothing is kept"),
        local_executor(processes) as executor,
        PartProgress(console, "gaps") as shown,
    ):
        running = {executor.submit(find, place, setting): place for place in places}
        for future in as_completed(running):
            found[running[future]] = future.result()
            shown.part(len(found) / len(places))
    runs = Runs(found, seeds)
    write_whole(
        folder / "gaps.csv", csv_text([*Place._fields, *Found._fields], ([*place, *found[place]] for place in places))
    )
    canvas = Canvas((7.5, 4.2), layout="constrained")
    picture(canvas, runs, places)
    draw.save(canvas, folder / "gaps.png")
    give_to_caller(folder)
    console.print(table(runs, places))
    console.print(f"picture: {folder / 'gaps.png'}; every run: {folder / 'gaps.csv'}", highlight=False, soft_wrap=True)
    return runs


def _cells(places: Sequence[Place]) -> list[tuple[str, int, str]]:
    return list(dict.fromkeys(place[:3] for place in places))


def table(runs: Runs, places: Sequence[Place]) -> Table:
    """For people: an iteration's figures by policy, rows and prediction."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"filled gaps, an iteration's means, {runs.seeds} seeds")
    for name in ("policy", "rows", "gap", "iteration, ms", "gap, ms", "filled, ms", "late, us", "rows that wait, %",
                 "holder", "neighbours"):  # fmt: skip
        shown.add_column(name, justify="left" if name in ("policy", "gap") else "right", no_wrap=True)
    for policy, rows, predictor in _cells(places):
        here = (policy, rows, predictor)
        mean = {name: fmean(runs.values(name, *here)) for name in Found._fields}
        jct = mean_interval([1e3 * each for each in runs.values("holder_s", *here)])
        ratios = (
            "-" if predictor == FIRST else _ratio(runs.inflation(name, *here)) for name in ("holder_s", "neighbours_s")
        )
        shown.add_row(
            policy,
            f"{rows}" if network_of(policy, rows).has_rows else "-",
            predictor,
            f"{jct.centre:.3f} ± {jct.high - jct.centre:.3f}",
            f"{1e3 * mean['gap_s']:.3f}",
            f"{1e3 * mean['filled_s']:.3f}",
            f"{1e6 * mean['late_s']:.0f}",
            f"{100 * mean['waited']:.1f}",
            *ratios,
        )
    return shown


def _ratio(one: Interval) -> str:
    return f"{one.centre:.3f} [{one.low:.3f}, {one.high:.3f}]"


def picture(canvas: Canvas, runs: Runs, places: Sequence[Place]) -> None:
    """The holder's and the neighbours' inflation over the part of an iteration that was filled, without prediction."""
    for axes, figure, label in zip(
        canvas.subplots(1, 2, sharey=True), ("holder_s", "neighbours_s"), ("holder", "neighbours"), strict=True
    ):
        for policy in dict.fromkeys(place.policy for place in places):
            for predictor, filled in (("learned", "none"), ("endless", "full")):
                here = [cell for cell in _cells(places) if cell[0] == policy and cell[2] == predictor]
                parts = [fmean(runs.values("filled_s", *cell)) / fmean(runs.values("holder_s", *cell)) for cell in here]
                ratios = [runs.inflation(figure, *cell) for cell in here]
                name = f"{draw.NAMES.get(policy, policy)}, {predictor}"
                draw.line(axes, policy, parts, ratios, label=name, linestyle="", fillstyle=filled)
        axes.axhline(1, color=draw.GREY, linewidth=1)
        axes.set_xlabel("part of an iteration that is filled")
        axes.set_title(label)
        draw.grid(axes)
    canvas.axes[0].set_ylabel("iteration, over that without fillers")
    draw.legend(canvas.axes[1])
