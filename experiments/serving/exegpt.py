"""ExeGPT's search as a command: layers are timed, or read from a file, then the best plan under each limit on latency.

print_plans(profile, Cluster("opt-13b", "a40", 4), "exegpt-s", [3.1, 11.5], console)      # `esa exegpt`
"""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from esa.serving.exegpt.profiler import Profile
from esa.serving.exegpt.scheduler import Cluster, Scheduled, Task, schedule


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


def _throughput(found: Scheduled) -> str:
    return "-" if found.plan is None else f"{found.throughput:.2f}"
