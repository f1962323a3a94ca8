"""Aryl on a network: places by packing, as it has them, beside places asked of `times`, and beside no lent servers.

64 GPUs in four racks, two a host, and a rack of 32 of an inference cluster, whose flexible workers' sums cross the
spine. Jobs of 4 and 8 GPUs, half of them elastic up to twice that, train models three times as fast as the profiles'.
Each seed draws the jobs, their models and what inference needs. The settings are this project's own.
"""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure as Canvas

from esa.report.statistics import mean_interval, ratio_interval
from experiments.specs.cluster import ClusterScenario
from experiments.specs.toml_files import validated
from experiments.studies.figures import draw
from experiments.studies.figures.figure import Row, Shown, ratio_text
from experiments.studies.laboratory.points import Found, Point

POLICIES = ("esa", "ring")
SCHEDULERS = ("aryl-scaling", "aryl", "aryl-network")
NAMES = {
    "aryl-scaling": "Aryl, nothing lent",
    "aryl": "Aryl",
    "aryl-network": "Aryl, places asked of the network",
}
JOBS = 100
MEAN_INTERVAL_S = 1000.0


def scenario(seed: int, policy: str, scheduler: str) -> ClusterScenario:
    table: dict[str, Any] = {
        "name": "aryl-network",
        "seed": seed,
        "scheduler": scheduler,
        "tick_s": 60,
        "cluster": {"hosts": 32, "gpus": 2, "racks": 4, "placement": "best-fit"},
        "inference": {"hosts": 16, "gpus": 2},
        "network": {
            "level": "flows",
            "policy": policy,
            "rows": 2048,
            "oversubscription": 8,
            "models": ["resnet50", "vgg16", "bert", "inception"],
            "pace": 0.3,
        },
        "costs": {"start_s": 30, "rescale_s": 30, "migrate_s": 30, "checkpoint": 60},
        "synthetic": {
            "jobs": JOBS,
            "mean_interval_s": MEAN_INTERVAL_S,
            "least_gpus": 4,
            "most_gpus": 8,
            "elastic": 0.5,
        },
    }
    return validated(ClusterScenario, table, "aryl-network")


def points(seeds: range, quick: bool = False) -> list[Point]:
    """quick: under one switch policy alone."""
    return [
        Point({"policy": policy, "scheduler": scheduler}, scenario(seed, policy, scheduler))
        for policy in POLICIES[: 1 if quick else None]
        for scheduler in SCHEDULERS
        for seed in seeds
    ]


def show(found: Found) -> Shown:
    lines: list[list[str]] = []
    rows: list[Row] = []
    for policy in found.places("policy"):
        plain = {"policy": policy, "scheduler": "aryl"}
        for scheduler in SCHEDULERS:
            axes = {"policy": policy, "scheduler": scheduler}
            wait = mean_interval(found.values("mean_wait_s", **axes))
            jct = mean_interval(found.values("mean_jct_s", **axes))
            ratio = ratio_interval(found.values("mean_jct_s", **axes), found.values("mean_jct_s", **plain))
            stops = mean_interval(found.values("preemptions", **axes))
            rows.append(
                {
                    "policy": policy, "scheduler": scheduler, "wait_s": wait, "jct_s": jct, "over_aryl": ratio,
                    "preemptions": stops,
                }
            )  # fmt: skip
            lines.append(
                [
                    str(policy),
                    NAMES[scheduler],
                    f"{wait.centre:.0f} ± {wait.high - wait.centre:.0f}",
                    f"{jct.centre:.0f} ± {jct.high - jct.centre:.0f}",
                    "-" if scheduler == "aryl" else ratio_text(ratio),
                    f"{stops.centre:.0f}",
                ]
            )
    head = ["sums by", "scheduler", "mean queuing, s", "mean JCT, s", "JCT, it / Aryl", "preemptions"]
    seeds = len(found.values("mean_jct_s", policy=found.places("policy")[0], scheduler="aryl"))
    notes = [f"{seeds} seeds, 95 % intervals; rows 2048, oversubscription 8, times by flows."]
    return Shown(head, lines, rows, lambda canvas: _draw(canvas, found), notes, (6.5, 3.6))


def _draw(canvas: Canvas, found: Found) -> None:
    """Bars of mean JCT by scheduler, for each way to make sums."""
    axes = canvas.subplots()
    policies = found.places("policy")
    width = 0.8 / len(SCHEDULERS)
    for number, scheduler in enumerate(SCHEDULERS):
        means = [mean_interval(found.values("mean_jct_s", policy=each, scheduler=scheduler)) for each in policies]
        at = [place + (number - 1) * width for place in range(len(policies))]
        axes.bar(
            at,
            [each.centre for each in means],
            width,
            yerr=[each.high - each.centre for each in means],
            color=draw.BARS[number],
            label=NAMES[scheduler],
        )
    axes.set_xticks(range(len(policies)), [draw.NAMES.get(str(each), str(each)) for each in policies])
    axes.set_ylabel("mean JCT, s")
    draw.grid(axes)
    draw.legend(axes)
