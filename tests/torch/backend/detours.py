"""What the switch does not sum goes by gloo: counted, and said once."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import pytest
import torch
import torch.distributed as dist

from esa.errors import BadInput, EsaError
from esa.torch import EsaGroup, EsaWarning
from tests.torch.backend.groups import (
    AVG,
    LIMIT,
    MAX,
    WORKERS,
    assert_near,
    case,
    over_the_switch,
    reduce_scatter_single,
    statistics,
    values,
    world,
)


@case
def everything_else_is_gloos_exactly(rank: int) -> None:
    with over_the_switch(0):
        integers = torch.arange(1000) + rank
        dist.all_reduce(integers)
        assert torch.equal(integers, 2 * torch.arange(1000) + 1)
        largest = torch.tensor([rank + 0.5, -rank])
        dist.all_reduce(largest, MAX)
        assert largest.tolist() == [1.5, 0]
        flags = torch.tensor([rank == 0, True])
        dist.all_reduce(flags, dist.ReduceOp.BAND)
        assert flags.tolist() == [False, True]
        scattered = torch.empty(2, dtype=torch.int64)
        dist.reduce_scatter(scattered, [torch.tensor([1, 2]), torch.tensor([3, 4])])
        assert scattered.tolist() == [2 + 4 * rank, 4 + 4 * rank]
        sent = torch.full((3,), rank + 0.25)
        dist.broadcast(sent, 1)
        assert sent.tolist() == [1.25] * 3
        parts = [torch.empty(2), torch.empty(2)]
        dist.all_gather(parts, torch.full((2,), float(rank)))
        assert [part.tolist() for part in parts] == [[0, 0], [1, 1]]
        objects: list[Any] = [None, None]
        dist.all_gather_object(objects, {"rank": rank})
        assert objects == [{"rank": 0}, {"rank": 1}]
        received = torch.empty(4)
        dist.all_to_all_single(received, torch.full((4,), float(rank)))
        assert received.tolist() == [0, 0, 1, 1]
        if rank == 0:
            dist.send(torch.ones(2), 1)
        else:
            box = torch.zeros(2)
            assert dist.recv(box) == 0
            assert box.tolist() == [1, 1]
        dist.barrier()
    assert dist.get_backend() == "cpu:esa"
    assert world().name() == "esa"


@case
def what_has_no_scale_is_summed_by_gloo_counted_and_said_once(rank: int) -> None:
    def add(bad: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        mine = values(rank, 500, dtype=dtype)
        if rank == 1:
            mine[123] = bad
        dist.all_reduce(mine, AVG)
        return mine

    before = statistics().detours
    here = "this rank has" if rank == 1 else "another rank has"
    with pytest.warns(EsaWarning, match=f"all_reduce of 500 values: {here} a NaN, an infinity or a value from 2"):
        nan = add(float("nan"))
    assert nan.isnan().sum() == 1
    assert nan[123].isnan()
    assert add(float("inf"))[123] == float("inf")
    large = add(1e38)
    assert large[123] == ((values(0, 500)[123] + 1e38) / 2).item()
    assert statistics().detours - before == Counter(values=3)
    warnings.simplefilter("ignore", EsaWarning)
    tiny = add(1e-300, torch.float64) * 0 + add(1e-300, torch.float64)
    assert_near(tiny[:123], (values(0, 123, dtype=torch.float64) * 0 + tiny[:123]))
    small = torch.full((10,), 1e-300, dtype=torch.float64)
    dist.all_reduce(small)
    assert_near(small, torch.full((10,), 2e-300, dtype=torch.float64))
    assert statistics().detours["tiny"] - before["tiny"] == 1
    assert_near(add(1.0), (values(0, 500) + values(1, 500).index_fill(0, torch.tensor(123), 1.0)) / 2)


@case
def float64_is_said_once(rank: int) -> None:
    group = dist.new_group(timeout=LIMIT)
    assert isinstance(group, EsaGroup)
    with pytest.warns(EsaWarning, match="all_reduce of 10 float64 values: summed with at most 31 bits"):
        dist.all_reduce(torch.ones(10, dtype=torch.float64), group=group)
    dist.all_reduce(torch.ones(10, dtype=torch.float64), group=group)
    assert group.statistics.float64_sums == 2
    dist.destroy_process_group(group)


@case
def a_group_of_the_same_ranks_shares_the_switch(rank: int) -> None:
    group = dist.new_group([0, 1], timeout=LIMIT)
    assert isinstance(group, EsaGroup)
    works, sums = [], []
    for step in range(6):  # both in flight
        mine = values(rank, 200, seed=step)
        sums.append(mine)
        works.append(dist.all_reduce(mine, group=group if step % 2 else None, async_op=True))
    for step in range(6):
        works[step].wait()
        assert_near(sums[step], values(0, 200, seed=step) + values(1, 200, seed=step))
    assert group.statistics.sums == 3
    assert not group.statistics.detours
    dist.destroy_process_group(group)
    with over_the_switch(1):
        dist.all_reduce(torch.ones(1))
    with pytest.raises(EsaError, match="all_reduce: this process group was destroyed"):
        group.allreduce([torch.ones(1)])


@case
def a_group_of_other_ranks_adds_over_gloo_counted_and_said_once(rank: int) -> None:
    groups = [dist.new_group([each], timeout=LIMIT) for each in range(WORKERS)]
    mine = groups[rank]
    assert isinstance(mine, EsaGroup)
    with pytest.warns(EsaWarning, match="all_reduce of 7 values: 1 ranks that are not exactly the job's add over gloo"):
        dist.all_reduce(torch.ones(7), group=mine)
    dist.all_reduce(torch.ones(7), group=mine)
    assert mine.statistics.detours == Counter(group=2)
    assert mine.statistics.sums == 0
    dist.destroy_process_group(mine)


@case
def sparse_tensors_are_a_detour(rank: int) -> None:
    mine = torch.sparse_coo_tensor([[rank]], [2.5], (4,), check_invariants=True)
    with pytest.warns(EsaWarning, match="sparse tensors go over gloo"):
        dist.all_reduce(mine)
    assert mine.to_dense().tolist() == [2.5, 2.5, 0, 0]
    assert statistics().detours["sparse"] == 1


@case
def a_sum_to_one_rank_is_a_detour(rank: int) -> None:
    mine = values(rank, 10)
    with pytest.warns(EsaWarning, match="reduce of 10 values: a sum to one rank only goes over gloo"):
        dist.reduce(mine, 0)
    if rank == 0:
        assert_near(mine, values(0, 10) + values(1, 10))
    assert statistics().detours["reduce"] == 1


@case
def what_does_not_fit_is_refused_before_it_is_sent(rank: int) -> None:
    with over_the_switch(0), pytest.raises(BadInput, match=r"an output of 3 .* does not fit an input of 7 "):
        reduce_scatter_single(torch.empty(3), torch.empty(7))
