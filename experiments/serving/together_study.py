"""Who slows whom: a scenario's replicas and training jobs on one network, and each with the network to itself.

Without training jobs: replicas alone, by how sums are made, over the first way to make them.

    print_together(ServingScenario.load(path), path.parent, carriers, rows, degrees, seeds, console)    # `esa together`

Requests and arrivals are the same under every carrier, seed by seed; intervals are over the seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from esa.errors import BadInput
from esa.report.records import SpreadSummary, Summary
from esa.report.statistics import Interval, mean_interval, ratio_interval
from esa.serving.network import ALL_REDUCE, Group
from esa.serving.routers import RoundRobin
from esa.serving_network.jobs import Training
from esa.serving_network.together import train_alone
from esa.sim.transport.steps import TRANSPORTS
from experiments.common.part_progress import PartProgress
from experiments.serving.run import evaluate, serving_of
from experiments.serving.together import layer_part, network_of, port_of, run_together
from experiments.specs.serving import ServingScenario
from experiments.specs.toml_files import validated

WITHOUT_ROWS = ("ps", *TRANSPORTS)  # to whom rows of a switch are nothing
FIGURES = ("ttft, mean", "tbt, median", "tbt, 99 %")


@dataclass(frozen=True)
class Cell:
    """By seed, seconds: each of FIGURES alone and beside; the mean iteration of all training jobs alone and beside."""

    alone: dict[str, tuple[float, ...]]
    beside: dict[str, tuple[float, ...]]
    trains_alone: tuple[float, ...]
    trains_beside: tuple[float, ...]


def changed(scenario: ServingScenario, carrier: str, rows: int, tp: int, seed: int) -> ServingScenario:
    """The scenario so; a degree of its own spreads replicas and jobs over as many hosts as there are."""
    data = scenario.model_dump(mode="json", exclude_none=True, by_alias=True)
    data["seed"] = seed
    data["network"] |= {"carrier": carrier, "rows": rows}
    if tp != scenario.replicas.tp:
        data["replicas"] |= {"tp": tp}
        data["replicas"].pop("hosts", None)
        ranks = max(2, tp // min(tp, scenario.replicas.per_host or 1))
        data["network"]["hosts"] = max(data["network"]["hosts"], ranks)
        for one in data["training"]:
            one["hosts"] = [*range(ranks)]
    return validated(ServingScenario, data, scenario.name)


def sizes_of(carrier: str, rows: Sequence[int]) -> Sequence[int]:
    """Those of the numbers of rows that are something to the carrier: one, if none is."""
    return rows[:1] if carrier in WITHOUT_ROWS else rows


def cell(
    scenario: ServingScenario, folder: Path, carrier: str, rows: int, tp: int, seeds: int, seed_over: Callable[[], None]
) -> Cell:
    """A carrier's figures, seed by seed. seed_over: called when one is."""
    alone: dict[str, list[float]] = {name: [] for name in FIGURES}
    beside: dict[str, list[float]] = {name: [] for name in FIGURES}
    trains_alone: list[float] = []
    trains_beside: list[float] = []
    for seed in range(1, seeds + 1):
        mine = changed(scenario, carrier, rows, tp, seed)
        assert mine.network is not None
        nobody = mine.model_copy(update={"training": (), "flows": ()})
        for found, one in ((alone, nobody), (beside, mine)):
            summary, _ = evaluate(one, serving_of(one, folder))
            for name, value in _figures(summary).items():
                found[name].append(value)
        trains_beside += [_iteration(summary)]
        network, part = network_of(mine.network), layer_part(mine)
        trains_alone.append(
            fmean(
                fmean(train_alone(Training(one.name, one.model, one.hosts), network, part, seed=seed).iterations_s)
                for one in mine.training
            )
        )
        seed_over()
    return Cell(
        {name: tuple(values) for name, values in alone.items()},
        {name: tuple(values) for name, values in beside.items()},
        tuple(trains_alone),
        tuple(trains_beside),
    )


def _figures(summary: Summary) -> dict[str, float]:
    found = summary.serving
    assert found is not None
    ttft, tbt = _there(found.ttft), _there(found.tbt)
    return dict(zip(FIGURES, (ttft.mean, tbt.p50, tbt.p99), strict=True))


def _there(found: SpreadSummary | None) -> SpreadSummary:
    if found is None:
        raise BadInput("together: no request has two tokens; allowed: more requests")
    return found


def _iteration(summary: Summary) -> float:
    assert summary.serving is not None
    times = [found for found in summary.serving.beside.values() if found is not None]
    if len(times) < len(summary.jobs):
        raise BadInput("together: a training job has no whole iteration; allowed: more requests")
    return fmean(found.mean for found in times)


def print_together(
    scenario: ServingScenario,
    folder: Path,
    carriers: Sequence[str],
    rows: Sequence[int],
    degrees: Sequence[int],
    seeds: int,
    console: Console,
) -> None:
    """A table for each degree of tensor parallelism; a carrier of `WITHOUT_ROWS` has a line for all numbers of rows.

    BadInput for a scenario without network, or with flows alone.
    """
    if scenario.network is None or (scenario.flows and not scenario.training):
        raise BadInput(f"{scenario.name}: no [network], or [[flows]] without [[training]]; allowed: with them")
    for tp in degrees:  # what is wrong is said before anything runs
        for carrier in carriers:
            for size in sizes_of(carrier, rows):
                one = changed(scenario, carrier, size, tp, 1)
                assert one.network is not None
                network_of(one.network)
                serving = serving_of(one, folder)
                if one.network.idle:  # rows that are too few for a policy, say
                    port_of(one, idle=True).collective(Group(tp, one.gpus_together), ALL_REDUCE, 1)
                else:  # or for all jobs together: admitted, and nothing more
                    run_together(one, serving.requests, serving.replicas, RoundRobin(), should_stop=lambda: True)
    runs = seeds * len(degrees) * sum(len(sizes_of(carrier, rows)) for carrier in carriers)
    done = 0
    with PartProgress(console, scenario.name) as shown:

        def seed_over() -> None:
            nonlocal done
            done += 1
            shown.part(done / runs)

        for tp in degrees:
            console.print(_table(scenario, folder, carriers, rows, tp, seeds, seed_over))


def _table(
    scenario: ServingScenario,
    folder: Path,
    carriers: Sequence[str],
    rows: Sequence[int],
    tp: int,
    seeds: int,
    seed_over: Callable[[], None],
) -> Table:
    """A line for each carrier, number of rows and figure: beside the training jobs, or beside the first carrier."""
    compared = ("ms", f"over {carriers[0]}'s")
    if scenario.training:
        compared = ("alone, ms", "beside the other, over that")
    table = Table(title=f"{scenario.name}: tp {tp}, {seeds} seeds")
    for name in ("sums by", "rows", "figure", *compared):
        table.add_column(name)
    first: dict[str, tuple[float, ...]] = {}
    for carrier in carriers:
        for size in sizes_of(carrier, rows):
            if scenario.training:
                lines = _beside_lines(cell(scenario, folder, carrier, size, tp, seeds, seed_over))
            else:
                found = alone(scenario, folder, carrier, size, tp, seeds, seed_over)
                first = first or found
                lines = _alone_lines(found, first)
            for line in lines:
                table.add_row(carrier, _rows_text(carrier, size), *line)
    return table


def _beside_lines(found: Cell) -> Iterator[tuple[str, str, str]]:
    pairs = [(name, found.alone[name], found.beside[name]) for name in FIGURES]
    for name, alone, beside in (*pairs, ("training's iteration", found.trains_alone, found.trains_beside)):
        alone_ms = mean_interval([1e3 * value for value in alone])
        yield name, _text(alone_ms), _text(ratio_interval(beside, alone))


def _alone_lines(
    found: dict[str, tuple[float, ...]], first: dict[str, tuple[float, ...]]
) -> Iterator[tuple[str, str, str]]:
    for name in FIGURES:
        ms = _text(mean_interval([1e3 * value for value in found[name]]))
        yield name, ms, "1" if found is first else _text(ratio_interval(found[name], first[name]))


def _rows_text(carrier: str, rows: int) -> str:
    return "-" if carrier in WITHOUT_ROWS else f"{rows}"


def alone(
    scenario: ServingScenario, folder: Path, carrier: str, rows: int, tp: int, seeds: int, seed_over: Callable[[], None]
) -> dict[str, tuple[float, ...]]:
    """Each of FIGURES, seed by seed, with nobody beside. seed_over: called when one is."""
    found: dict[str, list[float]] = {name: [] for name in FIGURES}
    for seed in range(1, seeds + 1):
        one = changed(scenario, carrier, rows, tp, seed)
        for name, value in _figures(evaluate(one, serving_of(one, folder))[0]).items():
            found[name].append(value)
        seed_over()
    return {name: tuple(values) for name, values in found.items()}


def _text(found: Interval) -> str:
    return f"{found.centre:.4g} [{found.low:.4g}, {found.high:.4g}]"
