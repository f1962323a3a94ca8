"""Precision: autocast, gradient scaling, NaN, fixed scales, gradients compressed to 16 bits."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel

import esa.torch
from esa.torch import EsaWarning
from tests.torch.cases import case
from tests.torch.features.comparing import (
    CLOSE,
    STEPS,
    compare,
    distance,
    flat,
    loss_of,
    momentum,
    network,
    same_on_all_ranks,
    train,
    wrapped,
)


@case(within=1e-5)
def autocast_in_bfloat16(rank: int) -> float:
    """A weight that differs by 1e-8 is now and then rounded to another bfloat16, 2**-8 away, and so are gradients."""

    def automatic(ddp: DistributedDataParallel) -> None:
        optimiser = momentum(ddp)
        for step in range(STEPS):
            optimiser.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = loss_of(ddp, step)
            loss.backward()
            optimiser.step()

    return compare(automatic)


@case(within=CLOSE)
def a_grad_scaler_skips_a_step_with_infinities_on_all_ranks_alike(rank: int) -> float:
    scales: list[list[float]] = []

    def scaled(ddp: DistributedDataParallel) -> None:
        optimiser, scaler = momentum(ddp), torch.amp.GradScaler("cpu", init_scale=2.0**16)
        scales.append([])
        for step in range(STEPS):
            before = flat(ddp)
            optimiser.zero_grad()
            loss = scaler.scale(loss_of(ddp, step))
            if step == 2 and rank == 1:
                loss = loss * float("inf")
            loss.backward()
            scaler.step(optimiser)
            scaler.update()
            scales[-1].append(scaler.get_scale())
            assert torch.equal(before, flat(ddp)) == (step == 2)

    warnings.simplefilter("ignore", EsaWarning)
    difference = compare(scaled)
    assert scales[0] == scales[1] == [2.0**16] * 2 + [2.0**15] * 4
    return difference


@case()
def a_nan_of_one_rank_reaches_all_and_is_told_once(rank: int) -> None:
    ddp = wrapped(network())
    state = esa.torch.attach(ddp, quiet=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(4):
            if step == 1:  # DDP has rebuilt its buckets
                before = state.statistics.buckets
            ddp.zero_grad()
            loss = loss_of(ddp, step)
            (loss * float("nan") if step in (1, 2) and rank == 1 else loss).backward()
            broken = [bool(p.grad.isnan().all()) for p in ddp.parameters() if p.grad is not None]
            assert broken == [step in (1, 2)] * 6
        esa.torch.detach()
    told = [str(w.message) for w in caught if w.category is EsaWarning]
    assert len(told) == 1, told
    assert ("this rank has" if rank == 1 else "another rank has") in told[0]
    buckets = (state.statistics.buckets - before) // 3
    assert buckets > 1
    assert state.statistics.redone_buckets == 2 * buckets
    assert state.statistics.overflows == (2 * buckets if rank == 1 else 0)


@case(within=CLOSE)
def gradients_below_the_unit_of_a_fixed_scale(rank: int) -> float:
    """Gradients of 1e-9 move weights that a learning rate of 1e8 makes move."""

    def tiny(ddp: DistributedDataParallel) -> None:
        optimiser = torch.optim.SGD(ddp.parameters(), lr=1e8)
        for step in range(STEPS):
            optimiser.zero_grad()
            (loss_of(ddp, step) * 1e-9).backward()
            assert all(p.grad is not None and p.grad.abs().max() < 5e-7 for p in ddp.parameters())
            optimiser.step()

    return compare(tiny)


def compressed(plain: Any, wrapper: Any) -> float:
    ended = []
    for ours in (False, True):
        torch.manual_seed(0)
        ddp = wrapped(network())
        if ours:
            state = esa.torch.attach(ddp, wrapper=wrapper, quiet=True)
        else:
            ddp.register_comm_hook(None, plain)
        train(ddp)
        assert same_on_all_ranks(ddp)
        ended.append(flat(ddp))
    assert state.statistics.iterations == STEPS
    return distance(ended[1], ended[0])


@case(within=1e-5)
def gradients_compressed_to_float16(rank: int) -> float:
    """Torch's hook adds float16, ESA adds exactly what was rounded to float16: they differ in a last bit, 2**-11."""
    return compressed(default_hooks.fp16_compress_hook, default_hooks.fp16_compress_wrapper)


@case(within=1e-4)
def gradients_compressed_to_bfloat16(rank: int) -> float:
    """As above; a last bit of bfloat16 is 2**-8."""

    def plain(state, bucket):  # type: ignore[no-untyped-def]  # DDP wants types here, or none
        return default_hooks.bf16_compress_hook(state, bucket)  # which it refuses under its own name on CPUs

    return compressed(plain, default_hooks.bf16_compress_wrapper)
