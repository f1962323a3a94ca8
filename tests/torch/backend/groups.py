"""Process groups over ESA for tests: made, compared with gloo's, counted; and the list of the cases."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from esa.hosts.serving import JobServer
from esa.torch import EsaGroup, SumStatistics
from tests.hosts.rig import Meeting, make_loopback_job
from tests.torch.ranks import environment_of

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


def reduce_scatter_single(*arguments: Any, **more: Any) -> Any:
    """By the name that this torch has for it."""
    return getattr(dist, "reduce_scatter_single", dist.reduce_scatter_tensor)(*arguments, **more)


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


@contextmanager
def job_of(meeting: Meeting, folder: Path, workers: int = WORKERS) -> Iterator[dict[str, str]]:
    """A new job with its PS; the environment of its ranks."""
    job = meeting.add(make_loopback_job(workers))
    job.save(folder / "job.json")
    with JobServer(job, meeting.address):
        yield environment_of(folder, folder / "job.json", meeting.address)
