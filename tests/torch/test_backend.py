"""The process group: ranks are processes, the switch's entries and the PS are real, packets take the loopback.

One file, though a long one: its cases share a run of one job, whose ranks take longer to begin than most cases take.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import _functional_collectives as functional
from torch.distributed import distributed_c10d as c10d
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

import esa.torch
from esa.errors import BadInput, EsaError, JoinError, MemberLeft
from esa.float_sum import all_reduce_float
from esa.hosts import WorkerEndpoint
from esa.hosts.serving import JobServer
from esa.torch import EsaGroup, EsaOptions, EsaWarning, SumStatistics
from tests.hosts.rig import Meeting, make_loopback_job
from tests.local_transport import LocalNetwork
from tests.torch.gloo_transport import GlooTransport
from tests.torch.ranks import environment_of, run_ranks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # on a machine that has compiled nothing yet
WORKERS = 2
LIMIT = timedelta(seconds=60)
CASES: dict[str, Callable[[int], None]] = {}
SUM, AVG, MAX = dist.ReduceOp.SUM, dist.ReduceOp.AVG, dist.ReduceOp.MAX


def init(rank: int, size: int = WORKERS, backend: str = "cpu:esa") -> EsaGroup:
    dist.init_process_group(backend, init_method=os.environ["RENDEZVOUS"], rank=rank, world_size=size, timeout=LIMIT)
    world = dist.group.WORLD
    assert isinstance(world, EsaGroup)
    return world


def world() -> EsaGroup:
    group = dist.group.WORLD
    assert isinstance(group, EsaGroup)
    return group


def statistics() -> SumStatistics:
    return world().statistics


def gloo() -> dist.ProcessGroup:
    group = dist.new_group(backend="gloo", timeout=LIMIT)
    assert isinstance(group, dist.ProcessGroup)
    return group


def values(rank: int, *shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 * seed + rank)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).mul(0.1).to(dtype)


def assert_near(ours: torch.Tensor, gloos: torch.Tensor, relative: float = 1e-6) -> None:
    assert ours.dtype == gloos.dtype
    assert ours.shape == gloos.shape
    error = torch.linalg.vector_norm(ours.double() - gloos.double())
    assert error <= relative * torch.linalg.vector_norm(gloos.double()), (ours, gloos)


@contextmanager
def over_the_switch(sums: int) -> Iterator[None]:
    """So many sums, and no detour."""
    before = statistics()
    yield
    after = statistics()
    assert after.sums - before.sums == sums
    assert after.detours == before.detours


def case(function: Callable[[int], None]) -> Callable[[int], None]:
    """Runs in every rank's process, with its rank."""
    CASES[function.__name__] = function
    return function


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


def reduce_scatter_single(*arguments: Any, **more: Any) -> Any:
    """By the name that this torch has for it."""
    return getattr(dist, "reduce_scatter_single", dist.reduce_scatter_tensor)(*arguments, **more)


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


def network(seed: int = 0, width: int = 40) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3))


def train(model: nn.Module, rank: int, steps: int = 8) -> list[float]:
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    losses = []
    for step in range(steps):
        inputs = values(rank, 16, 8, seed=step) * 10
        loss = nn.functional.mse_loss(model(inputs), inputs[:, :3].sin())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    return losses


@case
def ddp_without_a_hook_trains_as_over_gloo(rank: int) -> None:
    reference = gloo()
    plain = DistributedDataParallel(network(), bucket_cap_mb=0.005, process_group=reference)
    expected = train(plain, rank)
    before = statistics()
    ours = DistributedDataParallel(network(), bucket_cap_mb=0.005)
    losses = train(ours, rank)
    after = statistics()
    assert after.sums - before.sums > 8  # several buckets
    assert after.detours == before.detours
    assert max(abs(a - b) for a, b in zip(losses, expected, strict=True)) < 1e-5
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        assert_near(mine.detach(), theirs.detach(), 1e-5)
    assert losses[-1] < losses[0]


@case
def hooks_share_the_run_with_the_group(rank: int) -> None:
    plain = DistributedDataParallel(network(), bucket_cap_mb=0.005)
    expected = train(plain, rank)
    with esa.torch.session(quiet=True) as session:
        ours = DistributedDataParallel(network(), bucket_cap_mb=0.005)
        ours.register_comm_hook(*session.hook(ours))
        optimiser = torch.optim.SGD(ours.parameters(), 0.1)
        losses = []
        for step in range(8):
            inputs = values(rank, 16, 8, seed=step) * 10
            loss = nn.functional.mse_loss(ours(inputs), inputs[:, :3].sin())
            optimiser.zero_grad()
            mean = loss.detach().clone()
            work = dist.all_reduce(mean, AVG, async_op=True)
            loss.backward()  # type: ignore[no-untyped-call]
            work.wait()
            optimiser.step()
            losses.append(loss.item())
    assert max(abs(a - b) for a, b in zip(losses, expected, strict=True)) < 1e-5
    assert session.statistics[0].iterations == 8
    with over_the_switch(1):
        dist.all_reduce(torch.ones(1))


@case
def fsdp_trains_as_over_gloo(rank: int) -> None:
    reference = gloo()

    def sharded(group: dist.ProcessGroup) -> nn.Module:
        model = network()
        for place in (0, 2, 4):
            model[place] = FullyShardedDataParallel(model[place], group, device_id=torch.device("cpu"))
        return FullyShardedDataParallel(model, group, device_id=torch.device("cpu"))

    expected = train(sharded(reference), rank)
    before = statistics()
    losses = train(sharded(world()), rank)
    after = statistics()
    assert after.sums - before.sums == 8 * 3
    assert after.detours == before.detours
    assert max(abs(a - b) for a, b in zip(losses, expected, strict=True)) < 1e-5
    assert losses[-1] < losses[0]


@case
def fully_shard_trains_as_over_gloo(rank: int) -> None:
    reference = gloo()

    def sharded(group: dist.ProcessGroup) -> nn.Module:
        mesh = dist.DeviceMesh.from_group(group, "cpu", mesh=[0, 1])
        model = network()
        for place in (0, 2, 4):
            fully_shard(model[place], mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model

    plain = sharded(reference)
    expected = train(plain, rank)
    before = statistics()
    ours = sharded(world())
    losses = train(ours, rank)
    after = statistics()
    assert after.sums - before.sums == 8 * 3
    assert after.detours == before.detours
    assert max(abs(a - b) for a, b in zip(losses, expected, strict=True)) < 1e-5
    assert losses[-1] < losses[0]
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        assert_near(mine.detach().full_tensor(), theirs.detach().full_tensor(), 1e-5)


def run_cases(rank: int) -> dict[str, str]:
    """By name, the traceback of each case that failed; they share one run, so those after it may fail for it."""
    init(rank)
    failed = {}
    for name, function in CASES.items():
        started = time.monotonic()
        with warnings.catch_warnings():
            try:
                function(rank)
            except BaseException:
                failed[name] = f"after {time.monotonic() - started:.1f} s: {traceback.format_exc()}"
    dist.destroy_process_group()
    return failed


@pytest.fixture(scope="module")
def meeting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meeting]:
    WorkerEndpoint.compile()  # once, so that the ranks find it compiled
    for dtype in (np.float32, np.float64):
        all_reduce_float(LocalNetwork(1).transports[0], np.ones(1, dtype))
    with Meeting(tmp_path_factory.mktemp("meeting")) as meeting:
        yield meeting


@contextmanager
def job_of(meeting: Meeting, folder: Path, workers: int = WORKERS) -> Iterator[dict[str, str]]:
    """A new job with its PS; the environment of its ranks."""
    job = meeting.add(make_loopback_job(workers))
    job.save(folder / "job.json")
    with JobServer(job, meeting.address):
        yield environment_of(folder, folder / "job.json", meeting.address)


@pytest.fixture(scope="module")
def failed_cases(meeting: Meeting, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    folder = tmp_path_factory.mktemp("cases")
    with job_of(meeting, folder) as environment:
        failed: list[dict[str, str]] = run_ranks(WORKERS, run_cases, environment=environment)
    return failed


@pytest.mark.parametrize("name", CASES)
def test_on_two_ranks(name: str, failed_cases: list[dict[str, str]]) -> None:
    failures = [f"rank {rank}: {failed[name]}" for rank, failed in enumerate(failed_cases) if name in failed]
    assert not failures, "\n".join(failures)


def sums_over_three_ranks(rank: int) -> None:
    group = init(rank, 3, "esa")
    mine = values(rank, 1000)
    dist.all_reduce(mine)
    assert_near(mine, sum((values(r, 1000) for r in range(3)), torch.zeros(())))
    parts = [values(rank, n, seed=n) for n in (4, 5, 6)]  # gloo would refuse parts of several sizes
    part = torch.empty_like(parts[rank])
    dist.reduce_scatter(part, parts)
    n = 4 + rank
    assert_near(part, sum((values(r, n, seed=n) for r in range(3)), torch.zeros(())))
    pair = dist.new_group([0, 2], timeout=LIMIT)
    if rank != 1:
        assert isinstance(pair, EsaGroup)
        pairs = values(rank, 50)
        with pytest.warns(EsaWarning, match="all_reduce of 50 values: 2 ranks that are not exactly the job's"):
            dist.all_reduce(pairs, group=pair)
        assert_near(pairs, values(0, 50) + values(2, 50))
        part = torch.empty(25)
        reduce_scatter_single(part, values(rank, 50), group=pair)
        assert_near(part, (values(0, 50) + values(2, 50)).split(25)[rank // 2])
        assert pair.statistics.detours == Counter(group=2)
    assert group.statistics.sums == 2
    assert not group.statistics.detours
    dist.destroy_process_group()


def test_three_ranks_and_a_pair_of_them(meeting: Meeting, tmp_path: Path) -> None:
    with job_of(meeting, tmp_path, 3) as environment:
        run_ranks(3, sums_over_three_ranks, environment=environment)


def trained_twice(rank: int) -> None:
    epochs = []
    place = os.environ["RENDEZVOUS"]
    with pytest.raises(JoinError, match="has 2 workers, the program's world 1"):
        dist.init_process_group("esa", init_method=f"{place}-alone-{rank}", rank=0, world_size=1)
    for attempt in range(2):
        os.environ["RENDEZVOUS"] = f"{place}{attempt}"
        group = init(rank)
        epochs.append(group.transport.job.epoch)  # type: ignore[union-attr]
        mine = values(rank, 100)
        dist.all_reduce(mine)
        assert_near(mine, values(0, 100) + values(1, 100))
        started = time.monotonic()
        dist.destroy_process_group()
        assert time.monotonic() - started < 5
    assert epochs[0] != epochs[1]
    os.environ["RENDEZVOUS"] = place
    init(rank)
    dist.all_reduce(torch.ones(10))
    # and this one ends without destroying anything


def test_groups_come_and_go_each_a_run_of_its_own(meeting: Meeting, tmp_path: Path) -> None:
    with job_of(meeting, tmp_path) as environment:
        run_ranks(WORKERS, trained_twice, environment=environment)


def left_alone(rank: int, end: str) -> str:
    init(rank)
    dist.all_reduce(torch.ones(10))
    model = DistributedDataParallel(network())
    loss = model(values(rank, 4, 8)).sum()
    if rank == 1:
        if end == "killed":
            os._exit(0)
        try:
            raise ZeroDivisionError("of no use")
        except ZeroDivisionError:
            dist.destroy_process_group()
        return ""
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="MemberLeft") as caught:
        loss.backward()
    assert time.monotonic() - started < 5
    for work in (dist.all_reduce(torch.ones(10), async_op=True), dist.all_reduce(torch.ones(3), async_op=True)):
        assert work is not None
        with pytest.raises(MemberLeft, match="has ended"):
            work.wait()
        assert isinstance(work.exception(), MemberLeft)
        assert not work.is_success()
        with pytest.raises(RuntimeError, match="MemberLeft"):
            work.get_future().wait()
    del model, loss
    dist.destroy_process_group()
    assert time.monotonic() - started < 10
    return str(caught.value)


def test_an_error_of_one_rank_ends_the_others_sums_at_once(meeting: Meeting, tmp_path: Path) -> None:
    with job_of(meeting, tmp_path) as environment:
        said, _ = run_ranks(WORKERS, left_alone, "error", environment=environment)
    assert "rank 1 (127." in said
    assert "has ended: ZeroDivisionError: of no use" in said


def test_a_killed_rank_ends_the_others_sums_at_once(meeting: Meeting, tmp_path: Path) -> None:
    with job_of(meeting, tmp_path) as environment, pytest.raises(AssertionError) as caught:
        run_ranks(WORKERS, left_alone, "killed", environment=environment)
    assert str(caught.value).strip() == "rank 1: it ended with 0"


def without_a_job(rank: int) -> None:
    with pytest.raises(BadInput, match="job: not known: give the path of its file, or set ESA_JOB"):
        init(rank)
    place = os.environ["RENDEZVOUS"]
    dist.init_process_group("gloo", init_method=f"{place}-gloo", rank=rank, world_size=WORKERS, timeout=LIMIT)
    transport = GlooTransport()
    group = dist.new_group(backend="esa", pg_options=EsaOptions(transport, priority=7), timeout=LIMIT)
    assert isinstance(group, EsaGroup)
    mine = values(rank, 300)
    dist.all_reduce(mine, AVG, group=group)
    assert_near(mine, (values(0, 300) + values(1, 300)) / 2)
    assert {submission.priority for submission in transport.submissions} == {7}
    dist.destroy_process_group(group)
    assert not transport.closed
    transport.close()
    dist.destroy_process_group()


def test_a_transport_may_be_given_instead_of_a_job(tmp_path: Path) -> None:
    run_ranks(WORKERS, without_a_job, environment={"RENDEZVOUS": f"file://{tmp_path}/rendezvous"})


def test_the_name_is_known_from_import_torch_on_and_costs_nothing(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    entry = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]["torch.backends"]["esa"]
    installed = tmp_path / "esa_as_installed-1.dist-info"  # what installing the package leaves
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: esa-as-installed\nVersion: 1\n")
    (installed / "entry_points.txt").write_text(f"[torch.backends]\nesa = {entry}\n")
    code = (
        "import sys, torch, torch.distributed as dist\n"
        "assert dist.is_backend_available('esa'), dist.Backend.backend_list\n"
        "loaded = [name for name in sys.modules if name.split('.')[0] in ('esa', 'numba', 'grpc', 'pydantic')]\n"
        "assert sorted(loaded) == ['esa', 'esa.autoload'], loaded\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{root}"}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, timeout=60, check=True)
