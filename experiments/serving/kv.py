"""JCT of disaggregated inference by method of KV cache and by rate of the NICs, with intervals over seeds: `esa kv`.

    found = evaluate(scenario, "hack", gbps=10, rate=0.15, seed=1)     # seconds, means over the requests

All methods have the same requests, seed by seed. A reduction is 1 minus the ratio of mean JCT, seed by seed.
"""

from __future__ import annotations

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
from esa.report.statistics import Interval, mean_interval, ratio_interval
from esa.serving.arrivals import Arrivals, drawn_requests
from esa.serving.costs.stages import stage_times
from esa.serving.disaggregated import Instances, Served, serve_disaggregated
from esa.serving.kv_methods import METHODS, method_of
from esa.serving.lengths import Between, Lengths, lengths_of
from esa.serving.models import gpu_of, model_of
from esa.serving.network import Port
from esa.serving.requests import Request
from esa.serving_network.kv_flows import KvFlows
from experiments.common.csv_text import csv_text
from experiments.common.folders import give_to_caller, new_folder, write_whole
from experiments.common.part_progress import PartProgress
from experiments.common.processes import local_executor
from experiments.specs.kv import FIRST, InstanceSpec, KvScenario, RequestSpec
from experiments.studies.figures import draw

PUBLISHED = (
    "published (arXiv 2502.03589): JCT over FP16 -70.9 % at most, over KV quantisation -52.3 % at most; other GPUs, "
    "models and loads"
)
_GIB = 2**30


class Place(NamedTuple):
    """One run."""

    method: str
    gbps: float
    rate: float
    seed: int


class Found(NamedTuple):
    """Seconds, means over the requests but for the percentile; mib: of a cache on the wire; tpot_s: of a token after
    the first.
    """

    jct_s: float
    jct_99_s: float
    wait_s: float
    prompt_s: float
    pull_s: float  # coding, and waiting for room
    transfer_s: float
    decode_s: float
    tpot_s: float
    mib: float


def requests_of(spec: RequestSpec, rate: float, seed: int) -> list[Request]:
    lengths: Lengths
    if spec.lengths is not None:
        lengths = lengths_of(spec.lengths)
    else:
        assert spec.prompt is not None
        assert spec.output is not None
        lengths = Between(spec.prompt, spec.output)
    return drawn_requests(spec.count, Arrivals(rate), lengths, seed)


def instances_of(spec: InstanceSpec, model: str, port: Port | None = None) -> Instances:
    """BadInput for what does not fit or is not known. port: under collectives, a host for each GPU, in place of the
    GPU's own fabric.
    """
    shape, gpu = model_of(model), gpu_of(spec.gpu)
    per_host = 8 if port is None else 1
    times = stage_times(
        model, spec.gpu, spec.tp, 1, port=port, per_host=per_host, overhead_ms=spec.overhead_ms, source=spec.times
    )
    room = spec.tp * gpu.memory_gib * _GIB * spec.memory - spec.tp * shape.weight_bytes(spec.tp)
    if room <= 0:
        raise BadInput(f"{model} on {spec.tp} {spec.gpu}: its weights leave no room; allowed: more GPUs")
    return Instances(gpu, spec.tp, times, spec.count, spec.pace, spec.most_tokens, spec.cap, room)


def served(scenario: KvScenario, place: Place, port: Port | None = None) -> list[Served]:
    """Every request of a run. port: as of `instances_of`."""
    network = KvFlows(place.gbps * 1e9, efficiency=scenario.nic.efficiency, fixed_s=scenario.nic.fixed_ms / 1e3)
    return serve_disaggregated(
        requests_of(scenario.requests, place.rate, place.seed),
        instances_of(scenario.prefill, scenario.model, port),
        instances_of(scenario.decode, scenario.model, port),
        method_of(place.method),
        network,
        model_of(scenario.model),
        part=scenario.part,
    )


def evaluate(scenario: KvScenario, place: Place, port: Port | None = None) -> Found:
    """The run itself, a function of its arguments."""
    lives = served(scenario, place, port)
    answers = [one for one in lives if one.output > 1]
    return Found(
        fmean(one.jct_ns for one in lives) / 1e9,
        float(np.percentile([one.jct_ns for one in lives], 99)) / 1e9,
        fmean(one.began_ns - one.arrival_ns for one in lives) / 1e9,
        fmean(one.prompted_ns - one.began_ns for one in lives) / 1e9,
        fmean(one.pulled_ns - one.prompted_ns for one in lives) / 1e9,
        fmean(one.transfer_ns for one in lives) / 1e9,
        fmean(one.end_ns - one.come_ns for one in lives) / 1e9,
        fmean((one.end_ns - one.come_ns) / (one.output - 1) for one in answers) / 1e9 if answers else 0.0,
        fmean(one.octets for one in lives) / 2**20,
    )


class Grid:
    """All runs of a scenario: `grid.values("jct_s", "hack", gbps, rate)`, seed by seed."""

    def __init__(self, found: dict[Place, Found], seeds: int) -> None:
        self.found, self.seeds = found, seeds

    def values(self, figure: str, method: str, gbps: float, rate: float) -> list[float]:
        places = (Place(method, gbps, rate, seed) for seed in range(1, self.seeds + 1))
        return [float(getattr(self.found[place], figure)) for place in places]

    def reduction(self, method: str, gbps: float, rate: float, *, against: str = FIRST) -> Interval:
        """Of mean JCT, in parts of the other's."""
        ratio = ratio_interval(self.values("jct_s", method, gbps, rate), self.values("jct_s", against, gbps, rate))
        return Interval(1 - ratio.centre, 1 - ratio.high, 1 - ratio.low, ratio.seeds)


def places_of(scenario: KvScenario, seeds: int) -> list[Place]:
    return [
        Place(method, gbps, rate, seed)
        for rate in scenario.requests.rate
        for gbps in scenario.nic.gbps
        for method in scenario.methods
        for seed in range(1, seeds + 1)
    ]


def draw_kv(scenario: KvScenario, seeds: int, results: Path, jobs: int | None, console: Console) -> Grid:
    """Run everything, print the table, keep it with its picture. BadInput before anything runs."""
    for spec in (scenario.prefill, scenario.decode):
        instances_of(spec, scenario.model)
    folder = new_folder(results, scenario.name)
    (folder / "scenario.toml").write_text(scenario.to_toml())
    places = places_of(scenario, seeds)
    found: dict[Place, Found] = {}
    with (
        interruptible("nothing is kept"),
        local_executor(jobs) as executor,
        PartProgress(console, scenario.name) as shown,
    ):
        running = {executor.submit(evaluate, scenario, place): place for place in places}
        for future in as_completed(running):
            found[running[future]] = future.result()
            shown.part(len(found) / len(places))
    grid = Grid(found, seeds)
    write_whole(
        folder / "kv.csv", csv_text([*Place._fields, *Found._fields], ([*place, *found[place]] for place in places))
    )
    canvas = Canvas((4.0 * len(scenario.requests.rate) + 2.2, 3.8), layout="constrained")
    picture(canvas, scenario, grid)
    draw.save(canvas, folder / "kv.png")
    give_to_caller(folder)
    console.print(table(scenario, grid))
    console.print(PUBLISHED, highlight=False, soft_wrap=True)
    console.print(f"picture: {folder / 'kv.png'}; every run: {folder / 'kv.csv'}", highlight=False, soft_wrap=True)
    return grid


def table(scenario: KvScenario, grid: Grid) -> Table:
    """For people: mean JCT, what it consists of, what is saved of FP16's."""
    shown = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title=f"{scenario.name}: seconds, means of requests, {grid.seeds} seeds"
    )
    for name in ("requests/s", "Gb/s", "cache", "MiB", "JCT", "wait", "prompt", "to pull", "transfer", "decode",
                 "JCT saved, %"):  # fmt: skip
        shown.add_column(name, justify="left" if name == "cache" else "right", no_wrap=True)
    for rate in scenario.requests.rate:
        for gbps in scenario.nic.gbps:
            for method in scenario.methods:
                jct = mean_interval(grid.values("jct_s", method, gbps, rate))
                parts = (fmean(grid.values(name, method, gbps, rate)) for name in Found._fields[2:7])
                shown.add_row(
                    f"{rate:g}",
                    f"{gbps:g}",
                    method,
                    f"{fmean(grid.values('mib', method, gbps, rate)):.0f}",
                    f"{jct.centre:.2f} ± {jct.high - jct.centre:.2f}",
                    *(f"{part:.2f}" for part in parts),
                    "-" if method == FIRST else percent(grid.reduction(method, gbps, rate)),
                )
    return shown


def percent(one: Interval) -> str:
    return f"{100 * one.centre:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


def picture(canvas: Canvas, scenario: KvScenario, grid: Grid) -> None:
    """What is saved of FP16's mean JCT over the NICs' rate, a panel for each rate of requests."""
    rates = scenario.requests.rate
    for axes, rate in zip(canvas.subplots(1, len(rates), squeeze=False)[0], rates, strict=True):
        for number, method in enumerate(name for name in METHODS if name in scenario.methods and name != FIRST):
            saved = [grid.reduction(method, gbps, rate) for gbps in scenario.nic.gbps]
            in_percent = [Interval(100 * one.centre, 100 * one.low, 100 * one.high, one.seeds) for one in saved]
            draw.line(axes, method, scenario.nic.gbps, in_percent, color=draw.BARS[number], label=method)
        draw.log_places(axes, scenario.nic.gbps)
        axes.axhline(0, color=draw.GREY, linewidth=1)
        axes.set_xlabel("NIC, Gb/s")
        axes.set_ylabel("mean JCT saved of FP16's, %")
        axes.set_title(f"{rate:g} requests a second")
        draw.grid(axes)
    draw.legend(axes)
