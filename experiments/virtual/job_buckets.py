"""What a simulated job sums and computes: its model's buckets, the scenario's own or from `esa.workloads`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from esa.workloads import (
    DDP_CAP_BYTES,
    DDP_FIRST_CAP_BYTES,
    Bucket,
    LayerGroup,
    Profile,
    buckets,
    layers,
    measured_profile,
    profile,
)
from experiments.specs.jobs import JobSpec
from experiments.specs.models import MS_PER_SAMPLE, ModelSpec

_MIB = 2**20
MAX_COMPUTING_S = 1000.0  # without a pause: event times have 43 bits of nanoseconds
BACKWARD_PART = 2 / 3  # of computing: it multiplies twice for each multiplication of the forward pass


def own_profile(model: ModelSpec) -> Profile:
    """A scenario's own model; ValueError if it has no gradients."""
    groups = enumerate(zip(model.bytes, model.forward_ms, model.backward_ms, strict=True), start=1)
    return Profile(
        model.name,
        tuple(
            LayerGroup(f"layer.{i}", size, round(forward_ms * 1e6), round(backward_ms * 1e6))
            for i, (size, forward_ms, backward_ms) in groups
        ),
    )


def trained_profile(name: str, computing_s: float) -> Profile:
    """A model that live runs train, a step of which takes a worker so many seconds."""
    return measured_profile(name, layers(name), computing_s * (1 - BACKWARD_PART), computing_s * BACKWARD_PART)


def _profile(name: str, batch_size: int, own_model: ModelSpec | None) -> Profile:
    if own_model is not None:
        return own_profile(own_model)
    if name in MS_PER_SAMPLE:
        return trained_profile(name, MS_PER_SAMPLE[name] / 1e3 * batch_size)
    return profile(name)


@lru_cache(maxsize=1024)  # a figure's thousand scenarios have a few models in them
def _buckets(
    name: str,
    batch_size: int,
    own_model: ModelSpec | None,
    scale: float,
    time_scale: float | None,
    cap_mb: float | None,
) -> tuple[Bucket, ...]:
    model = _profile(name, batch_size, own_model).scaled(scale, time_scale)
    caps = (DDP_CAP_BYTES, DDP_FIRST_CAP_BYTES) if cap_mb is None else (cap_mb * _MIB,) * 2
    return buckets(model, *(max(1, round(cap * scale)) for cap in caps))


def job_buckets(job: JobSpec, own_models: Sequence[ModelSpec]) -> tuple[Bucket, ...]:
    """A job's buckets. Scaled, they hold the same layers: the cap shrinks with the model.

    ValueError, its first word the job's key, where nothing is left of the model or computing takes too long.
    """
    own_model = next((model for model in own_models if model.name == job.model), None)
    try:
        parts = _buckets(job.model, job.batch_size, own_model, job.scale, job.time_scale, job.bucket_cap_mb)
    except ValueError as error:
        raise ValueError(f"scale: {str(error).removeprefix('size: ')}") from None
    slowest_s = max(max(part.forward_ns, part.backward_ns) for part in parts) * job.slowdown * (1 + job.jitter) / 1e9
    if slowest_s > MAX_COMPUTING_S:
        raise ValueError(f"model: computing one bucket may take {slowest_s:g} s; allowed: {MAX_COMPUTING_S:g} s")
    return parts
