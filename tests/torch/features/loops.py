"""Training loops: accumulation, unused parameters, checkpointing, clipping, two models on one session."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import esa.torch
from tests.torch.cases import case
from tests.torch.features.comparing import (
    CLOSE,
    STEPS,
    batch,
    compare,
    distance,
    flat,
    gathered,
    loss_of,
    momentum,
    network,
    same_on_all_ranks,
    train,
    wrapped,
)


@case(within=CLOSE)
def plain_training(rank: int) -> float:
    return compare(train)


@case(within=CLOSE)
def gradient_accumulation(rank: int) -> float:
    def accumulate(ddp: DistributedDataParallel) -> None:
        optimiser = momentum(ddp)
        for step in range(0, 12, 3):
            optimiser.zero_grad()
            with ddp.no_sync():
                for micro in range(2):
                    loss_of(ddp, step + micro).backward()
            loss_of(ddp, step + 2).backward()
            optimiser.step()

    return compare(accumulate)


class Branches(nn.Module):
    """Of three layers each rank leaves out another one, and nobody ever uses the last."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Linear(8, 8)
        self.backs = nn.ModuleList([nn.Linear(8, 3) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        return self.backs[dist.get_rank() % 2](self.front(x))


@case(within=CLOSE)
def unused_parameters(rank: int) -> float:
    return compare(train, Branches, find_unused_parameters=True)


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.front, self.middle, self.back = nn.Linear(8, 40), nn.Linear(40, 40), nn.Linear(40, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = checkpoint(lambda y: self.middle(y).tanh(), self.front(x).tanh(), use_reentrant=False)
        hidden = checkpoint(lambda y: self.middle(y).tanh(), hidden, use_reentrant=False)  # and once more
        return self.back(hidden)


@case(within=CLOSE)
def static_graph_with_checkpointing(rank: int) -> float:
    return compare(train, Checkpointed, static_graph=True)


@case(within=CLOSE)
def gradient_clipping(rank: int) -> float:
    def clipped(ddp: DistributedDataParallel) -> None:
        optimiser = momentum(ddp)
        for step in range(STEPS):
            optimiser.zero_grad()
            loss_of(ddp, step).backward()
            norm = nn.utils.clip_grad_norm_(ddp.parameters(), 0.05)
            assert norm > 0.05
            assert torch.equal(*gathered(norm))
            optimiser.step()

    return compare(clipped)


@case(within=CLOSE)
def a_gan_is_two_models_on_one_session(rank: int) -> float:
    def adversaries(ours: bool) -> Tensor:
        torch.manual_seed(0)
        generator, critic = wrapped(network()), wrapped(nn.Sequential(nn.Linear(3, 30), nn.ReLU(), nn.Linear(30, 1)))
        states = [esa.torch.attach(model, quiet=True) for model in (generator, critic) if ours]
        optimisers = momentum(generator), momentum(critic)
        torch.manual_seed(10 + rank)
        for step in range(STEPS):
            noise, real = batch(step)
            optimisers[1].zero_grad()
            fake = generator(noise)
            (critic(fake.detach()).mean() - critic(real).mean()).tanh().backward()
            optimisers[1].step()
            optimisers[0].zero_grad()
            # One backward pass through both: the buckets of two states interleave.
            (-critic(fake).mean()).backward()
            optimisers[0].step()
        assert same_on_all_ranks(generator, critic)
        if ours:
            assert states[0].statistics.iterations == STEPS
            assert states[1].statistics.iterations == 2 * STEPS
        return flat(generator, critic)

    plain = adversaries(False)
    return distance(adversaries(True), plain)
