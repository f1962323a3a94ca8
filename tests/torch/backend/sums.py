"""Collectives that sum over the switch are gloo's, within rounding."""

from __future__ import annotations

import warnings

import torch
import torch.distributed as dist
from torch.distributed import _functional_collectives as functional
from torch.distributed import distributed_c10d as c10d

from esa.torch import EsaWarning
from tests.torch.backend.groups import (
    AVG,
    SUM,
    WORKERS,
    assert_near,
    case,
    gloo,
    over_the_switch,
    reduce_scatter_single,
    statistics,
    values,
    world,
)

# What comes out of half precision is rounded once here, and once or more often by gloo.
PRECISIONS = {torch.float32: 1e-6, torch.float64: 1e-6, torch.bfloat16: 1e-2, torch.float16: 1e-3}


@case
def float_sums_and_averages_are_gloos(rank: int) -> None:
    reference = gloo()
    warnings.simplefilter("ignore", EsaWarning)  # of float64
    for seed, (dtype, relative) in enumerate(PRECISIONS.items()):
        for op in (SUM, AVG):
            for shape in ((1,), (64,), (65,), (30, 100), (20000,)):
                ours = values(rank, *shape, dtype=dtype, seed=seed)
                theirs = ours.clone()
                with over_the_switch(1):
                    dist.all_reduce(ours, op)
                dist.all_reduce(theirs, op, group=reference)
                assert_near(ours, theirs, relative)


@case
def half_precision_is_summed_in_single_precision(rank: int) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        parts = [values(other, 5000, dtype=dtype) for other in range(WORKERS)]
        ours = parts[rank].clone()
        dist.all_reduce(ours)
        exact = torch.stack(parts).double().sum(0)
        assert_near(ours, exact.to(dtype), 1e-3)
        assert (ours == exact.to(dtype)).float().mean() > 0.99


@case
def reduce_scatters_are_gloos(rank: int) -> None:
    reference = gloo()
    warnings.simplefilter("ignore", EsaWarning)
    for seed, (dtype, relative) in enumerate(PRECISIONS.items()):
        for op in (SUM, AVG):
            whole = values(rank, WORKERS * 1500, dtype=dtype, seed=seed)
            ours, theirs = torch.empty(1500, dtype=dtype), torch.empty(1500, dtype=dtype)
            kept = whole.clone()
            with over_the_switch(1):
                reduce_scatter_single(ours, whole, op)
            assert torch.equal(whole, kept)
            reduce_scatter_single(theirs, whole, op, group=reference)
            assert_near(ours, theirs, relative)
            ours.zero_()
            with over_the_switch(1):
                dist.reduce_scatter(ours, list(whole.split(1500)), op)
            assert_near(ours, theirs, relative)
            inside = whole.clone()  # the output may be a part of the input, as FSDP has it
            reduce_scatter_single(inside[rank * 1500 : (rank + 1) * 1500], inside, op)
            assert_near(inside[rank * 1500 : (rank + 1) * 1500], theirs, relative)


@case
def coalesced_collectives_go_out_as_one_sum(rank: int) -> None:
    tensors = [values(rank, n, seed=n) for n in (3, 100, 7)]
    expected = [sum((values(r, t.numel(), seed=t.numel()) for r in range(WORKERS)), torch.zeros(())) for t in tensors]
    with over_the_switch(1), c10d._coalescing_manager():
        for tensor in tensors:
            dist.all_reduce(tensor)
    for tensor, right in zip(tensors, expected, strict=True):
        assert_near(tensor, right)
    wholes = [values(rank, WORKERS * n, seed=n) for n in (5, 70)]
    outputs = [torch.empty(n) for n in (5, 70)]
    with over_the_switch(1), c10d._coalescing_manager():
        for output, whole in zip(outputs, wholes, strict=True):
            reduce_scatter_single(output, whole)
    for output in outputs:
        n = output.numel()
        right = sum((values(r, WORKERS * n, seed=n) for r in range(WORKERS)), torch.zeros(()))
        assert_near(output, right[rank * n : (rank + 1) * n])


@case
def functional_collectives_too(rank: int) -> None:
    mine = values(rank, 300)
    right = values(0, 300) + values(1, 300)
    with over_the_switch(3):
        assert_near(functional.all_reduce(mine, "sum", world()) + 0, right)
        assert_near(functional.all_reduce_coalesced([mine], "avg", world())[0] + 0, right / 2)
        scatter = getattr(functional, "reduce_scatter_single", functional.reduce_scatter_tensor)
        assert_near(scatter(mine, "sum", 0, world()) + 0, right[rank * 150 : (rank + 1) * 150])


@case
def complex_numbers_are_pairs(rank: int) -> None:
    mine = torch.complex(values(rank, 100), values(rank, 100, seed=1))
    right = torch.complex(values(0, 100) + values(1, 100), values(0, 100, seed=1) + values(1, 100, seed=1))
    with over_the_switch(2):
        summed = mine.clone()
        dist.all_reduce(summed)
        assert_near(torch.view_as_real(summed), torch.view_as_real(right))
        part = torch.empty(50, dtype=torch.complex64)
        reduce_scatter_single(part, mine)
        assert_near(torch.view_as_real(part), torch.view_as_real(right[rank * 50 : (rank + 1) * 50]))


@case
def several_in_flight_and_waited_for_in_any_order(rank: int) -> None:
    tensors = [values(rank, 1000 + n, seed=n) for n in range(10)]
    works = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
    for work in reversed(works):
        assert work is not None
        assert work.wait()
        assert work.is_completed()
        assert work.is_success()
    last = values(rank, 10)
    future = dist.all_reduce(last, async_op=True).get_future()
    [result] = future.wait()
    assert result.data_ptr() == last.data_ptr()
    for n, tensor in enumerate(tensors):
        assert_near(tensor, values(0, 1000 + n, seed=n) + values(1, 1000 + n, seed=n))
    assert_near(last, values(0, 10) + values(1, 10))


@case
def empty_strided_and_scalar_tensors(rank: int) -> None:
    with over_the_switch(3):
        dist.all_reduce(torch.empty(0))
        dist.all_reduce(torch.empty(3, 0), async_op=True).wait()
        dist.all_reduce(torch.empty(0), async_op=True).get_future().wait()
        whole = values(rank, 40, 30)
        columns = whole.clone()
        dist.all_reduce(columns[:, 1:7])  # in place, and nothing else
        right = values(0, 40, 30) + values(1, 40, 30)
        assert_near(columns[:, 1:7], right[:, 1:7])
        assert torch.equal(columns[:, 7:], whole[:, 7:])
        turned = whole.t()
        dist.all_reduce(turned)
        assert_near(whole, right)
        scalar = torch.tensor(1.5)
        dist.all_reduce(scalar)
        assert scalar == 3


@case
def the_second_time_nothing_is_repeated(rank: int) -> None:
    def iteration(seed: int) -> None:
        for layer, n in enumerate((500, 700, 500, 500)):  # of one size, but of very different values
            dist.all_reduce(values(rank, n, seed=seed) * 10.0**-layer)

    iteration(1)
    iteration(2)
    before = statistics()
    for seed in range(3, 8):
        iteration(seed)
    after = statistics()
    fragments = after.fragments - before.fragments
    assert fragments == 5 * (8 + 11 + 8 + 8)
    assert (after.repeated_fragments - before.repeated_fragments) < fragments / 20
