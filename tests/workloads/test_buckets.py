"""Buckets: PyTorch's rule, nothing lost. Priorities: monotone, comparable, the same for scaled-down jobs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.priority import Priority, Urgency
from esa.workloads import (
    DDP_CAP_BYTES,
    DDP_FIRST_CAP_BYTES,
    MODELS,
    Bucket,
    LayerGroup,
    Profile,
    buckets,
    priorities,
    profile,
)
from tests.effort import tries

floats = st.integers(0, 300)
times = st.integers(0, 10**6)
groups = st.lists(st.tuples(floats, times, times), min_size=1, max_size=40).filter(lambda of: any(f for f, _, _ in of))
caps = st.integers(1, 2000) | st.integers(1, 500).map(lambda floats: 4 * floats)
LINK = {"rate_bps": 100e9, "fragment_bytes": 256, "wire_bytes": 304}


def model(of: list[tuple[int, int, int]]) -> Profile:
    return Profile("model", tuple(LayerGroup(str(n), 4 * f, fp, bp) for n, (f, fp, bp) in enumerate(of)))


@settings(max_examples=tries(100), deadline=None)
@given(groups, caps, st.none() | caps)
def test_buckets_are_the_groups_from_the_back(of: list[tuple[int, int, int]], cap: int, first_cap: int | None) -> None:
    parts = buckets(model(of), cap, first_cap)
    sums = np.cumsum([(4 * f, fp, bp) for f, fp, bp in reversed(of)], axis=0).tolist()
    for total in np.cumsum([(part.bytes, part.forward_ns, part.backward_ns) for part in parts], axis=0).tolist():
        assert total in sums
    assert total == sums[-1]


@settings(max_examples=tries(100), deadline=None)
@given(groups, caps, st.none() | caps)
def test_all_but_the_last_bucket_reach_the_cap_and_only_with_their_last_group(
    of: list[tuple[int, int, int]], cap: int, first_cap: int | None
) -> None:
    parts = buckets(model(of), cap, first_cap)
    limits = [first_cap or cap] + [cap] * (len(parts) - 1)
    assert all(part.bytes >= limit for part, limit in zip(parts[:-1], limits, strict=False))
    largest = 4 * max(f for f, _, _ in of)
    assert all(0 < part.bytes < limit + largest for part, limit in zip(parts, limits, strict=True))


@settings(max_examples=tries(200), deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), caps, caps)
def test_buckets_are_those_of_pytorch(sizes: list[int], cap: int, first_cap: int) -> None:
    ready = [torch.empty(size, device="meta") for size in reversed(sizes)]  # in the order of the backward pass
    indices, _ = dist._compute_bucket_assignment_by_size(ready, [first_cap, cap], [], list(range(len(ready))))
    parts = buckets(model([(size, 0, 0) for size in sizes]), cap, first_cap)
    assert [part.bytes for part in parts] == [4 * sum(ready[i].numel() for i in bucket) for bucket in indices]


def test_the_defaults_are_pytorchs() -> None:
    assert dist._DEFAULT_FIRST_BUCKET_BYTES == DDP_FIRST_CAP_BYTES
    linear = torch.nn.Linear(1, 1)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        assert torch.nn.parallel.DistributedDataParallel(linear).bucket_bytes_cap == DDP_CAP_BYTES
    finally:
        dist.destroy_process_group()


def test_a_large_layer_takes_its_small_predecessors_along() -> None:
    assert [b.bytes for b in buckets(model([(5, 1, 1), (100, 1, 1), (2, 1, 1)]), 40)] == [408, 20]


def test_a_bucket_that_has_just_the_cap_is_closed() -> None:
    assert [b.bytes for b in buckets(model([(10, 1, 1), (5, 1, 1), (5, 1, 1)]), 40)] == [40, 40]


@pytest.mark.parametrize(("cap", "first_cap", "key"), [(0, None, "cap_bytes"), (1, 0, "first_cap_bytes")])
def test_caps_below_one_are_refused(cap: int, first_cap: int | None, key: str) -> None:
    with pytest.raises(ValueError, match=f"^{key}: 0; allowed: from 1$"):
        buckets(profile("vgg16"), cap, first_cap)


parts_of_jobs = st.lists(st.builds(Bucket, st.integers(4, 10**9), times, times), min_size=1, max_size=10)
iteration_counts = st.integers(1, 30)


@settings(max_examples=tries(100), deadline=None)
@given(parts_of_jobs, iteration_counts, st.floats(1e6, 1e12), st.floats(1e-6, 1))
def test_priorities_rise_to_the_front_and_to_the_end(
    parts: list[Bucket], iterations: int, rate_bps: float, time_scale: float
) -> None:
    table = priorities(
        parts, iterations, rate_bps=rate_bps, fragment_bytes=256, wire_bytes=304, time_scale=time_scale
    ).astype(int)
    assert table.shape == (iterations, len(parts))
    assert table.min() >= 1
    assert table.max() <= 255
    assert (np.diff(table, axis=0) >= 0).all()
    assert (np.diff(table, axis=1) >= 0).all()


def test_priorities_are_bytes_made_of_what_the_formula_is_told() -> None:
    told: list[Urgency] = []

    def record(urgency: Urgency) -> int:
        told.append(urgency)
        return [300, 7, -5, 0][len(told) - 1]

    parts = (Bucket(1000, 10_000, 20_000), Bucket(600, 30_000, 40_000))
    table = priorities(parts, 2, rate_bps=1e8, fragment_bytes=256, wire_bytes=320, time_scale=0.01, formula=record)
    assert table.dtype == np.uint8
    assert table.tolist() == [[255, 7], [1, 1]]
    communication_s, computation_s = 1600 * 8 * 1.25 / 1e8 * 100, 100e-6 * 100
    for urgency, (left, layer) in zip(told, [(2, 2), (2, 1), (1, 2), (1, 1)], strict=True):
        assert urgency.communication_s == pytest.approx(communication_s)
        assert urgency.computation_s == pytest.approx(computation_s)
        assert urgency.service_s == pytest.approx(left * (communication_s + computation_s))
        assert urgency.layer == layer


def test_a_job_that_communicates_more_comes_first() -> None:
    front = [
        priorities(buckets(profile(name), DDP_CAP_BYTES), 10, **LINK)[:, -1]
        for name in ("computation-heavy", "communication-heavy")
    ]
    assert (front[0] < front[1]).all()


@pytest.mark.parametrize("name", MODELS)
def test_a_thousandth_of_a_job_has_its_priorities(name: str) -> None:
    scale = 1e-3
    whole = buckets(profile(name), DDP_CAP_BYTES, DDP_FIRST_CAP_BYTES)
    caps = round(scale * DDP_CAP_BYTES), round(scale * DDP_FIRST_CAP_BYTES)
    small = buckets(profile(name).scaled(scale), *caps)
    expected = priorities(whole, 50, **LINK).astype(int)
    got = priorities(small, 50, **LINK, time_scale=scale).astype(int)
    # A boundary between two steps can lie between the job and its rounded copy.
    assert np.abs(got - expected).max() <= 1
    assert (got != expected).mean() < 0.01


def test_without_its_scale_a_short_job_is_beyond_the_range() -> None:
    parts = buckets(profile("communication-heavy").scaled(1e-3), round(1e-3 * DDP_CAP_BYTES))
    assert (priorities(parts, 8, **LINK) == 255).all()
    assert len(np.unique(priorities(parts, 8, **LINK, time_scale=1e-3)[:, -1])) == 8


@pytest.mark.parametrize("key", ["rate_bps", "fragment_bytes", "wire_bytes", "time_scale"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_figures_that_are_none_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{key}: .*; allowed: above 0$"):
        priorities((Bucket(4, 1, 1),), 1, **{**LINK, key: value})


def test_nothing_to_rank_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^iterations: 0; allowed: above 0$"):
        priorities((Bucket(4, 1, 1),), 0, **LINK)
    with pytest.raises(ValueError, match=r"^buckets: none"):
        priorities((), 1, **LINK)


def test_the_default_formula_is_priority() -> None:
    parts = buckets(profile("resnet50"), DDP_CAP_BYTES)
    without_layers = priorities(parts, 3, **LINK, formula=Priority(layer=False))
    assert (without_layers[:, :1] == without_layers).all()
    assert (priorities(parts, 3, **LINK) == priorities(parts, 3, **LINK, formula=Priority())).all()
