"""A model trained over gloo and one like it over ESA: the distance of their weights, relative to the weights.

The bounds. An average of two ranks is off by at most 3e-8 of its fragment's largest value (docs/protocol.md), about the
rounding of float32, and a step takes a few per cent of it into the weights, which are rounded to float32, too (6e-8 of
each at most, in random directions): after some steps they differ by about 1e-8 in the norm. `CLOSE` allows ten times
that. Where arithmetic of fewer bits follows, such a difference sometimes falls on the other side of a rounding: bounds
of those cases say so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import esa.torch

CLOSE = 1e-7
STEPS = 6
LEARNT = 1e-3  # what a training changes at least, so that a wrong sum would show

Train = Callable[[DistributedDataParallel], None]


def network(width: int = 40) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3))


def batch(step: int, size: int = 16) -> tuple[Tensor, Tensor]:
    """This rank's own."""
    generator = torch.Generator("cpu").manual_seed(1000 * step + dist.get_rank())
    inputs = torch.randn(size, 8, generator=generator, device="cpu").to(torch.get_default_device())
    return inputs, inputs[:, :3].sin()


def loss_of(model: nn.Module, step: int) -> Tensor:
    inputs, targets = batch(step)
    return nn.functional.mse_loss(model(inputs), targets)


def momentum(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def train(ddp: DistributedDataParallel, steps: int = STEPS) -> None:
    optimiser = momentum(ddp)
    for step in range(steps):
        optimiser.zero_grad()
        loss_of(ddp, step).backward()
        optimiser.step()


def wrapped(model: nn.Module, **options: Any) -> DistributedDataParallel:
    """With buckets of a layer or so."""
    return DistributedDataParallel(model, **{"bucket_cap_mb": 0.005, **options})


def flat(*models: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for model in models for p in model.parameters()])


def gathered(tensor: Tensor) -> list[Tensor]:
    mine = tensor.cpu()
    copies = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(copies, mine)
    return copies


def same_on_all_ranks(*models: nn.Module) -> bool:
    return all(torch.equal(copy, flat(*models).cpu()) for copy in gathered(flat(*models)))


def distance(ours: Tensor, plain: Tensor) -> float:
    return float((ours - plain).norm() / plain.norm())


def compare(train: Train, build: Callable[[], nn.Module] = network, **options: Any) -> float:
    """Train over gloo and over ESA; the distance of the weights."""
    ended = []
    for ours in (False, True):
        torch.manual_seed(0)
        ddp = wrapped(build(), **options)
        begun = flat(ddp)
        state = esa.torch.attach(ddp, quiet=True) if ours else None
        torch.manual_seed(1)
        train(ddp)
        assert same_on_all_ranks(ddp)
        assert state is None or state.statistics.iterations > 1
        ended.append(flat(ddp))
        assert distance(ended[-1], begun) > LEARNT
    return distance(ended[1], ended[0])
