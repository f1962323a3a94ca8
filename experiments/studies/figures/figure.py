"""What a figure is: simulations, and what to make of their results.

    FIGURE = Figure("jct_memory", "Mean JCT against switch memory", points, show)

`points` says what is simulated, `show` makes of the results a table, the rows of a CSV file and a picture. Neither
knows where simulations run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure as Canvas

from esa.report.statistics import Interval
from experiments.specs.scenario import Scenario
from experiments.studies.figures.base import Effort
from experiments.studies.figures.cells import Cells, Place, Point
from experiments.virtual.translate import plan_of

Row = dict[str, Place | Interval]  # of a CSV file; an interval is three columns


@dataclass(frozen=True)
class Shown:
    """head, lines: the table for people. rows: everything, for machines. notes: what a reader should not miss.

    drawn: what the picture shows of the seeds.
    """

    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    rows: Sequence[Row]
    draw: Callable[[Canvas], None]
    notes: Sequence[str] = ()
    size_inches: tuple[float, float] = (7.5, 4.2)
    drawn: str = "95 % intervals over the seeds"


@dataclass(frozen=True)
class Figure:
    name: str
    title: str
    points: Callable[[Effort], list[Point]]
    show: Callable[[Cells], Shown]


def mean_text(interval: Interval, digits: int = 3) -> str:
    """A mean as "1.238 ± 0.012"."""
    if not interval.known:
        return "did not end"
    return f"{interval.centre:.{digits}f} ± {interval.high - interval.centre:.{digits}f}"


def ratio_text(interval: Interval) -> str:
    """A ratio as "1.67 [1.63, 1.71]"."""
    if not interval.known:
        return "did not end"
    return f"{interval.centre:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def estimated_hops(scenario: Scenario) -> float:
    """About how many packet-hops a simulation takes: what it costs. Lost packets are not reckoned with."""
    plan = plan_of(scenario)
    hops = 0.0
    for job in plan.jobs:
        per_iteration = sum(math.ceil(bucket.bytes / (4 * plan.wire_lanes)) for bucket in job.buckets)
        per_fragment = {"atp": 3.0, "a2tp": 3.0, "esa-ack": 3.0, "ps": 4.0}.get(job.policy, 2.2)
        hops += per_fragment * per_iteration * job.iterations * job.workers
    return hops * (2.0 if len(plan.fabric.racks) > 1 else 1.0)
