"""ExeGPT's search as a command: layers are timed, or read from a file, then the best plan under each limit on latency.

print_plans(profile, Cluster("opt-13b", "a40", 4), "exegpt-s", [3.1, 11.5], console)      # `esa exegpt`
print_table_6(profile, console)                                                           # `esa exegpt --table-6`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from esa.serving.exegpt.profiler import Profile
from esa.serving.exegpt.scheduler import Cluster, Plan, Scheduled, Simulator, Task, schedule


class Published(NamedTuple):
    """A row of ExeGPT's Table 6: controls, and what they came to. iterations: of a phase, 0 for WAA."""

    limit_s: float
    batch: int
    iterations: int
    together: int
    latency_s: float
    throughput: float


TABLE_6 = (
    Published(3.1, 4, 0, 2, 3.01, 22.41),
    Published(5.9, 10, 0, 2, 4.11, 23.76),
    Published(11.5, 52, 13, 4, 10.23, 25.23),
    Published(float("inf"), 49, 7, 4, 16.87, 26.15),
)
TABLE_6_CLUSTER, TABLE_6_TASK = Cluster("opt-13b", "a40", 4), "exegpt-s"


def print_plans(profile: Profile, cluster: Cluster, task: str, limits_s: Sequence[float], console: Console) -> None:
    """A line for each limit: the plan, and what either policy comes to. BadInput before anything is printed."""
    work = Task.of(task)
    found = [
        [schedule(profile, cluster, work, limit, policies=which) for which in (("rra",), ("waa-c", "waa-m"))]
        for limit in limits_s
    ]
    title = f"{cluster.model} on {cluster.gpus} {cluster.gpu}, {task}: the 99th percentile's answer within the limit"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("limit, s", "best plan", "latency, s", "queries a second", "rra", "waa", "evaluated"):
        table.add_column(name, justify="left" if name == "best plan" else "right")
    for limit, both in zip(limits_s, found, strict=True):
        best = max(both, key=lambda one: one.throughput)
        asked, points = (sum(getattr(one, name) for one in both) for name in ("evaluations", "points"))
        text, latency = ("none", "-") if best.plan is None else (best.plan.text, f"{best.latency_s:.2f}")
        each = [_throughput(one) for one in (best, *both)]
        table.add_row(f"{limit:g}", text, latency, *each, f"{asked} of {points}")
    console.print(table)


def table_6(profile: Profile) -> list[tuple[Published, Plan, float, float]]:
    """Each row with its plan, and the latency and queries a second that the profile predicts for it.

    All GPUs in groups are one group; WAA has one batch of its decoders. The table says neither, nor how WAA's GPUs are
    split: each split that leaves decoders enough is a line of its own. BadInput for what the profile has not.
    """
    simulator = Simulator(profile, TABLE_6_CLUSTER, Task.of(TABLE_6_TASK))
    found = []
    for row in TABLE_6:
        if row.iterations:
            plans = [Plan("rra", row.batch, row.together, row.together, row.iterations)]
        else:
            splits = range(1, TABLE_6_CLUSTER.gpus - row.together + 1)
            plans = [Plan("waa", row.batch, row.together, row.together, 0, 1, encoders) for encoders in splits]
        for plan in plans:
            throughput, latency_s = simulator.evaluate(plan)
            found.append((row, plan, latency_s, throughput))
    return found


def print_table_6(profile: Profile, console: Console) -> None:
    """The published controls' figures, as published and as predicted. BadInput before anything is printed."""
    found = table_6(profile)
    own = TABLE_6_CLUSTER
    title = f"ExeGPT's Table 6, {own.model} on {own.gpus} {own.gpu}, {TABLE_6_TASK}: as published, and by the profile"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("limit, s", "plan", "latency, s", "predicted", "over it", "queries a second", "predicted", "over it"):
        table.add_column(name, justify="left" if name == "plan" else "right")
    for row, plan, latency_s, throughput in found:
        table.add_row(
            f"{row.limit_s:g}",
            plan.text,
            f"{row.latency_s:.2f}",
            f"{latency_s:.2f}",
            f"{latency_s / row.latency_s:.2f}",
            f"{row.throughput:.2f}",
            f"{throughput:.2f}",
            f"{throughput / row.throughput:.2f}",
        )
    console.print(table)


def _throughput(found: Scheduled) -> str:
    return "-" if found.plan is None else f"{found.throughput:.2f}"
