"""Models for cases of the DDP hook, what trains them, and the list of the cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from esa.torch import EsaState, esa_hook

WORKERS = 3


CASES: dict[str, Callable[[int], None]] = {}


def network(seed: int = 0, width: int = 40) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3))


def distributed(model: nn.Module, state: EsaState | None, **options: Any) -> DistributedDataParallel:
    """`model` under DDP, with buckets of a layer or so: cap in MB."""
    ddp = DistributedDataParallel(model, **{"bucket_cap_mb": 0.005, **options})
    if state is not None:
        ddp.register_comm_hook(state, esa_hook)
    return ddp


def batch(rank: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator("cpu").manual_seed(1000 * step + rank)
    inputs = torch.randn(16, 8, generator=generator, device="cpu").to(torch.get_default_device())
    return inputs, inputs[:, :3].sin()


def descend(*models: nn.Module) -> None:
    """One step of SGD."""
    with torch.no_grad():
        for parameter in (p for model in models for p in model.parameters()):
            assert parameter.grad is not None
            parameter.sub_(parameter.grad, alpha=0.1)


def train(ddp: DistributedDataParallel, rank: int, steps: int = 8) -> list[float]:
    losses = []
    for step in range(steps):
        inputs, targets = batch(rank, step)
        ddp.zero_grad()
        loss = nn.functional.mse_loss(ddp(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        descend(ddp)
        losses.append(loss.item())
    return losses


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def assert_same_on_all_ranks(tensor: torch.Tensor) -> None:
    mine = tensor.cpu()
    copies = [torch.empty_like(mine) for _ in range(WORKERS)]
    dist.all_gather(copies, mine)
    assert all(torch.equal(copy, mine) for copy in copies)


def averaged(gradients: torch.Tensor) -> torch.Tensor:
    total = gradients.to("cpu", copy=True)
    dist.all_reduce(total)
    return total.div_(WORKERS).to(gradients.device)


class OneGradient(nn.Module):
    """Parameters whose gradients are exactly what the caller gives: one bucket per parameter."""

    def __init__(self, *sizes: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.zeros(size, dtype=dtype)) for size in sizes])

    def forward(self, gradients: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([(w * g).sum() for w, g in zip(self.weights, gradients, strict=True)]).sum()


def gradients_of(ddp: DistributedDataParallel, given: list[torch.Tensor]) -> list[torch.Tensor]:
    ddp.zero_grad()
    ddp(given).backward()
    gradients = [p.grad for p in ddp.parameters()]
    assert all(g is not None for g in gradients)
    return [g.clone() for g in gradients if g is not None]


def case(function: Callable[[int], None]) -> Callable[[int], None]:
    """Runs in every worker process, with its rank."""
    CASES[function.__name__] = function
    return function
