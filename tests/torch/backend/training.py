"""DDP without a hook, hooks, FSDP and fully_shard over the process group train as over gloo."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import esa.torch
from tests.torch.backend.groups import (
    AVG,
    assert_near,
    case,
    gloo,
    network,
    over_the_switch,
    statistics,
    train,
    values,
    world,
)


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
    from torch.distributed.fsdp import FullyShardedDataParallel  # which no process but a rank needs

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
    from torch.distributed.fsdp import fully_shard

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
