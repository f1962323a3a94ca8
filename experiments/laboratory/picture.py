"""One picture: mean JCT by scheduler, switch policy and rows, timed by flows, and at some places by packets.

Every place has the same jobs, seed by seed. The check runs the first seed under the first scheduler once more at every
policy, in the middle of the rows, with `level = "packets"`; the scenario's `most_jobs` says for which components.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure as Canvas
from rich import box
from rich.console import Console
from rich.table import Table

from esa.cluster.policies import LABORATORY
from esa.errors import BadInput
from esa.exits import interruptible
from esa.network_times.network import SWITCH_POLICIES
from esa.report.statistics import Interval, mean_interval
from experiments.common.csv_text import csv_text
from experiments.common.folders import give_to_caller, make_folder, write_whole
from experiments.common.part_progress import PartProgress
from experiments.common.processes import local_executor
from experiments.laboratory.run import evaluate, laboratory_of
from experiments.specs.cluster import ClusterScenario
from experiments.specs.toml_files import one_of
from experiments.studies.figures import draw

ROWS = (128, 512, 2048)
ROWLESS = ("ps", "ring")
SCHEDULERS = ("fifo", "first-fit", "shortest-remaining", "tiresias")
WANT_TICK, TICK_S = ("least-attained", "tiresias", "optimus"), 60.0
PICTURE, FILE = "schedulers.png", "schedulers.csv"


class Place(NamedTuple):
    scheduler: str
    policy: str
    rows: int
    seed: int
    level: str = "flows"


class Found(NamedTuple):
    """by_level: parts of the jobs' GPU time."""

    place: Place
    mean_jct_s: float
    mean_wait_s: float
    by_level: dict[str, float]


def places(schedulers: Sequence[str], policies: Sequence[str], rows: Sequence[int], seeds: int) -> list[Place]:
    """All by flows, then the checks by packets."""
    middle = rows[len(rows) // 2]
    flows = [
        Place(scheduler, policy, each, seed)
        for scheduler in schedulers
        for policy in policies
        for each in ((middle,) if policy in ROWLESS else rows)
        for seed in range(1, seeds + 1)
    ]
    return [*flows, *(Place(schedulers[0], policy, middle, 1, "packets") for policy in policies)]


def find(place: Place, scenario: ClusterScenario, source: Path) -> Found:
    """Run the scenario there."""
    chosen = at(place, scenario)
    summary, _ = evaluate(chosen, laboratory_of(chosen, source))
    assert summary.cluster is not None
    assert summary.mean_jct_s is not None
    assert summary.mean_wait_s is not None
    return Found(place, summary.mean_jct_s, summary.mean_wait_s, summary.cluster.by_level)


def at(place: Place, scenario: ClusterScenario) -> ClusterScenario:
    """The scenario of a place; schedulers that want a tick get one where it has none."""
    assert scenario.network is not None
    network = scenario.network.model_copy(update={"policy": place.policy, "rows": place.rows, "level": place.level})
    changes: dict[str, Any] = {"scheduler": place.scheduler, "seed": place.seed, "network": network}
    if place.scheduler in WANT_TICK and not scenario.tick_s:
        changes["tick_s"] = TICK_S
    return scenario.model_copy(update=changes)


def draw_schedulers(
    path: Path,
    schedulers: str | None,
    policies: str | None,
    rows: str | None,
    seeds: int,
    results: Path,
    processes: int | None,
) -> None:
    """Run all places, print and draw them. BadInput for what is not known."""
    scenario = ClusterScenario.load(path)
    if scenario.network is None:
        raise BadInput(f"{path}: network: none; allowed: a scenario with [network]")
    chosen = _names("scheduler", schedulers, SCHEDULERS, tuple(LABORATORY))
    by = _names("policy", policies, SWITCH_POLICIES, SWITCH_POLICIES)
    counts = tuple(map(_rows, rows.split(","))) if rows else ROWS
    console = Console(width=max(Console().width, 120))
    folder = make_folder(results / "schedulers")
    asked = places(chosen, by, counts, seeds)
    for place in asked:
        laboratory_of(at(place, scenario), path.parent)  # refused before anything runs
    with (
        interruptible("answers are kept, the same command goes on from there"),
        local_executor(processes) as executor,
        PartProgress(console, "schedulers") as shown,
    ):
        running = {executor.submit(find, place, scenario, path.parent): place for place in asked}
        found: dict[Place, Found] = {}
        for future in as_completed(running):
            found[running[future]] = future.result()
            shown.part(len(found) / len(asked))
    done = [found[place] for place in asked]
    write_whole(folder / FILE, _csv(done))
    canvas = Canvas((3.4 * len(chosen) + 1.6, 3.8), layout="constrained")
    _draw(canvas, done, chosen, by, counts)
    draw.save(canvas, folder / PICTURE)
    give_to_caller(folder)
    console.print(_table(done, chosen, by))
    for line in checks(done):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"picture: {folder / PICTURE}; every run: {folder / FILE}", highlight=False, soft_wrap=True)


def _names(what: str, given: str | None, default: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    if given is None:
        return default
    try:
        return tuple(dict.fromkeys(one_of(what, name.strip(), known) for name in given.split(",")))
    except ValueError as error:
        raise BadInput(f"{what}: {error}") from None


def _rows(text: str) -> int:
    if not text.strip().isdecimal() or not 2 <= int(text) <= 65536 or int(text) & (int(text) - 1):
        raise BadInput(f"rows: {text.strip()}; allowed: powers of two, 2 to 65536")
    return int(text)


def mean_jct(found: Sequence[Found], scheduler: str, policy: str, rows: int | None) -> Interval:
    """Over the seeds, by flows. rows: None: the policy has none."""
    means = [
        one.mean_jct_s
        for one in found
        if (one.place.scheduler, one.place.policy, one.place.level) == (scheduler, policy, "flows")
        and rows in (None, one.place.rows)
    ]
    return mean_interval(means) if len(means) > 1 else Interval(means[0], means[0], means[0], 1)


def checks(found: Sequence[Found]) -> list[str]:
    """A line for each place that was run by packets, too."""
    flows = {one.place: one.mean_jct_s for one in found if one.place.level == "flows"}
    lines = []
    for one in found:
        if one.place.level == "packets":
            mine = flows[one.place._replace(level="flows")]
            parts = ", ".join(f"{level} {part:.0%}" for level, part in one.by_level.items())
            where = f"{one.place.scheduler}, {one.place.policy}, {one.place.rows} rows, seed {one.place.seed}"
            lines.append(
                f"check: {where}: mean JCT {mine:.0f} s by flows, {one.mean_jct_s:.0f} s by packets ({parts}): "
                f"{mine / one.mean_jct_s - 1:+.1%}"
            )
    return lines


def _table(found: Sequence[Found], schedulers: Sequence[str], policies: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="mean JCT in s, 95 % intervals over the seeds", pad_edge=False)
    table.add_column("scheduler")
    table.add_column("rows", justify="right")
    for policy in policies:
        table.add_column(draw.NAMES.get(policy, policy), justify="right")
    for scheduler in schedulers:
        for rows in sorted({one.place.rows for one in found}):
            cells = [
                _interval_text(mean_jct(found, scheduler, policy, None if policy in ROWLESS else rows))
                for policy in policies
            ]
            table.add_row(scheduler, str(rows), *cells)
    return table


def _interval_text(one: Interval) -> str:
    return f"{one.centre:.0f} ± {one.high - one.centre:.0f}" if one.low < one.high else f"{one.centre:.0f}"


def _csv(found: Sequence[Found]) -> str:
    levels = ("table", "formula", "flows", "packets")
    names = [*Place._fields, "mean_jct_s", "mean_wait_s", *(f"by_{level}" for level in levels)]
    parts = ([one.by_level.get(level, 0.0) for level in levels] for one in found)
    return csv_text(
        names,
        ([*one.place, one.mean_jct_s, one.mean_wait_s, *part] for one, part in zip(found, parts, strict=True)),
    )


def _draw(
    canvas: Canvas, found: Sequence[Found], schedulers: Sequence[str], policies: Sequence[str], rows: Sequence[int]
) -> None:
    """A panel for each scheduler; those who use no rows are drawn across; crosses: by packets."""
    every = canvas.subplots(1, len(schedulers), sharey=True, squeeze=False)[0]
    for axes, scheduler in zip(every, schedulers, strict=True):
        for policy in policies:
            rowless = policy in ROWLESS
            means = [mean_jct(found, scheduler, policy, None if rowless else each) for each in rows]
            draw.line(axes, policy, rows, means, **({"linestyle": "--", "marker": ""} if rowless else {}))
        for one in found:
            if one.place.level == "packets" and one.place.scheduler == scheduler:
                colour = draw.COLOURS.get(one.place.policy, draw.COLOURS["other"])
                axes.plot([one.place.rows], [one.mean_jct_s], "x", color=colour, markersize=9, markeredgewidth=2)
        draw.log_places(axes, rows)
        draw.grid(axes)
        axes.set_title(scheduler, fontsize=10)
        axes.set_xlabel("rows of each switch")
    every[0].set_ylabel("mean JCT in s (x: by packets, one seed)")
    every[0].set_ylim(bottom=0)
    draw.legend(every[-1])
