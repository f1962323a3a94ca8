"""Aryl beside FIFO: loaning only, scaling only, both, over the load that jobs as Philly's offer in 15 days.

128 GPUs in 16 hosts, and as many of an inference cluster whose load follows the day. Each seed draws its jobs, who of
them is elastic, and what inference needs; its interval between submissions is such that it offers the load exactly. A
change of GPUs costs 30 s, the restart that Pollux's authors reckon with (petuum/adaptdl, branch osdi21-artifact); a job
that is stopped goes on from the last minute. The other settings are this project's own, not the paper's, which tells
ratios for a trace that is not public.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from matplotlib.figure import Figure as Canvas

from esa.laboratory.inputs.synthetic import synthetic
from esa.report.statistics import mean_interval, ratio_interval
from experiments.specs.cluster import ClusterScenario
from experiments.specs.toml_files import validated
from experiments.studies.figures import draw
from experiments.studies.figures.figure import Row, Shown, ratio_text
from experiments.studies.laboratory.points import Found, Place, Point

HOSTS, GPUS = 16, 8
DAYS = 15
JOB_GPU_S = 10_700  # of a drawn job, in the mean
LOADS = (0.9, 0.93, 0.95)
TARGET = 0.93
TARGET_WAIT_S = (2500, 3500)  # of FIFO, in the mean over the seeds: a note says whether it is
SCHEDULERS = ("fifo", "aryl-neither", "aryl-loaning", "aryl-scaling", "aryl")
NAMES = {
    "fifo": "FIFO",
    "aryl-neither": "shortest first",
    "aryl-loaning": "loaning only",
    "aryl-scaling": "scaling only",
    "aryl": "both",
}
IN_ORDER = {"order": "submission", "backfill": False}
# What is changed at the target: by name, keys of [synthetic], and of [aryl].
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "first in, first out": ({}, IN_ORDER),
    "a fifth can run on lent servers": ({"anywhere": 0.2}, {}),
    "changes charged": ({}, {"charged": True}),
    "victims = count": ({}, {"victims": "count"}),
    "victims = priority": ({}, {"victims": "priority"}),
    "victims = optimal": ({}, {"victims": "optimal"}),
}
PUBLISHED = (
    "Published, Aryl's abstract (arXiv 2202.07896): baseline / Aryl 1.53 for mean queuing and 1.50 for mean JCT, on a "
    "trace of 15 days and more than 50,000 jobs that is not public; the baseline neither loans nor scales."
)


@lru_cache
def interval_s(seed: int, load: float) -> tuple[int, float]:
    """How many jobs, and the mean interval at which this seed's offer the load."""
    gpus = HOSTS * GPUS
    count = round(DAYS * 86_400 * load * gpus / JOB_GPU_S)
    jobs = synthetic(count, 1.0, seed)
    work_s = sum(job.workers * job.work.iterations for job in jobs)
    return count, work_s / (gpus * load * (jobs[-1].submit_ns - jobs[0].submit_ns) / 1e9)


def scenario(seed: int, load: float, scheduler: str, drawn: dict[str, Any], rules: dict[str, Any]) -> ClusterScenario:
    count, mean_interval_s = interval_s(seed, load)
    table = {
        "name": "aryl",
        "seed": seed,
        "scheduler": scheduler,
        "tick_s": 60,
        "cluster": {"hosts": HOSTS, "gpus": GPUS, "racks": 2, "placement": "best-fit"},
        "inference": {"hosts": HOSTS, "gpus": GPUS},
        "costs": {"start_s": 30, "rescale_s": 30, "migrate_s": 30, "checkpoint": 60},
        "synthetic": {"jobs": count, "mean_interval_s": mean_interval_s, "elastic": 0.2} | drawn,
        "aryl": rules,
    }
    return validated(ClusterScenario, table, "aryl")


def points(seeds: range, quick: bool = False) -> list[Point]:
    """The target first, and what is changed there, then the rest of the curve. quick: the target alone."""
    found = _curve(seeds, TARGET)
    for name, (drawn, rules) in ({} if quick else CHANGES).items():
        several = ("aryl-loaning", "aryl-scaling", "aryl") if name == "first in, first out" else ("aryl",)
        found += [
            Point({"change": name, "scheduler": scheduler}, scenario(seed, TARGET, scheduler, drawn, rules))
            for scheduler in several
            for seed in seeds
        ]
    return found + [point for load in LOADS if load != TARGET and not quick for point in _curve(seeds, load)]


def _curve(seeds: range, load: float) -> list[Point]:
    return [
        Point({"load": load, "scheduler": scheduler}, scenario(seed, load, scheduler, {}, {}))
        for scheduler in SCHEDULERS
        for seed in seeds
    ]


def _loads(found: Found) -> list[float]:
    return sorted(place for place in found.places("load") if not isinstance(place, str))


def _axes(place: Place, scheduler: str) -> dict[str, Place]:
    return {"change" if isinstance(place, str) else "load": place, "scheduler": scheduler}


def show(found: Found) -> Shown:
    lines: list[list[str]] = []
    rows: list[Row] = []
    for place in [*_loads(found), *found.places("change")]:
        base = {"load": TARGET if isinstance(place, str) else place, "scheduler": "fifo"}
        for scheduler in SCHEDULERS:
            axes = _axes(place, scheduler)
            if not any(point.axes == axes for point in found.points):
                continue
            wait = mean_interval(found.values("mean_wait_s", **axes))
            jct = mean_interval(found.values("mean_jct_s", **axes))
            waits, jcts = (
                ratio_interval(found.values(name, **base), found.values(name, **axes))
                for name in ("mean_wait_s", "mean_jct_s")
            )
            stops = mean_interval(found.values("preemptions", **axes))
            usage = mean_interval(found.values("usage", **axes))
            rows.append(
                {
                    "place": place, "scheduler": scheduler, "wait_s": wait, "jct_s": jct, "wait_ratio": waits,
                    "jct_ratio": jcts, "preemptions": stops, "usage": usage,
                }
            )  # fmt: skip
            lines.append(
                [
                    place if isinstance(place, str) else f"{place:g}",
                    NAMES[scheduler],
                    f"{wait.centre:.0f} ± {wait.high - wait.centre:.0f}",
                    f"{jct.centre:.0f} ± {jct.high - jct.centre:.0f}",
                    "-" if scheduler == "fifo" else ratio_text(waits),
                    "-" if scheduler == "fifo" else ratio_text(jcts),
                    f"{stops.centre:.0f}",
                ]
            )
    head = [
        f"load, or what is changed at {TARGET:g}",
        "scheduler",
        "mean queuing, s",
        "mean JCT, s",
        "queuing, FIFO / it",
        "JCT, FIFO / it",
        "preemptions",
    ]
    return Shown(head, lines, rows, lambda canvas: _draw(canvas, found), _notes(found), (8.5, 3.8))


def _notes(found: Found) -> list[str]:
    """Whether the order is the published one, seed by seed."""
    jct = {name: found.values("mean_jct_s", load=TARGET, scheduler=name) for name in SCHEDULERS}
    wait = {name: found.values("mean_wait_s", load=TARGET, scheduler=name) for name in SCHEDULERS}
    pairs = [("aryl-loaning", "fifo"), ("aryl-scaling", "fifo"), ("aryl", "aryl-loaning"), ("aryl", "aryl-scaling")]
    seeds = len(jct["fifo"])
    text = ", ".join(
        f"{NAMES[better]} before {NAMES[worse]} in {int((jct[better] < jct[worse]).sum())} by JCT and "
        f"{int((wait[better] < wait[worse]).sum())} by queuing"
        for better, worse in pairs
    )
    mean_s, (low_s, high_s) = wait["fifo"].mean(), TARGET_WAIT_S
    hit = "within" if low_s <= mean_s <= high_s else "outside"
    target = (
        f"FIFO's mean queuing at load {TARGET:g} is {mean_s:.0f} s, {hit} the {low_s} to {high_s} s that were aimed at."
    )
    return [f"Of {seeds} seeds at load {TARGET:g}: {text}.", PUBLISHED, target]


def _draw(canvas: Canvas, found: Found) -> None:
    """Ratios over the load, and the published ones as lines."""
    loads = _loads(found)
    for axes, name, label, published in zip(
        canvas.subplots(1, 2),
        ("mean_wait_s", "mean_jct_s"),
        ("mean queuing, FIFO / it", "mean JCT, FIFO / it"),
        (1.53, 1.50),
        strict=True,
    ):
        every = []
        for number, scheduler in enumerate(SCHEDULERS[1:]):
            ratios = [
                ratio_interval(
                    found.values(name, load=load, scheduler="fifo"), found.values(name, load=load, scheduler=scheduler)
                )
                for load in loads
            ]
            every += ratios
            draw.line(axes, scheduler, loads, ratios, color=draw.BARS[number], label=NAMES[scheduler])
        axes.axhline(published, color=draw.GREY, linestyle=":", label="published")
        axes.set_xticks(loads, [f"{load:g}" for load in loads])
        draw.log_values(axes, min(1.0, draw.extent(every)[0]), draw.extent(every)[1])
        axes.set_xlabel("offered load")
        axes.set_ylabel(label)
        draw.grid(axes)
    draw.legend(axes)
