"""What people do with DistributedDataParallel does the same through `esa.torch`: each case a test, in real processes.

Runs, PS and protocol are the real ones, without a network (`tests/hosts/rig.py`). A case trains a model over gloo and
one like it over ESA; what it returns is the distance of their weights, relative to the weights.

The bounds. An average of two ranks is off by at most 3e-8 of its fragment's largest value (docs/protocol.md), about the
rounding of float32, and a step takes a few per cent of it into the weights, which are rounded to float32, too (6e-8 of
each at most, in random directions): after some steps they differ by about 1e-8 in the norm. `CLOSE` allows ten times
that. Where arithmetic of fewer bits follows, such a difference sometimes falls on the other side of a rounding: bounds
of those cases say so.

One file, though a long one: its cases share a switch, three jobs and three processes, which take longer to begin than
most cases take to run.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import pickle
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.algorithms.join import Join
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

import esa.torch
from esa.errors import JoinError
from esa.hosts import WorkerEndpoint, join
from esa.job import Job
from esa.net import open_udp_socket
from esa.torch import EsaState, EsaWarning, Session, esa_hook
from tests.torch.cases import CASES, STRAGGLER_S, Ranks, begin_world, case, chosen, job_file, save

CLOSE = 1e-7
STEPS = 6
LEARNT = 1e-3  # what a training changes at least, so that a wrong sum would show

Train = Callable[[DistributedDataParallel], None]


def network(width: int = 40) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3))


def batch(step: int, size: int = 16) -> tuple[Tensor, Tensor]:
    """This rank's own."""
    inputs = torch.randn(size, 8, generator=torch.Generator().manual_seed(1000 * step + dist.get_rank()))
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
    copies = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(copies, tensor)
    return copies


def same_on_all_ranks(*models: nn.Module) -> bool:
    return all(torch.equal(copy, flat(*models)) for copy in gathered(flat(*models)))


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


# Training loops


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


# Precision


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


# Optimisers, compilers, loaders, frameworks


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


# Sessions


@case(within=CLOSE)
def a_state_from_a_checkpoint_goes_on_in_a_second_run(rank: int) -> float:
    def saved(ddp: DistributedDataParallel, state: EsaState | None) -> bytes:
        return pickle.dumps({"weights": ddp.module.state_dict(), "state": state})

    ended, epochs = [], []
    for ours in (False, True):
        torch.manual_seed(0)
        ddp, state = wrapped(network()), None
        with ExitStack() as stack:
            if ours:
                session = stack.enter_context(esa.torch.session(quiet=True))
                epochs.append(session.worker.job.epoch)
                state, hook = session.hook(ddp, total_iterations=99)
                ddp.register_comm_hook(state, hook)
            train(ddp, 3)
            kept = saved(ddp, state)
        found = pickle.loads(kept)
        ddp = wrapped(network())
        ddp.module.load_state_dict(found["weights"])
        if ours:
            session = stack.enter_context(esa.torch.session(quiet=True))
            epochs.append(session.worker.job.epoch)
            again = session.state(ddp, restored=found["state"])
            ddp.register_comm_hook(again, esa_hook)
            assert again.total_iterations == 99
        train(ddp, 3)
        ended.append(flat(ddp))
        if ours:
            assert again.statistics.iterations == 6
            assert 0 < session.traffic.repeated < again.statistics.repeated_fragments
            with pytest.raises(ValueError, match="fraction_bits: a restored state keeps its own settings"):
                session.state(restored=found["state"], fraction_bits=3)
            session.close()
    assert epochs[0] < epochs[1]
    return distance(ended[1], ended[0])


@case(within=CLOSE)
def a_process_group_made_anew(rank: int) -> float:
    """Without a word to ESA in between: the session of the first is ended, the job runs again."""
    ended, epochs = [], []
    for ours in (False, True):
        torch.manual_seed(0)
        model = network()
        for phase in range(2):
            dist.destroy_process_group()
            begin_world(f"anew-{ours}-{phase}", rank, 2)
            ddp = wrapped(model)
            if ours:
                esa.torch.attach(ddp, quiet=True)
                epochs.append(esa.torch.attached().worker.job.epoch)
            train(ddp, 3)
            assert same_on_all_ranks(ddp)
        ended.append(flat(model))
    assert epochs[0] < epochs[1]
    return distance(ended[1], ended[0])


@case(within=CLOSE)
def a_straggler_is_waited_for(rank: int) -> float:
    def late(ddp: DistributedDataParallel) -> None:
        train(ddp, 2)
        if rank == 1 and ddp._comm_hooks:
            time.sleep(STRAGGLER_S)
        train(ddp, 2)

    return compare(late)


@case(within=CLOSE)
def ranks_in_another_order_than_the_jobs(rank: int) -> float:
    """As on hosts whose ranks were given out in another order: rank 0 is the job's worker 1."""
    ended = []
    for ours in (False, True):
        torch.manual_seed(0)
        ddp = wrapped(network())
        with ExitStack() as stack:
            if ours:
                job = Job.load(os.environ["ESA_JOB"])
                assert dist.group.WORLD is not None
                worker = join(job, rank=1 - rank, size=2)
                assert worker.rank == 1 - rank
                session = stack.enter_context(Session(job, worker, dist.group.WORLD, quiet=True))
                ddp.register_comm_hook(*session.hook(ddp))
            train(ddp)
            assert same_on_all_ranks(ddp)
        ended.append(flat(ddp))
    return distance(ended[1], ended[0])


@case()
def settings_that_differ_between_ranks(rank: int) -> None:
    ddp = wrapped(network())
    with pytest.raises(ValueError, match=r"^quantisation has to be the same on all ranks: ") as differing:
        esa.torch.attach(ddp, quiet=True, quantisation="fixed" if rank == 0 else "adaptive")
    assert "adaptive, 64 lanes to a fragment on rank 1; fixed with 20 fraction bits, " in str(differing.value)
    assert "\n" not in str(differing.value)
    with pytest.raises(ValueError, match=r"fixed with 11 fraction bits, 64 .* on rank 1; fixed with 12 .* on rank 0"):
        esa.torch.attach(ddp, quantisation="fixed", fraction_bits=12 - rank)
    with pytest.raises(ValueError, match=r"^rank 1 \(.*\): fraction_bits: 99 is not in -64..64$"):
        esa.torch.attach(ddp, fraction_bits=99 if rank == 1 else 9)
    state = esa.torch.attach(ddp, quantisation="fixed", fraction_bits=24)
    assert (state.quantisation, state.fraction_bits) == ("fixed", 24)
    train(ddp, 1)


@case()
def a_model_that_only_one_rank_cannot_send(rank: int) -> None:
    with esa.torch.session(quiet=True) as session:
        with pytest.raises(TypeError, match=r"^rank 1 \(.*\): the model: Embedding\(sparse=True\)"):
            session.hook(nn.Embedding(4, 2, sparse=rank == 1))
        ddp = wrapped(network())
        ddp.register_comm_hook(*session.hook(ddp))
        train(ddp, 1)


def refused(error: type[Exception], match: str) -> None:
    for attempt in (lambda: esa.torch.attach(wrapped(network())), esa.torch.session):
        start = time.monotonic()
        with pytest.raises(error, match=match) as caught:
            attempt()
        assert "\n" not in str(caught.value)
        assert time.monotonic() - start < 20


@case(job="three")
def a_job_of_three_in_a_world_of_two(rank: int) -> None:
    refused(JoinError, "^all ranks: job .* has 3 workers, the process group 2: ")


@case(job="elsewhere")
def a_rank_whose_address_is_another_hosts(rank: int) -> None:
    """The job has one worker here and one on another host; both ranks run here."""
    refused(JoinError, r"rank [01] \(.*\): job .*: 127\..*:20000 is in use on this host: another rank")


@case()
def a_rank_that_cannot_join_before_the_other_has_come(rank: int) -> None:
    """What it told the coordinator then, the other would never hear."""
    job = Job.load(os.environ["ESA_JOB"])
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        if rank == 0:

            def late(*arguments: Any, **settings: Any) -> WorkerEndpoint:
                time.sleep(2)
                return join(*arguments, **settings)

            patch.setattr(sys.modules["esa.torch.session"], "join", late)
        else:
            taken = [stack.enter_context(open_udp_socket((str(w.ip), w.udp_port))) for w in job.workers]
            threading.Timer(1, taken[0].close).start()
        start = time.monotonic()
        with pytest.raises(JoinError, match=r"rank 1 \(.*\): job .*:20000 are in use on this host"):
            esa.torch.attach(wrapped(network()))
        assert time.monotonic() - start < 20


@case()
def a_rank_that_has_another_jobs_file(rank: int) -> None:
    if rank == 1:
        os.environ["ESA_JOB"] = job_file("nowhere")
    refused(JoinError, r"^the job has to be the same on all ranks: j\d+ \(number \d+, 2 workers, digest .*; j\d+ \(")


@case()
def a_rank_without_a_job(rank: int) -> None:
    if rank == 1:
        del os.environ["ESA_JOB"]
    refused(JoinError, r"^rank 1 \(.*\): job: not known: give the path of its file, or set ESA_JOB")


@case(size=3)
def a_world_larger_than_the_job(rank: int) -> None:
    refused(JoinError, "^all ranks: job .* has 2 workers, the process group 3: give as process_group the group of")


@case(size=3, within=CLOSE)
def two_of_three_ranks_are_the_job(rank: int) -> float:
    group = dist.new_group([0, 2])
    ended = [torch.ones(1), torch.ones(1)]
    if rank != 1:
        for k, ours in enumerate((False, True)):
            torch.manual_seed(0)
            ddp = wrapped(network(), process_group=group)
            if ours:
                esa.torch.attach(ddp, quiet=True)
            train(ddp)
            ended[k] = flat(ddp)
        lone = dist.new_group([rank], use_local_synchronization=True)
        with pytest.raises(ValueError, match=r"group has ranks \[[02]\], the session's \[0, 2\]: a process takes part"):
            esa.torch.attach(wrapped(network(), process_group=lone))
    return distance(ended[1], ended[0])


@case(size=3, job="three", within=CLOSE)
def three_ranks(rank: int) -> float:
    return compare(train)


def _jobs() -> dict[str, Job]:
    from tests.hosts.rig import make_loopback_job

    def moved(job: Job, *workers: int) -> Job:
        """To another host, which does not exist (RFC 5737)."""
        members = [
            {**member.model_dump(), **({"ip": f"192.0.2.{k}"} if k in workers else {})}
            for k, member in enumerate(job.workers)
        ]
        return Job.model_validate(job.model_dump() | {"workers": members})

    pair = make_loopback_job(2)
    jobs = {"pair": pair, "three": make_loopback_job(3), "elsewhere": moved(make_loopback_job(2), 1)}
    return {**jobs, "nowhere": moved(pair, 0, 1)}


@pytest.fixture(scope="module")
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    """All cases that were asked for have run."""
    from esa.hosts.serving import JobServer
    from tests.hosts.rig import Meeting

    folder, names = tmp_path_factory.mktemp("ranks"), [name for name in chosen(request) if not _missing(name)]
    jobs = _jobs()
    save(jobs, folder)
    with Meeting(folder) as meeting:
        for name in ("pair", "three", "elsewhere"):
            meeting.enter_context(JobServer(meeting.add(jobs[name]), meeting.address))
        size = max(CASES[name].size for name in names)
        yield Ranks(__name__, names, size, folder, {"ESA_CONTROLLER": meeting.address})


def _missing(name: str) -> str:
    """What the case needs and is not here."""
    if name == "compiled_by_torch":
        return "" if shutil.which("g++") or shutil.which("clang++") else "a C++ compiler"
    for package in ("accelerate", "lightning"):
        if package in name and importlib.util.find_spec(package) is None:
            return package
    return ""


@pytest.mark.slow
@pytest.mark.timeout(300)  # of the first, behind which all cases run
@pytest.mark.parametrize("name", CASES)
def test_in_real_processes(name: str, request: pytest.FixtureRequest) -> None:
    if missing := _missing(name):
        pytest.skip(f"needs {missing}")
    ranks: Ranks = request.getfixturevalue("ranks")
    print(ranks.figures(name))
    failures = ranks.failures(name)
    assert not failures, "\n".join(failures)


@pytest.mark.slow
def test_the_processes_end_by_themselves(ranks: Ranks) -> None:
    assert not ranks.endings()
