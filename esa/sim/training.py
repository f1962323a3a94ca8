"""What a worker computes, and when: forward pass, backward pass, iteration after iteration.

A job's buckets are in the order of the backward pass. A forward pass goes through them from the last, which holds the
front layers, to the first; the backward pass goes the other way. As in PyTorch DDP what it is through with is sent, and
the next forward pass waits for all sums. With `overlap` buckets are sent in the order in which the next forward pass
needs them: the front layers first, once the backward pass is over; and it starts with the first bucket's sums, and
waits for those of the layers that it comes to. (The sums come in the order of the fragments, and all workers must
number them alike; so the front layers cannot overtake what was sent before them.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native_uncounted as native

FORWARD, BACKWARD, TRAINED = 0, 1, 2

TRAINER = np.dtype(
    [
        ("job", np.int64),
        ("phase", np.int64),
        ("bucket", np.int64),  # the next to compute
        ("iteration", np.int64),
        ("until_ns", np.int64),  # computing until then; 0: not computing
        ("ready", np.int64),  # fragments whose gradients there are, ever
        ("fed", np.int64),  # of these, given to the worker
        ("fed_iteration", np.int64),  # where `fed` is
        ("fed_bucket", np.int64),
        ("summed", np.int64),  # of these, sums that have come
        ("since_ns", np.int64),  # when something was on its way again
        ("compute_ns", np.int64),
        ("comm_ns", np.int64),
        ("wrong", np.int64),  # fragments whose sum was not the plain sum
    ]
)
JOB = np.dtype(
    [
        ("id", np.int64),
        ("first_worker", np.int64),
        ("workers", np.int64),
        ("iterations", np.int64),
        ("first_bucket", np.int64),
        ("buckets", np.int64),
        ("fragments", np.int64),  # of an iteration
        ("first_priority", np.int64),
        ("first_factor", np.int64),
        ("overlap", np.int64),
        ("running", np.int64),  # workers that are not through
        ("failed", np.int64),
        ("open", np.int64),  # its hosts listen
    ]
)
BUCKET = np.dtype([("end", np.int64), ("forward_ns", np.int64), ("backward_ns", np.int64)])


class Training(NamedTuple):
    """All jobs' work; `build` makes it of a plan."""

    trainer: npt.NDArray[np.void]  # (workers,): TRAINER
    job: npt.NDArray[np.void]  # (jobs,): JOB
    bucket: npt.NDArray[np.void]  # BUCKET; `end`: fragments of the iteration that are sent up to and with this bucket
    priority: npt.NDArray[np.uint8]  # by job, iteration, bucket
    factor: npt.NDArray[np.float64]  # by job, worker, iteration: how much longer computing takes


@native
def proceed(training: Training, w: int, now_ns: int) -> bool:
    """Let a worker do what can be done now; True if it has begun to compute, until `until_ns`."""
    me = training.trainer[w]
    job = training.job[me["job"]]
    if me["until_ns"] > now_ns:
        return False
    if me["until_ns"] > 0:
        _computed(training, w, now_ns)
    while me["phase"] != TRAINED:
        bucket = training.bucket[job["first_bucket"] + me["bucket"]]
        if not is_next_possible(training, w):
            return False
        duration_ns = bucket["forward_ns"] if me["phase"] == FORWARD else bucket["backward_ns"]
        rank = w - job["first_worker"]
        factor = training.factor[job["first_factor"] + rank * job["iterations"] + me["iteration"]]
        duration_ns = int(duration_ns * factor)
        me["compute_ns"] += duration_ns
        me["until_ns"] = now_ns + duration_ns
        if duration_ns > 0:
            return True
        _computed(training, w, now_ns)
    return False


@native
def is_next_possible(training: Training, w: int) -> bool:
    """Whether the sums have come that the next computation needs."""
    me = training.trainer[w]
    if me["phase"] != FORWARD or me["iteration"] == 0:
        return True
    job = training.job[me["job"]]
    needed = me["iteration"] * job["fragments"]  # of all earlier iterations
    if job["overlap"]:  # the front layers' are the first of the last iteration's
        needed += training.bucket[job["first_bucket"] + me["bucket"]]["end"] - job["fragments"]
    return bool(me["summed"] >= needed)


@native
def _computed(training: Training, w: int, now_ns: int) -> None:
    """The bucket in hand is computed."""
    me = training.trainer[w]
    job = training.job[me["job"]]
    me["until_ns"] = 0
    if me["phase"] == FORWARD:
        me["bucket"] -= 1
        if me["bucket"] < 0:
            me["phase"] = BACKWARD
            me["bucket"] = 0
        return
    last = me["bucket"] == job["buckets"] - 1
    if last or not job["overlap"]:
        if me["summed"] == me["ready"]:
            me["since_ns"] = now_ns
        end = training.bucket[job["first_bucket"] + me["bucket"]]["end"]
        me["ready"] = me["iteration"] * job["fragments"] + (job["fragments"] if last else end)
    me["bucket"] += 1
    if me["bucket"] == job["buckets"]:
        me["iteration"] += 1
        me["bucket"] = job["buckets"] - 1
        me["phase"] = FORWARD if me["iteration"] < job["iterations"] else TRAINED


@native
def to_feed(training: Training, w: int) -> tuple[int, int]:
    """Fragments of one bucket that can be sent, and their priority."""
    me = training.trainer[w]
    job = training.job[me["job"]]
    if me["fed"] == me["ready"]:
        return 0, 0
    end = _bucket_end(training, me, job)
    if me["fed"] == end:
        step = -1 if job["overlap"] else 1
        me["fed_bucket"] += step
        if me["fed_bucket"] == -1 or me["fed_bucket"] == job["buckets"]:
            me["fed_bucket"] -= step * job["buckets"]
            me["fed_iteration"] += 1
        end = _bucket_end(training, me, job)
    at = job["first_priority"] + me["fed_iteration"] * job["buckets"] + me["fed_bucket"]
    return int(min(end, me["ready"]) - me["fed"]), int(training.priority[at])


@native
def _bucket_end(training: Training, me: Any, job: Any) -> int:
    """The first fragment after the bucket that is being fed."""
    bucket = training.bucket[job["first_bucket"] + me["fed_bucket"]]
    return int(me["fed_iteration"] * job["fragments"] + bucket["end"])


@native
def note_summed(training: Training, w: int, fragments: int, now_ns: int) -> None:
    """So many more sums have come."""
    me = training.trainer[w]
    me["summed"] += fragments
    if me["summed"] == me["ready"]:
        me["comm_ns"] += now_ns - me["since_ns"]


@native
def is_through(training: Training, w: int) -> bool:
    """Whether a worker has its last sum."""
    me = training.trainer[w]
    return bool(me["phase"] == TRAINED and me["summed"] == me["ready"])
