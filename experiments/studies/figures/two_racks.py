"""The cost of two racks: the same jobs behind one switch, or half of each job's workers in each of two racks.

A job over several racks has its PS in a rack without its workers (`esa/entries/tiers.py`): here all PSs sit in a third.
The cables between racks and spines carry 400 Gb/s, or as little as the hosts' where that is to be seen, without and
with marks that windows yield to. The way is longer, so all have a window of 256.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from matplotlib.figure import Figure as Canvas

from esa.report.statistics import mean_interval, ratio_interval
from experiments.studies.figures import draw
from experiments.studies.figures.base import POLICIES, Effort, simulation
from experiments.studies.figures.cells import Cells, Point
from experiments.studies.figures.figure import Figure, Row, Shown, mean_text, ratio_text

JOBS, PER_RACK = 8, 2  # workers of a job in each of its racks
ONE_RACK = "one rack"
_HOSTS = JOBS * PER_RACK  # of a rack with workers
_ECN_PACKETS = 32
_SPINES: dict[str, Mapping[str, Any]] = {
    "two racks, 1 spine": {"spines": 1, "spine_rate": "400 Gb/s"},
    "two racks, 2 spines": {"spines": 2, "spine_rate": "400 Gb/s"},
    "two racks, 1 spine, 100 Gb/s": {"spines": 1, "spine_rate": "100 Gb/s"},
    f"the same, ECN above {_ECN_PACKETS} packets": {
        "spines": 1,
        "spine_rate": "100 Gb/s",
        "ecn_packets": _ECN_PACKETS,
    },
}
LAYOUTS = (ONE_RACK, *_SPINES)


def _layout(name: str) -> Mapping[str, Any]:
    if name == ONE_RACK:
        return {}
    places = [
        (*(rack * _HOSTS + PER_RACK * job + k for rack in range(2) for k in range(PER_RACK)), 2 * _HOSTS + job)
        for job in range(JOBS)
    ]
    return {"places": places, "network": {"racks": (_HOSTS, _HOSTS, JOBS), **_SPINES[name]}}


def _points(effort: Effort) -> list[Point]:
    return [
        Point(
            {"layout": name, "policy": policy}, simulation(effort, policy, seed, job={"window": 256}, **_layout(name))
        )
        for name in LAYOUTS
        for policy in POLICIES
        for seed in effort.seeds
    ]


def _show(cells: Cells) -> Shown:
    rows: list[Row] = []
    lines = []
    for policy in POLICIES:
        here = cells.values("jct_ms", layout=ONE_RACK, policy=policy)
        line = [draw.NAMES[policy], mean_text(mean_interval(here))]
        for name in LAYOUTS:
            own = cells.values("jct_ms", layout=name, policy=policy)
            ratio = ratio_interval(own, here)
            rows.append({"policy": policy, "layout": name, "jct_ms": mean_interval(own), "per_one_rack": ratio})
            if name != ONE_RACK:
                line.append(ratio_text(ratio))
        lines.append(line)
    head = ["policy", f"{ONE_RACK}: mean JCT, ms", *(f"{name} / {ONE_RACK}" for name in LAYOUTS[1:])]
    return Shown(head, lines, rows, partial(_draw, cells))


def _draw(cells: Cells, canvas: Canvas) -> None:
    axes = canvas.subplots()
    width = 0.8 / len(LAYOUTS)
    for k, name in enumerate(LAYOUTS):
        found = [mean_interval(cells.values("jct_ms", layout=name, policy=policy)) for policy in POLICIES]
        axes.bar(
            [i + (k - (len(LAYOUTS) - 1) / 2) * width for i in range(len(POLICIES))],
            [one.centre for one in found],
            width,
            yerr=[[one.centre - one.low for one in found], [one.high - one.centre for one in found]],
            error_kw={"elinewidth": 1, "capsize": 2},
            color=draw.BARS[k],
            label=name,
        )
    axes.set_xticks(range(len(POLICIES)), [draw.NAMES[policy] for policy in POLICIES])
    axes.set_ylabel("mean JCT (ms)")
    draw.grid(axes, "y")
    draw.legend(axes)


FIGURE = Figure("two_racks", "The cost of two racks", _points, _show)
