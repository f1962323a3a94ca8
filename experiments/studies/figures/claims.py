"""What is claimed of ESA, held against the figures: each claim in a line, with its figure and whether it holds.

A claim takes from a figure's simulations the number that it is about; it holds if the whole interval lies on its side
of the limit. Simulations that `esa figures` has made are not made again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from esa.exits import interruptible
from esa.report.statistics import Interval, ratio_interval
from experiments.common.folders import give_to_caller, make_folder
from experiments.common.part_progress import PartProgress
from experiments.common.processes import local_executor
from experiments.studies.figures import ablations, bound, claim, jct_loss, memory_load_map, order
from experiments.studies.figures.base import JOBS, POLICIES, ROWS, WINDOW, Effort
from experiments.studies.figures.cells import Cells
from experiments.studies.figures.figure import Figure, ratio_text
from experiments.studies.figures.run import make_figure
from experiments.virtual.sweep import SweepError

CLAIMED = 1.35  # the abstract of arXiv 2201.06398: "up to"
_TOLD_APART = 1.005  # what is called better is better by more than nothing
MOST_JCT_UNDER_LOSS = {0.0001: 1.03, 0.001: 1.15, 0.01: 1.7, 0.05: 3.0}  # ours, of the JCT without loss


@dataclass(frozen=True)
class Found:
    """A claim's figure. limit: at least, or at most, by `at_least`."""

    claim: str
    where: str
    figure: Interval
    limit: float
    at_least: bool

    @property
    def holds(self) -> bool:
        if not self.figure.known:
            return False
        return self.figure.low >= self.limit if self.at_least else self.figure.high <= self.limit


def _beats_atp(cells: Cells) -> list[Found]:
    ratios = {rows: claim.best_ratio(cells, rows) for rows in cells.places("rows")}
    rows = max(ratios, key=lambda place: ratios[place].low)
    return [Found("ATP / ESA, each with its best window, somewhere", f"{rows} rows", ratios[rows], CLAIMED, True)]


def _is_first_on_the_map(cells: Cells) -> list[Found]:
    found = []
    for other in memory_load_map.OTHERS:
        ratios = {
            (jobs, rows): memory_load_map.ratio(cells, other, jobs, rows)
            for jobs in cells.places("jobs")
            for rows in memory_load_map.memories(cells)
        }
        (jobs, rows), lowest = min(ratios.items(), key=lambda place: place[1].centre)
        text = f"{other} / ESA everywhere on the map, less a hundredth"
        found.append(Found(text, f"lowest: {jobs} jobs, {rows} rows", lowest, 0.99, True))
    return found


def _needs_no_more_memory(cells: Cells) -> list[Found]:
    _, best = bound.best_bound(cells)
    ample = [rows for rows in cells.places("place") if rows >= JOBS * WINDOW]
    ratios = {rows: ratio_interval(cells.values("jct_ms", place=rows, policy="esa"), best) for rows in ample}
    rows = max(ratios, key=lambda place: ratios[place].high)
    text = "ESA / unlimited memory, where every window has its rows"
    return [Found(text, f"highest: {rows} rows", ratios[rows], 1.03, False)]


def _stands_loss(rows: int) -> Callable[[Cells], list[Found]]:
    def found(cells: Cells) -> list[Found]:
        none, *losses = cells.places("place")
        own = {loss: cells.values("jct_ms", place=loss, policy="esa") for loss in (none, *losses)}
        result = [
            Found(
                f"ESA / ESA without loss, {rows} rows",
                f"{100 * loss:g} % lost",
                ratio_interval(own[loss], own[none]),
                MOST_JCT_UNDER_LOSS[loss],
                False,
            )
            for loss in losses
        ]
        others = {
            (policy, loss): ratio_interval(cells.values("jct_ms", place=loss, policy=policy), own[loss])
            for policy in POLICIES
            if policy != "esa"
            for loss in own
        }
        (policy, loss), lowest = min(others.items(), key=lambda place: place[1].centre)
        text = f"any other / ESA at any loss, {rows} rows, less a hundredth"
        return [*result, Found(text, f"lowest: {policy}, {100 * loss:g} %", lowest, 0.99, True)]

    return found


def _comparing_priorities_pays(cells: Cells) -> list[Found]:
    return [found for other in ablations.UNCOMPARED for found in _compared(cells, other)]


def _compared(cells: Cells, other: str) -> list[Found]:
    ratios = {place: ablations.ratio(cells, other, place) for place in ablations.CONDITIONS}
    highest = max(ratios, key=lambda place: ratios[place].low)
    lowest = min(ratios, key=lambda place: ratios[place].centre)
    return [
        Found(f"{other} / comparing by classes, somewhere", highest, ratios[highest], _TOLD_APART, True),
        Found(f"{other} / comparing by classes, everywhere, less a hundredth", lowest, ratios[lowest], 0.99, True),
    ]


def _keeps_its_lead_over_a_ring(cells: Cells) -> list[Found]:
    by = (order.RING, order.FRONT_FIRST)
    ratios = {
        (load, sums): order.ratio(cells, load, by, (sums, order.FRONT_FIRST))
        for load in order.LOADS
        for sums in order.SUMS
        if sums != order.RING
    }
    (load, sums), lowest = min(ratios.items(), key=lambda place: place[1].centre)
    return [Found("ring / ESA, both with front layers first", f"lowest: {sums}, {load}", lowest, 1.0, True)]


CLAIMS: Sequence[tuple[Figure, Callable[[Cells], list[Found]]]] = (
    (claim.FIGURE, _beats_atp),
    (memory_load_map.FIGURE, _is_first_on_the_map),
    (bound.FIGURE, _needs_no_more_memory),
    (ablations.FIGURE, _comparing_priorities_pays),
    (order.FIGURE, _keeps_its_lead_over_a_ring),
    (jct_loss.FIGURE, _stands_loss(ROWS)),
    (jct_loss.AMPLE, _stands_loss(jct_loss.AMPLE_ROWS)),
)


def check_claims(quick: bool, results: Path, jobs: int | None) -> None:
    """Print each claim; SweepError, one line, if one falls short."""
    kept = results / "figures"
    folder = make_folder(kept / "quick" if quick else kept)
    console = Console(width=max(Console().width, 120))
    found: list[Found] = []
    try:
        with (
            interruptible("finished simulations are kept, the same command goes on from there"),
            local_executor(jobs) as executor,
        ):
            for figure, claims in CLAIMS:
                with PartProgress(console, figure.name) as shown:
                    made = make_figure(figure, Effort(quick), executor, kept, folder, shown.part)
                found += claims(made.cells)
    finally:
        give_to_caller(kept)
    console.print(_table(found))
    short = [one for one in found if not one.holds]
    if short:
        raise SweepError(f"{len(short)} of {len(found)} claims fall short: {short[0].claim}, {short[0].where}")


def _table(found: Sequence[Found]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("claim", "where", "figure", "limit", ""):
        table.add_column(name, overflow="fold")
    for one in found:
        limit = f"{'at least' if one.at_least else 'at most'} {one.limit:g}"
        table.add_row(one.claim, one.where, ratio_text(one.figure), limit, "holds" if one.holds else "falls short")
    return table
