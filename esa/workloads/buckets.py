"""An iteration as the network sees it: which gradients travel together, in which order, and how urgent they are.

parts = buckets(profile("resnet50"), DDP_CAP_BYTES, DDP_FIRST_CAP_BYTES)
priority = priorities(parts, iterations=100, rate_bps=100e9, fragment_bytes=256, wire_bytes=304)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from esa.priority import HIGHEST, LOWEST, Priority, PriorityFunction, Urgency
from esa.workloads.profile import Bucket, Profile

# PyTorch's defaults: `bucket_cap_mb`, and `_DEFAULT_FIRST_BUCKET_BYTES`, which counts if no `bucket_cap_mb` is given.
DDP_CAP_BYTES = 25 * 2**20
DDP_FIRST_CAP_BYTES = 2**20


def buckets(profile: Profile, cap_bytes: int, first_cap_bytes: int | None = None) -> tuple[Bucket, ...]:
    """The buckets of an iteration in the order of the backward pass: the layers at the back first.

    PyTorch's rule (`compute_bucket_assignment_by_size` in torch/csrc/distributed/c10d/reducer.cpp; DDP applies it to
    the gradients in the order of their arrival once the first iteration is over): a gradient joins the open bucket,
    and a bucket that has reached the cap is closed. So the cap is a lower bound: only the last bucket may stay below
    it, and a gradient larger than the cap shares a bucket with the small ones just before it. `first_cap_bytes` is the
    cap of the first bucket, the one at the back (None: `cap_bytes`, as in DDP where `bucket_cap_mb` is given).
    Here layer groups are not split; DDP can split a layer between weights and bias.

    What remains without bytes (in a profile scaled far down) is computed with the last bucket. Raises ValueError for a
    cap below 1.
    """
    cap = cap_bytes if first_cap_bytes is None else first_cap_bytes
    for key, value in (("cap_bytes", cap_bytes), ("first_cap_bytes", cap)):
        if value < 1:
            raise ValueError(f"{key}: {value}; allowed: from 1")
    closed: list[Bucket] = []
    bucket = Bucket(0, 0, 0)
    for group in reversed(profile.groups):
        bucket = _joined(bucket, Bucket(group.bytes, group.forward_ns, group.backward_ns))
        if bucket.bytes >= cap:
            closed.append(bucket)
            bucket, cap = Bucket(0, 0, 0), cap_bytes
    if bucket.bytes == 0 and closed:
        bucket = _joined(closed.pop(), bucket)
    return (*closed, bucket)


def _joined(a: Bucket, b: Bucket) -> Bucket:
    return Bucket(a.bytes + b.bytes, a.forward_ns + b.forward_ns, a.backward_ns + b.backward_ns)


def priorities(
    buckets: Sequence[Bucket],
    iterations: int,
    *,
    rate_bps: float,
    fragment_bytes: int,
    wire_bytes: int,
    time_scale: float = 1.0,
    formula: PriorityFunction | None = None,
) -> npt.NDArray[np.uint8]:
    """The priority of each bucket in each iteration: uint8 (iterations, buckets), 1..255.

    By `formula` (None: `Priority()`) from a job that has the network to itself. Communication is what a worker's link
    needs for the bytes of an iteration: `wire_bytes` for each `fragment_bytes` of gradients, at `rate_bps`.
    Computation is the forward and the backward pass. Service is what remains when an iteration starts: the iterations
    left, this one too, times the sum of both. That counts nothing as overlapping, so it is at most twice too long,
    eight of the 254 steps. Layer is 1 for the last bucket, which holds the front layers.

    `time_scale` is the factor by which the job is shorter than the one it stands for (that of `Profile.scaled`, times
    the part that is left of its iterations). It is undone first: the formula's range is for seconds to days, and jobs
    of milliseconds would all be at its upper end. Only the service depends on it; jobs that compete need the same one.

    Raises ValueError, in one line, for what is not above 0, and for no buckets.
    """
    figures = {
        "iterations": iterations,
        "rate_bps": rate_bps,
        "fragment_bytes": fragment_bytes,
        "wire_bytes": wire_bytes,
        "time_scale": time_scale,
    }
    for key, value in figures.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{key}: {value}; allowed: above 0")
    if not buckets:
        raise ValueError("buckets: none; at least one is needed")
    formula = Priority() if formula is None else formula
    wire_bits = 8 * wire_bytes / fragment_bytes * sum(bucket.bytes for bucket in buckets)
    communication_s = wire_bits / rate_bps / time_scale
    computation_s = sum(bucket.forward_ns + bucket.backward_ns for bucket in buckets) / 1e9 / time_scale
    table = np.empty((iterations, len(buckets)), np.uint8)
    for iteration in range(iterations):
        service_s = (iterations - iteration) * (communication_s + computation_s)
        for index in range(len(buckets)):
            urgency = Urgency(communication_s, computation_s, service_s, len(buckets) - index, len(buckets))
            table[iteration, index] = min(max(int(formula(urgency)), LOWEST), HIGHEST)
    return table
