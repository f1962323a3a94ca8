"""A task's host thread: when it makes its next launch. Compiled."""

from __future__ import annotations

import numpy as np

from esa.gpu.rules import PENDING
from esa.gpu.state import NEVER, PPM, World
from esa.native import native_uncounted as native


@native
def duration(world: World, task: int, launch: int) -> int:
    """How long that launch's kernel really takes, ns."""
    mine = world.tasks[task]
    mean = world.kernels[mine["first"] + launch % mine["count"]]["duration_ns"]
    row = (launch * len(world.tasks) + task) % len(world.scatter)
    return int(max(1, mean + mean * world.scatter[row, 0] // PPM))


@native
def comes_back(task: np.void, launch: int) -> bool:
    """Whether that launch of a task (its record) is the first one after it was away: there was no request of it."""
    return launch == 0 or (task["arrivals_from"] >= 0 and launch % task["count"] == 0)


@native
def host_goes_on(world: World, task: int, now: int, hook_ns: int) -> None:
    """Say when the host makes its next launch, if nothing holds it; it made its last one, or a kernel ended, now."""
    mine = world.tasks[task]
    launch = mine["issued"]
    place = launch % mine["count"]
    kernel = mine["first"] + place
    begins = now
    if place == 0:
        request = launch // mine["count"]
        if mine["done"] < launch or request >= mine["requests"]:
            return
        if mine["arrivals_from"] >= 0:
            came = world.arrivals[mine["arrivals_from"] + request]
        elif request == 0:
            came = mine["start_ns"]
        else:
            came = now + mine["think_ns"]
        if mine["requests"] != NEVER:
            world.kept[mine["kept_from"] + request, 0] = came
        begins = max(now, came)
    elif (world.kernels[kernel]["waits"] and mine["done"] < launch) or launch - mine["done"] >= PENDING:
        return
    work = world.kernels[kernel]["issue_ns"]
    row = (launch * len(world.tasks) + task) % len(world.scatter)
    mine["host_at"] = begins + max(0, work + work * world.scatter[row, 1] // PPM) + hook_ns
