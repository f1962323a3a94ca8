"""Optimisers, compilers, loaders and frameworks around DistributedDataParallel."""

from __future__ import annotations

import atexit
import importlib.util
import os
import time
import warnings
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.algorithms.join import Join
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

import esa.torch
from esa.torch import EsaWarning
from tests.torch.cases import case
from tests.torch.features.comparing import (
    CLOSE,
    LEARNT,
    STEPS,
    batch,
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
def zero_redundancy_optimizer(rank: int) -> float:
    warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, at the import
    from torch.distributed.optim import ZeroRedundancyOptimizer

    def sharded(ddp: DistributedDataParallel) -> None:
        # Adam would do, but divides by gradients: where one is near 0 the last bit decides.
        optimiser = ZeroRedundancyOptimizer(ddp.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
        for step in range(STEPS):
            optimiser.zero_grad()
            loss_of(ddp, step).backward()
            optimiser.step()

    return compare(sharded)


@case(within=CLOSE)
def compiled_by_torch(rank: int) -> float:
    warnings.simplefilter("ignore")  # the compiler's own

    def compiled(ddp: DistributedDataParallel) -> None:
        train(torch.compile(ddp), steps=3)

    return compare(compiled, lambda: nn.Linear(8, 3), bucket_cap_mb=25)  # the compiler wants the first one smallest


class Squares(torch.utils.data.Dataset[Tensor]):
    """Made in the loader's own processes."""

    def __len__(self) -> int:
        return 32

    def __getitem__(self, k: int) -> Tensor:
        return torch.linspace(0, 1, 8) * k


@case(within=CLOSE)
def loaders_that_fork_and_spawn(rank: int) -> float:
    """Their processes start while the hook's threads run, and live on when its session has ended."""
    ended = []
    with ExitStack() as stack:
        for ours in (False, True, True):
            torch.manual_seed(0)
            ddp = wrapped(nn.Linear(8, 3))
            begun = flat(ddp)
            if ours:
                esa.torch.attach(ddp, quiet=True)
            optimiser = torch.optim.SGD(ddp.parameters(), lr=1e-4)
            for method in ("fork", "spawn") if ours and len(ended) == 1 else ("fork",):
                loader = DataLoader(
                    Squares(), batch_size=8, num_workers=1, multiprocessing_context=method, persistent_workers=True
                )
                stack.callback(setattr, loader, "_iterator", None)
                for inputs in loader:
                    optimiser.zero_grad()
                    ddp(inputs + rank).square().mean().backward()
                    optimiser.step()
                assert same_on_all_ranks(ddp)
                if method == "fork":
                    ended.append(flat(ddp))
                    assert distance(ended[-1], begun) > LEARNT
            esa.torch.detach()
    assert torch.equal(ended[1], ended[2])
    return distance(ended[1], ended[0])


@case()
def a_forked_child_that_exits_leaves_the_run_to_its_parent(rank: int) -> None:
    ddp = wrapped(network())
    esa.torch.attach(ddp, quiet=True)
    train(ddp, 1)
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        atexit._run_exitfuncs()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert time.monotonic() - start < 10  # it waits for nobody
    train(ddp, 1)
    assert same_on_all_ranks(ddp)


@case(within=CLOSE)
def uneven_inputs(rank: int) -> float:
    def uneven(ddp: DistributedDataParallel) -> None:
        optimiser = momentum(ddp)
        with Join([ddp]):
            for step in range(3 + 2 * rank):
                optimiser.zero_grad()
                loss_of(ddp, step).backward()
                optimiser.step()

    return compare(uneven)


@case(within=CLOSE)
def accelerate(rank: int) -> float:
    warnings.simplefilter("ignore")
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    data = TensorDataset(*(torch.cat(parts) for parts in zip(*(batch(step) for step in range(4)), strict=True)))
    ended = []
    for ours in (False, True):
        torch.manual_seed(0)
        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
        model = network()
        model, optimiser, loader = accelerator.prepare(model, momentum(model), DataLoader(data, batch_size=8))
        if ours:
            state = esa.torch.attach(model, quiet=True)
        for inputs, targets in loader:
            with accelerator.accumulate(model):
                loss = nn.functional.mse_loss(model(inputs), targets)
                accelerator.backward(loss)
                optimiser.step()
                optimiser.zero_grad()
        assert same_on_all_ranks(model)
        ended.append(flat(model))
    AcceleratorState._reset_state(reset_partial_state=True)
    assert state.statistics.iterations == len(loader) // 2 > 0
    return distance(ended[1], ended[0])


def lightning_fit(**options: Any) -> Tensor:
    """Weights after two epochs by Lightning's Trainer."""
    lightning = importlib.import_module("lightning")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layers = network()

        def training_step(self, given: tuple[Tensor, Tensor], _: int) -> Tensor:
            return nn.functional.mse_loss(self.layers(given[0]), given[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return momentum(self.layers)

    torch.manual_seed(0)
    module = Module()
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=2,
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"strategy": "ddp", **options},
    )
    trainer.fit(module, DataLoader(TensorDataset(*batch(1, 64)), batch_size=8))
    assert same_on_all_ranks(module)
    return flat(module)


@case(within=CLOSE)
def lightning_with_the_callback(rank: int) -> float:
    warnings.simplefilter("ignore")  # Lightning has much to say
    from esa.torch.lightning import EsaCallback

    plain = lightning_fit()
    callback = EsaCallback(quiet=True)
    ours = lightning_fit(callbacks=[callback])
    assert callback.state.statistics.iterations == 8
    return distance(ours, plain)


@case()
def lightnings_own_hook_registers_nothing_and_the_session_says_so(rank: int) -> None:
    from lightning.pytorch.strategies import DDPStrategy

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with esa.torch.session(quiet=True) as session:
            state, hook = session.hook()
            lightning_fit(strategy=DDPStrategy(ddp_comm_state=state, ddp_comm_hook=hook))
    told = [str(w.message) for w in caught if w.category is EsaWarning]
    assert len(told) == 1, told
    assert "no bucket of gradients ever reached the hook: the switch summed nothing" in told[0]
    assert state.statistics.buckets == 0


@case()
def an_error_in_lightnings_fit_ends_the_session(rank: int) -> None:
    """At once, not with the process: the other rank learns of it instead of waiting."""
    warnings.simplefilter("ignore")
    from lightning.pytorch import Callback

    from esa.torch.lightning import EsaCallback

    class Stops(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, given: Any, batch_idx: int) -> None:
            if rank == 1 and batch_idx == 2:
                raise ArithmeticError("the loss is gone")

    error, text = (
        (ArithmeticError, "the loss is gone") if rank == 1 else (RuntimeError, "rank 1 .*has ended: ArithmeticError")
    )
    with pytest.raises(error, match=text):
        lightning_fit(callbacks=[EsaCallback(quiet=True), Stops()])
