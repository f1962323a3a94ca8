"""Models on a GPU, which all ranks share: gradients are quantised there, and sums come back before DDP goes on."""

from __future__ import annotations

from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel

import esa.torch
from tests.torch.cases import WAIT_S, case
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


@case(within=CLOSE)
def a_model_on_a_gpu(rank: int) -> float:
    with torch.device("cuda"):
        return max(compare(train), compare(train, gradient_as_bucket_view=True))


@case(within=CLOSE)
def a_model_on_a_gpu_whose_backward_pass_has_a_stream_of_its_own(rank: int) -> float:
    """Many times over: what was read or written too early would be another number now and then."""
    with torch.device("cuda"), torch.cuda.stream(torch.cuda.Stream()):
        return compare(lambda ddp: train(ddp, 40), lambda: network(700))


@case(within=1e-5)
def autocast_in_bfloat16_on_a_gpu(rank: int) -> float:
    def automatic(ddp: DistributedDataParallel) -> None:
        optimiser = momentum(ddp)
        for step in range(STEPS):
            optimiser.zero_grad()
            with torch.autocast("cuda", torch.bfloat16):
                loss = loss_of(ddp, step)
            loss.backward()
            optimiser.step()

    with torch.device("cuda"):
        return compare(automatic)


@case(within=1e-3)
def gradients_of_a_gpu_compressed_to_16_bits(rank: int) -> float:
    ended = []
    with torch.device("cuda"):
        for ours in (False, True):
            torch.manual_seed(0)
            ddp = wrapped(network())
            if ours:
                esa.torch.attach(ddp, wrapper=default_hooks.fp16_compress_wrapper, quiet=True)
            train(ddp)
            assert same_on_all_ranks(ddp)
            ended.append(flat(ddp))
    return distance(ended[1], ended[0])


@case(size=1, job="alone", within=CLOSE)
def nccl_is_the_process_group(rank: int) -> float:
    """It takes one rank a GPU: here, one in all."""
    torch.cuda.set_device(0)
    group = dist.new_group([0], timedelta(seconds=WAIT_S), backend="nccl")
    with torch.device("cuda"):
        return compare(train, process_group=group)
