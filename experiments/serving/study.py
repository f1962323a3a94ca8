"""FastServe beside its published ratios, by the same requests under each policy, with intervals over seeds.

    print_study(seeds, requests, console)      # `esa fastserve`

A ratio is of latencies by output token, seed by seed (`esa/report/statistics.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from esa.report.statistics import Interval, mean_interval, ratio_interval
from esa.serving.arrivals import Arrivals, drawn_requests
from esa.serving.batches import decode_shape, prompt_shape
from esa.serving.core import simulate_serving
from esa.serving.costs.stages import stage_times
from esa.serving.fastserve.engine import SWAPS, Rules
from esa.serving.fastserve.instance import instance
from esa.serving.lengths import CHAT, LENGTHS, Independent, Lengths, Marginal, Uniform
from esa.serving.metrics import figures
from esa.serving.routers import RoundRobin

MODEL, GPU = "opt-13b", "a100-40"
TRACE = "lmsys-chat"
LOADS = (0.8, 0.9, 1.0)
RATIOS = (0.25, 1.0, 4.0, 16.0, 64.0)
BATCH = 16
ALPHA_S = 0.3
ARTEFACT_ALPHA_S = 3.0
NOBODY = "fastserve, nobody moves up"
WIDE = Independent(CHAT.prompt, Marginal(math.log(8), 0.8, 64, log=True))  # prompts of chats, short answers


@dataclass(frozen=True)
class Row:
    """A mean and a 95th percentile by seed, of latency by output token, in seconds."""

    mean: tuple[float, ...]
    p95: tuple[float, ...]


def capacity_rate(lengths: Lengths) -> float:
    """Requests a second that a full batch goes through, by arithmetic: the load of 1."""
    times = stage_times(MODEL, "a100", 1, 1)
    prompts, outputs = lengths.draw(20_000, np.random.default_rng(0))
    fixed = times.stage_ns(prompt_shape(1))
    context = int((prompts * outputs + outputs**2 / 2).sum() / outputs.sum())
    each = times.stage_ns(decode_shape(BATCH, BATCH * context)) / BATCH * float(outputs.mean())
    each += float(np.mean([times.stage_ns(prompt_shape(int(n))) - fixed for n in prompts[:2000]]))
    return 1e9 / each


def row(
    lengths: Lengths,
    load: float,
    policy: str,
    seeds: int,
    count: int,
    swap: str = "proactive",
    alpha_s: float | None = ALPHA_S,
) -> Row:
    """One policy, seed by seed. alpha_s: who has waited so long moves up; None: nobody."""
    rate = load * capacity_rate(lengths)
    means, p95s = [], []
    for seed in range(1, seeds + 1):
        requests = drawn_requests(count, Arrivals(rate), lengths, seed)
        alpha_ns = None if alpha_s is None else round(alpha_s * 1e9)
        replica = instance(MODEL, GPU, policy=policy, rules=Rules(batch=BATCH, swap=swap), alpha_ns=alpha_ns)
        found = figures(simulate_serving(requests, [replica], RoundRobin())).latency
        assert found is not None
        means.append(found.mean)
        p95s.append(found.p95)
    return Row(tuple(means), tuple(p95s))


def interval(values: Sequence[float]) -> str:
    """The mean and its 95 % interval."""
    return _text(mean_interval(values))


def ratio(one: Sequence[float], other: Sequence[float]) -> str:
    """Seed by seed."""
    return _text(ratio_interval(one, other))


def _text(found: Interval) -> str:
    return f"{found.centre:.3f} [{found.low:.3f}, {found.high:.3f}]"


def print_study(seeds: int, count: int, console: Console) -> None:
    """Three tables: loads and policies, ratios of prompt to answer, ways to swap."""
    chat = LENGTHS[TRACE]
    policies = ("fcfs", "naive-mlfq", "srpt", "fixed-priority", "fastserve")
    table = Table(title=f"latency by output token, {TRACE}, {count} requests, {seeds} seeds")
    for name in ("load", "policy", "mean, s", "95 %, s", "fcfs' mean over it", "fcfs' 95 % over it"):
        table.add_column(name)
    for load in LOADS:
        found = {policy: row(chat, load, policy, seeds, count) for policy in policies}
        found[NOBODY] = row(chat, load, "fastserve", seeds, count, alpha_s=None)
        first = found["fcfs"]
        for policy, one in found.items():
            table.add_row(
                f"{load:g}",
                policy,
                interval(one.mean),
                interval(one.p95),
                ratio(first.mean, one.mean),
                ratio(first.p95, one.p95),
            )
    console.print(table)
    table = Table(title="naive MLFQ's mean over FastServe's, load 0.9, 64 to 1,024 tokens")
    table.add_column("prompt : answer")
    table.add_column("ratio")
    for part in RATIOS:
        lengths = Uniform(64, 1024, part)
        naive, joined = (row(lengths, 0.9, policy, seeds, count) for policy in ("naive-mlfq", "fastserve"))
        table.add_row(f"{part:g}", ratio(naive.mean, joined.mean))
    for alpha_s in (ALPHA_S, None):
        naive, joined = (
            row(WIDE, 1.1, policy, seeds, count, alpha_s=alpha_s) for policy in ("naive-mlfq", "fastserve")
        )
        promotes = "nobody moves up" if alpha_s is None else f"alpha {alpha_s:g} s"
        table.add_row(f"chat : 8 tokens, load 1.1, {promotes}", ratio(naive.mean, joined.mean))
    console.print(table)
    table = Table(title=f"ways to swap, {TRACE}, load 0.85, mean over proactive's")
    for name in ("swap", "moves up after, s", "ratio"):
        table.add_column(name)
    for alpha_s in (ALPHA_S, ARTEFACT_ALPHA_S):
        ways = {swap: row(chat, 0.85, "fastserve", seeds, count, swap, alpha_s) for swap in SWAPS}
        for swap, one in ways.items():
            table.add_row(swap, f"{alpha_s:g}", ratio(one.mean, ways["proactive"].mean))
    console.print(table)
