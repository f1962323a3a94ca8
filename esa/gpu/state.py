"""Tasks and the device as arrays of records: what the compiled loop works on.

A task's launches are counted from 0 over all its requests; its n-th is kernel `first + n % count`. Times are ns, NEVER
where nothing is to come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.gpu.rules import PENDING
from esa.gpu.task import Task

NEVER = np.iinfo(np.int64).max
PPM = 1_000_000
UNCHECKED = -1  # a delay that no bound is known for

KERNEL = np.dtype(
    [
        ("duration_ns", np.int64),
        ("issue_ns", np.int64),  # of the host, before the launch
        ("waits", np.bool_),  # the host, until all before it are through
        ("expected_ns", np.int64),
        ("gap_ns", np.int64),  # expected after it
        ("profile", np.int64),
        ("sms", np.int64),
    ]
)
TASK = np.dtype(
    [
        # What does not change.
        ("priority", np.int64),
        ("first", np.int64),  # of its kernels
        ("count", np.int64),
        ("requests", np.int64),  # NEVER in the background
        ("think_ns", np.int64),
        ("start_ns", np.int64),
        ("checked", np.bool_),  # the only task of the highest priority: its delays have a bound
        ("arrivals_from", np.int64),  # where its arrivals begin; -1: one request after the other
        ("kept_from", np.int64),  # where its requests' times are kept
        # What does.
        ("issued", np.int64),
        ("submitted", np.int64),  # to the device
        ("done", np.int64),
        ("host_at", np.int64),  # when the host makes its next launch
        ("active", np.bool_),  # from a request's first launch to its end; if one follows the other, to the end of all
        ("last_done", np.int64),
        ("predicted", np.int64),  # when its next launch is expected
        ("requests_done", np.int64),
        ("delay_ns", np.int64),  # sum over kernels: from when each could begin to when it did
        ("first_delay_ns", np.int64),  # of that, of the first kernels of requests
        ("worst_delay_ns", np.int64),  # the longest, of kernels that are not the first of a request
        ("late", np.int64),  # kernels that were later than their bound
        ("busy_ns", np.int64),
        ("filled", np.int64),  # kernels that ran as fillers
        ("filled_ns", np.int64),
    ]
)
DEVICE = np.dtype(
    [
        ("running", np.int64),  # task; -1: none
        ("is_filler", np.bool_),
        ("began", np.int64),
        ("ends", np.int64),
        ("accounted", np.int64),  # up to where the device's time is counted
        ("idle_ns", np.int64),
        ("switch_ns", np.int64),
        ("wasted_ns", np.int64),  # of kernels that were stopped
        ("head", np.int64),  # of what was sent to it, and
        ("tail", np.int64),  # its end, both ever growing
        ("owner", np.int64),  # of the slice; -1: nobody yet
        ("slice_ends", np.int64),
        ("top", np.int64),  # the highest priority that is active; -1: none
        ("in_gap", np.bool_),
        ("gap_is_new", np.bool_),
        ("gap_began", np.int64),
        ("gap_predicted", np.int64),
        ("gap_left", np.int64),
        ("gap_error", np.int64),  # sum over the gap's fillers of how far their predictions were off
        ("passed_ns", np.int64),  # ORION: of kernels since its lower tasks' last wait
        ("logged", np.int64),
    ]
)


class World(NamedTuple):
    """Everything: tasks, their kernels, the device (one record).

    requested, allowed: (tasks, PENDING), by launch: when it was requested, and by how much it may be late
    fifo: what was sent to the device, in its order, round and round
    arrivals: of all tasks that have some; kept: (requests, 3): when each came, ended, and the task's delays until then
    scatter: (R, 2), parts per million of durations and of the host's work, by launch, round and round
    log: (room, 6): task, launch, requested, began, ended, whether a filler
    """

    tasks: npt.NDArray[np.void]
    kernels: npt.NDArray[np.void]
    device: npt.NDArray[np.void]
    requested: npt.NDArray[np.int64]
    allowed: npt.NDArray[np.int64]
    fifo: npt.NDArray[np.int64]
    arrivals: npt.NDArray[np.int64]
    kept: npt.NDArray[np.int64]
    scatter: npt.NDArray[np.int64]
    log: npt.NDArray[np.int64]


def new_world(tasks: Sequence[Task], scatter: npt.NDArray[np.int64], log: int) -> World:
    """Nothing has begun, of tasks that `check_tasks` has passed. log: how many kernels are logged."""
    device = np.zeros(1, DEVICE)
    device["ends"] = NEVER
    for name in ("running", "owner", "top"):
        device[name] = -1
    table = _table(tasks)
    requests = int(sum(0 if task.background else task.requests for task in tasks))
    return World(
        tasks=table,
        kernels=_kernels(tasks, int(table["count"].sum())),
        device=device,
        requested=np.zeros((len(tasks), PENDING), np.int64),
        allowed=np.full((len(tasks), PENDING), UNCHECKED, np.int64),
        fifo=np.zeros(len(tasks) * PENDING, np.int64),
        arrivals=np.concatenate([np.asarray(task.arrivals_ns or (), np.int64) for task in tasks]),
        kept=np.full((requests, 3), -1, np.int64),
        scatter=scatter,
        log=np.zeros((log, 6), np.int64),
    )


def _table(tasks: Sequence[Task]) -> npt.NDArray[np.void]:
    table = np.zeros(len(tasks), TASK)
    priorities = [task.priority for task in tasks]
    highest = min(priorities)
    kernels = arrivals = kept = 0
    for row, task in zip(table, tasks, strict=True):
        row["priority"] = task.priority
        row["first"], row["count"] = kernels, len(task.launches.kernels)
        row["requests"] = NEVER if task.background else task.requests
        row["think_ns"], row["start_ns"] = task.think_ns, task.start_ns
        row["checked"] = task.priority == highest and priorities.count(highest) == 1
        row["arrivals_from"] = -1 if task.arrivals_ns is None else arrivals
        row["kept_from"] = kept
        row["host_at"] = row["predicted"] = NEVER
        kernels += len(task.launches.kernels)
        arrivals += len(task.arrivals_ns or ())
        kept += 0 if task.background else task.requests
    return table


def _kernels(tasks: Sequence[Task], count: int) -> npt.NDArray[np.void]:
    found = np.zeros(count, KERNEL)
    for name, arrays in (
        ("duration_ns", [task.launches.kernels.duration_ns for task in tasks]),
        ("profile", [task.launches.kernels.profile for task in tasks]),
        ("sms", [task.launches.kernels.sms for task in tasks]),
        ("issue_ns", [task.launches.issue_ns for task in tasks]),
        ("waits", [task.launches.waits for task in tasks]),
        ("expected_ns", [task.believed().expected_ns for task in tasks]),
        ("gap_ns", [task.believed().gap_ns for task in tasks]),
    ):
        found[name] = np.concatenate(arrays)
    return found
