"""Tasks share a device under a rule: from tasks to what came of them, with their bounds held after every run.

Whatever the rule, a request ends no later than it would alone, with the same work of the host, plus the delays of its
kernels until then. Under FIKIT, a kernel of the only task of the highest priority, other than the first after it was
away, is no later than its gap was predicted too long, plus what the predictions of the gap's fillers were off. A run
that breaks either is a fault of this program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from esa.errors import BadInput
from esa.gpu.loop import run_loop
from esa.gpu.outcome import Outcome, TaskOutcome
from esa.gpu.rules import Rule, fifo
from esa.gpu.state import PPM, World, new_world
from esa.gpu.task import Task, check_tasks

MOST_KERNELS = 50_000_000
_SCATTERED = 65_521  # draws, a prime: they come again at other kernels


def share(
    tasks: Sequence[Task],
    rule: Rule,
    *,
    scatter: float = 0.0,
    host_scatter: float = 0.0,
    seed: int = 1,
    log: int = 0,
    most_kernels: int = MOST_KERNELS,
) -> Outcome:
    """Run tasks on one device. BadInput for tasks that cannot run.

    scatter, host_scatter: standard deviation of kernels' durations and of the host's work, as parts of them, drawn
    launch by launch from `seed`. log: how many kernels are logged. most_kernels: a run ends there, and says so.
    """
    check_tasks(tasks)
    check_rule(rule)
    drawn = _scatter(scatter, host_scatter, seed)
    outcome = _run(tasks, rule, drawn, log, most_kernels)
    for number, task in enumerate(tasks):
        if not task.background:
            _hold_bound(task, number, len(tasks), outcome, rule, drawn)
    return outcome


def check_rule(rule: Rule) -> None:
    """BadInput for a parameter below 0, or a device on which a task may have nothing."""
    for name, value in zip(rule._fields, rule, strict=True):
        lowest = 1 if name == "depth" else 0
        if value < lowest:
            raise BadInput(f"rule: {name}: {value}; allowed: {lowest} and more")


def _scatter(scatter: float, host_scatter: float, seed: int) -> npt.NDArray[np.int64]:
    for name, value in (("scatter", scatter), ("host_scatter", host_scatter)):
        if not 0 <= value <= 1:
            raise BadInput(f"{name}: {value:g}; allowed: 0 to 1")
    if not scatter and not host_scatter:
        return np.zeros((1, 2), np.int64)
    drawn = np.random.default_rng(seed).standard_normal((_SCATTERED, 2)) * (scatter, host_scatter)
    return np.round(PPM * np.clip(drawn, -1, None)).astype(np.int64)


def _run(
    tasks: Sequence[Task], rule: Rule, scatter: npt.NDArray[np.int64], log: int = 0, most_kernels: int = MOST_KERNELS
) -> Outcome:
    world = new_world(tasks, scatter, log)
    elapsed = int(run_loop(world, rule, most_kernels))
    idle, switch, wasted, logged = (
        int(world.device[0][name]) for name in ("idle_ns", "switch_ns", "wasted_ns", "logged")
    )
    busy = int(world.tasks["busy_ns"].sum())
    assert busy + idle + switch + wasted == elapsed, f"{busy} + {idle} + {switch} + {wasted} ns of {elapsed}"
    late = int(world.tasks["late"].sum())
    assert late == 0, f"{late} kernels of the highest priority were later than their bound"
    whole = all(
        done == task.requests
        for task, done in zip(tasks, world.tasks["requests_done"], strict=True)
        if not task.background
    )
    return Outcome(
        tasks=tuple(_of_task(task, number, world) for number, task in enumerate(tasks)),
        elapsed_ns=elapsed,
        idle_ns=idle,
        switch_ns=switch,
        wasted_ns=wasted,
        kernels=int(world.tasks["done"].sum()),
        log=world.log[:logged],
        incomplete=None if whole else f"ended after {most_kernels} kernels",
    )


def _of_task(task: Task, number: int, world: World) -> TaskOutcome:
    row = world.tasks[number]
    ended = 0 if task.background else int(row["requests_done"])
    kept = world.kept[row["kept_from"] : row["kept_from"] + ended]
    figures = {
        name: int(row[name])
        for name in ("busy_ns", "filled", "filled_ns", "delay_ns", "first_delay_ns", "worst_delay_ns")
    }
    return TaskOutcome(
        name=task.name,
        priority=task.priority,
        jct_ns=kept[:, 1] - kept[:, 0],
        ended_ns=kept[:, 1],
        delays_ns=kept[:, 2],
        kernels=int(row["done"]),
        requests=int(row["requests_done"]),
        **figures,
    )


def _hold_bound(
    task: Task, number: int, count: int, outcome: Outcome, rule: Rule, scatter: npt.NDArray[np.int64]
) -> None:
    """Each request's end is at most its end alone plus the delays until then."""
    found = outcome.tasks[number]
    if not found.requests:
        return
    alone = _alone(
        replace(task, requests=found.requests, arrivals_ns=_first(task, found.requests)), rule, scatter, number, count
    )
    over = found.ended_ns - (alone.ended_ns + found.delays_ns)
    assert over.max() <= 0, f"{task.name}: a request ended {over.max()} ns after its bound"


def _first(task: Task, requests: int) -> tuple[int, ...] | None:
    return None if task.arrivals_ns is None else task.arrivals_ns[:requests]


def _alone(task: Task, rule: Rule, scatter: npt.NDArray[np.int64], number: int, count: int) -> TaskOutcome:
    """The same launches with the same draws, and the device for itself."""
    rows = (np.arange(len(scatter)) * count + number) % len(scatter)
    return _run([task], fifo()._replace(hook_ns=rule.hook_ns), scatter[rows]).tasks[0]


def alone(task: Task, hook_ns: int = 0) -> TaskOutcome:
    """The task with the device for itself, durations and the host's work as they are. BadInput as of `share`."""
    return share([replace(task, background=False)], fifo()._replace(hook_ns=hook_ns)).tasks[0]
