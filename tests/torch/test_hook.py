"""The DDP hook: three processes train over an exact sum, once for all cases, and each case is a test.

The transport here is a real one: int32 sums over a gloo group of its own. What a switch adds is tested elsewhere.

One file, though a long one: its cases share three processes, which take longer to begin than most cases take to run.
"""

from __future__ import annotations

import json
import os
import pickle
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from esa.job import Job, Pool
from esa.priority import Urgency
from esa.torch import EsaState, EsaWarning, Statistics, Timeline, check_model, esa_hook
from esa.transport import Reduced, Transport
from experiments.studies.bench.accuracy import KINDS, compare, gradients
from tests.p4.traffic import job as some_job
from tests.torch.gloo_transport import LIMIT_S, Exponents, GlooTransport, Lanes
from tests.torch.ranks import CONTEXT

WORKERS = 3
Quantisation = Literal["fixed", "adaptive"]
CASES: dict[str, Callable[[int], None]] = {}


class TransportError(Exception):
    pass


class FailingTransport(GlooTransport):
    """Works `good` times; then the sum never comes, or cannot even be asked for."""

    def __init__(self, good: int, when: str) -> None:
        super().__init__()
        self._good = good
        self._when = when

    def all_reduce(self, lanes: Lanes, priority: int, exponents: Exponents) -> Future[Reduced]:
        if len(self.submissions) < self._good:
            return super().all_reduce(lanes, priority, exponents)
        error = TransportError("job 'digits': seq 7: no word from ranks 1, 2 for 30 s")
        if self._when == "submitting":
            raise error
        future: Future[Reduced] = Future()
        future.set_exception(error)
        return future


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
    generator = torch.Generator().manual_seed(1000 * step + rank)
    inputs = torch.randn(16, 8, generator=generator)
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
    copies = [torch.empty_like(tensor) for _ in range(WORKERS)]
    dist.all_gather(copies, tensor)
    assert all(torch.equal(copy, tensor) for copy in copies)


def averaged(gradients: torch.Tensor) -> torch.Tensor:
    total = gradients.clone()
    dist.all_reduce(total)
    return total.div_(WORKERS)


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


@case
def training_follows_plain_ddp_and_all_ranks_end_with_the_same_weights(rank: int) -> None:
    plain = distributed(network(), None)
    expected = train(plain, rank)
    settings: list[tuple[Quantisation, dict[str, Any]]] = [
        ("fixed", {}),
        ("adaptive", {}),
        ("adaptive", {"gradient_as_bucket_view": True}),
        ("fixed", {"static_graph": True}),
        ("fixed", {"bucket_cap_mb": 25}),
    ]
    for quantisation, options in settings:
        transport = GlooTransport()
        with EsaState(transport, quantisation=quantisation) as state:
            ddp = distributed(network(), state, **options)
            losses = train(ddp, rank)
        assert np.allclose(losses, expected, atol=1e-4), (options, quantisation)
        assert torch.allclose(flat(ddp), flat(plain), atol=1e-4)
        assert_same_on_all_ranks(flat(ddp))
        assert state.statistics.iterations == len(losses)
        statistics = state.statistics
        assert statistics.redone_buckets == statistics.overflows == 0
        assert (statistics.repeated_fragments > 0) == (quantisation == "adaptive")
        assert statistics.vanished_values < statistics.nonzero_values / 100
        if "bucket_cap_mb" not in options:
            assert transport.most_in_flight > 1
        assert not transport.closed
        transport.close()


@case
def gradients_that_a_fixed_scale_loses_come_out_right_by_default(rank: int) -> None:
    given = [torch.arange(1, 6) * 1e-12 * (rank + 1)]
    exact = averaged(given[0])
    transport = GlooTransport()
    with EsaState(transport, owns_transport=True) as state:
        ddp = distributed(OneGradient(5), state)
        for growth in (1, 3, 0.2, 0.0001, 0.0001):
            got = gradients_of(ddp, [given[0] * growth])[0]
            assert torch.allclose(got, exact * growth, rtol=1e-6, atol=0), growth
            assert_same_on_all_ranks(got)
    #                                                    1      3  0.2   0.0001
    assert [s.lanes for s in transport.submissions] == [5, 64, 5, 5, 64, 5, 64, 5]
    statistics = state.statistics
    assert (statistics.fragments, statistics.repeated_fragments) == (5, 3)
    assert statistics.bytes == 4 * (5 * 5 + 3 * 64)
    assert statistics.redone_buckets == statistics.vanished_values == 0
    small = torch.full((5,), 2.0**-22)  # at 20 fraction bits nothing is left of it
    with (
        pytest.warns(
            EsaWarning, match=r"15 of this rank's 15 non-zero .* below 2\*\*-21: take quantisation='adaptive'"
        ),
        EsaState(GlooTransport(), quantisation="fixed", fraction_bits=20, owns_transport=True) as state,
    ):
        assert not gradients_of(distributed(OneGradient(5, 5, 5), state), [small] * 3)[0].any()
    assert state.statistics.vanished_values == state.statistics.nonzero_values == 15


@case
def averages_are_within_a_millionth_of_float64s(rank: int) -> None:
    """Of each fragment, in several buckets, while the values change from one iteration to the next."""
    size = 700  # of three parameters; DDP lays them out as it likes
    for dtype, torch_dtype in ((np.float32, torch.float32), (np.float64, torch.float64)):
        for kind in KINDS:
            with EsaState(GlooTransport(delay_s=0), owns_transport=True) as state:
                ddp = distributed(OneGradient(size, size, size, dtype=torch_dtype), state, bucket_cap_mb=0.002)
                for given in list(gradients(kind, WORKERS, dtype, values=3 * size))[:4]:
                    got = gradients_of(ddp, list(torch.from_numpy(given[rank]).split(size)))
                    for k, gradient in enumerate(got):
                        array, fragment = compare(gradient.numpy(), given[:, k * size : (k + 1) * size])
                        assert array <= 1e-6, kind
                        assert fragment <= 3e-6, kind  # blocks of 64, which need not be a fragment's
                        assert_same_on_all_ranks(gradient)
            assert state.statistics.redone_buckets == 0
            assert state.statistics.repeated_fragments > 0
            assert (state.statistics.float64_buckets > 0) == (dtype == np.float64)


@case
def zeros_and_what_has_no_scale_leave_the_agreed_exponents_alone(rank: int) -> None:
    transport = GlooTransport()
    with EsaState(transport, owns_transport=True) as state:
        ddp = distributed(OneGradient(4), state)
        for value in (1.0, 100.0, 100.0, 0.0, 90.0, float("nan"), 80.0):
            got = gradients_of(ddp, [torch.full((4,), value if rank == 1 else 0.0)])[0]
            assert torch.allclose(got, torch.full((4,), value / WORKERS), equal_nan=True)
    rounds = [s.lanes for s in transport.submissions]
    #                 1.0    100    100 0 90 nan 80
    assert rounds == [4, 64, 4, 64, 4, 4, 4, 4, 4]
    assert state.statistics.redone_buckets == 1


@case
def repeats_follow_the_last_bucket_as_one_array(rank: int) -> None:
    transport = GlooTransport()
    sizes = (1000, 70, 500)
    with EsaState(transport, owns_transport=True) as state:
        ddp = distributed(OneGradient(*sizes), state, bucket_cap_mb=0.00001)
        given = [torch.ones(n) for n in sizes]
        gradients_of(ddp, given)  # after it the buckets are rebuilt
        gradients_of(ddp, given)
        transport.submissions.clear()
        given[0][999] = given[1][0] = given[2][64] = 50.0  # one fragment each, the first a partly full one
        given[2][499] = float("nan") if rank == 2 else 1.0  # and then all of this bucket is redone
        got = gradients_of(ddp, given)
        for gradient, mine in zip(got, given, strict=True):
            assert torch.allclose(gradient, averaged(mine), rtol=1e-6, equal_nan=True)
    assert sorted(s.lanes for s in transport.submissions[:3]) == sorted(sizes)
    assert [s.lanes for s in transport.submissions[3:]] == [2 * 64]
    assert transport.submissions[3].priority == max(s.priority for s in transport.submissions[:3])
    assert state.statistics.redone_buckets == 1


@case
def each_kind_of_detour_is_told_once(rank: int) -> None:
    ones = torch.ones(3, dtype=torch.float64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with EsaState(GlooTransport(), owns_transport=True) as state:
            ddp = distributed(OneGradient(3, 3, dtype=torch.float64), state, bucket_cap_mb=0.00001)
            for _ in range(3):
                gradients_of(ddp, [ones * (np.inf if rank == 1 else 1), ones])
                gradients_of(ddp, [ones, torch.tensor([1.0, 1e-30, 1e-30], dtype=torch.float64)])
        again = pickle.loads(pickle.dumps(state))
        again.attach(GlooTransport())
        gradients_of(distributed(OneGradient(3, dtype=torch.float64), again), [ones])
        again.close()
    texts = sorted(str(w.message) for w in caught if w.category is EsaWarning)
    assert len(texts) == 3, texts
    whose = "this rank has" if rank == 1 else "another rank has"
    assert f" values): {whose} a NaN, an infinity or a value from 2**126 on" in texts[0]
    assert texts[1].startswith("gradients are float64")
    assert texts[2].startswith("in one iteration 2 of this rank's 6 non-zero gradient values became zero")
    assert state.statistics.redone_buckets == 3


@case
def a_world_of_another_size_is_refused(rank: int) -> None:
    group, pair = dist.new_group([0, 2], backend="gloo"), GlooTransport([0, 2]) if rank != 1 else None
    job = some_job(1, "esa", workers=2, pool=Pool(base=0, size=64), ports=4).model_copy(update={"name": "mlp"})
    assert isinstance(job, Job)
    if pair is None:
        return
    with pytest.raises(ValueError, match="the transport has 2 workers, the process group 3: give as process_group"):
        EsaState(pair)
    with pytest.raises(ValueError, match="job mlp has 2 workers, the process group 3: give as process_group"):
        EsaState.of(job, pair)
    job = job.model_copy(update={"quantisation": "fixed", "fraction_bits": 11})
    with EsaState.of(job, pair, group, owns_transport=True, total_iterations=3) as state:
        assert (state.quantisation, state.fraction_bits, state.total_iterations) == ("fixed", 11, 3)


@case
def a_backward_pass_that_does_not_end_leaves_nothing_behind(rank: int) -> None:
    class Stops(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
            if float(gradients[0].max()) > 1e3:
                raise ArithmeticError("the loss is gone")
            return gradients[0]

    class Stopped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.front, self.back = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.back(Stops.apply(self.front(x))).sum()  # type: ignore[no-any-return,no-untyped-call]

    transport = GlooTransport()
    state = EsaState(transport, owns_transport=True)
    torch.manual_seed(0)
    ddp = distributed(Stopped(), state, bucket_cap_mb=0.00001)
    for _ in range(2):
        ddp(torch.ones(2, 4)).backward()
    transport.submissions.clear()
    with pytest.raises(ArithmeticError):
        ddp(torch.ones(2, 4)).mul(1e6).backward()
    # A bucket has outgrown its scale, and waits for a repeat behind the last one, which never comes.
    state.close(barrier=False)
    assert 0 < len(transport.submissions) < 4
    assert transport.closed


@case
def a_bucket_that_does_not_fit_is_redone_bit_for_bit_as_float32_all_reduce(rank: int) -> None:
    torch.manual_seed(rank)
    ordinary, wide = torch.randn(1000), torch.randn(1000) * 10.0 ** torch.randint(-30, 30, (1000,))
    infinite = wide.clone()
    infinite[5] = np.inf  # no scale holds that, and any holds what is merely wide
    settings: list[tuple[Quantisation, torch.Tensor]] = [("fixed", wide), ("adaptive", infinite)]
    for quantisation, other in settings:
        state = EsaState(GlooTransport(), quantisation=quantisation, owns_transport=True)
        ddp = distributed(OneGradient(1000), state)
        for _ in range(3):
            assert torch.allclose(gradients_of(ddp, [ordinary])[0], averaged(ordinary), atol=1e-5)
            mine = other if rank == 1 else ordinary
            assert torch.equal(gradients_of(ddp, [mine])[0], averaged(mine))
        state.close()
        assert state.statistics.redone_buckets == 3
        assert state.statistics.overflows == (3 if rank == 1 else 0)


@case
def only_the_bucket_that_does_not_fit_is_redone(rank: int) -> None:
    with EsaState(GlooTransport(), quantisation="fixed", owns_transport=True) as state:
        ddp = distributed(OneGradient(3000, 2000, 3000), state)
        given = [torch.full((n,), 0.1) for n in (3000, 2000, 3000)]
        gradients_of(ddp, given)  # after it the buckets are rebuilt
        given[1][7] = 1e20 if rank == 2 else 1.0
        got = gradients_of(ddp, given)
        for gradient, mine in zip(got, given, strict=True):
            assert torch.allclose(gradient, averaged(mine))
        assert [bool((g == g[0]).all()) for g in got] == [True, False, True]
        assert float(got[0][0]) == np.float32(round(0.1 * 2**20) / 2**20) != averaged(given[0])[0]
        assert state.statistics.redone_buckets == 1


@case
def nan_and_infinity_of_one_rank_reach_all(rank: int) -> None:
    with EsaState(GlooTransport(), owns_transport=True) as state:
        ddp = distributed(OneGradient(3), state)
        got = gradients_of(ddp, [torch.tensor([1.0, np.nan if rank == 0 else 1.0, np.inf if rank == 2 else 1.0])])[0]
        assert got[0] == 1
        assert got[1].isnan()
        assert got[2] == np.inf


@case
def all_floating_dtypes_uneven_and_empty_buckets(rank: int) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        with EsaState(GlooTransport(), owns_transport=True) as state:
            ddp = distributed(OneGradient(1, 0, 257, 3, dtype=dtype), state, bucket_cap_mb=0.00001)
            for step in range(3):
                scale = 0.5 + step + rank
                got = gradients_of(ddp, [torch.linspace(-scale, scale, n).to(dtype) for n in (1, 0, 257, 3)])
                for n, gradient in zip((1, 0, 257, 3), got, strict=True):
                    mine = torch.linspace(-scale, scale, n).to(dtype)
                    assert gradient.dtype == dtype
                    tolerance = {torch.float16: 2e-3, torch.bfloat16: 2e-2}.get(dtype, 1e-6)
                    assert torch.allclose(gradient.double(), averaged(mine.double()), rtol=tolerance, atol=1e-6)
                    assert_same_on_all_ranks(gradient)
        assert state.statistics.redone_buckets == 0
    with EsaState(GlooTransport(), owns_transport=True) as state:  # beyond float32: redone in float64
        ddp = distributed(OneGradient(2, dtype=torch.float64), state)
        mine = torch.tensor([1e300, 1 / 3], dtype=torch.float64) * (rank + 1)
        assert torch.equal(gradients_of(ddp, [mine])[0], averaged(mine))
        mine = torch.tensor([1.0, 1 / 3], dtype=torch.float64) * (rank + 1)  # more than float32's 24 bits
        assert torch.allclose(gradients_of(ddp, [mine])[0], averaged(mine), rtol=0, atol=2.0**-26)


@case
def two_models_share_a_transport(rank: int) -> None:
    transport = GlooTransport()
    first, second = EsaState(transport), EsaState(transport, owns_transport=True)
    a, b = distributed(network(1), first), distributed(network(2, width=30), second)
    plain_a, plain_b = distributed(network(1), None), distributed(network(2, width=30), None)
    for step in range(6):
        inputs, targets = batch(rank, step)
        for models in ((a, b), (plain_a, plain_b)):
            for model in models:
                model.zero_grad()
            if step % 2:  # one backward pass for both: their buckets interleave
                sum((nn.functional.mse_loss(m(inputs), targets) for m in models), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
            else:
                for model in models:
                    nn.functional.mse_loss(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
            descend(*models)
    for model, reference in ((a, plain_a), (b, plain_b)):
        assert torch.allclose(flat(model), flat(reference), atol=1e-4)
        assert_same_on_all_ranks(flat(model))
    assert_same_on_all_ranks(torch.tensor([s.lanes for s in transport.submissions]))
    first.close()
    assert not transport.closed
    second.close()
    assert transport.closed


@case
def one_state_for_two_models_at_a_time_is_refused(rank: int) -> None:
    with EsaState(GlooTransport(delay_s=0.2), owns_transport=True) as state:
        a, b = distributed(OneGradient(4), state), distributed(OneGradient(4), state)
        with pytest.raises(RuntimeError, match="each DDP model needs an EsaState of its own"):
            (a([torch.ones(4)]) + b([torch.ones(4)])).backward()


@case
def accumulation_and_unused_parameters(rank: int) -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.sometimes = nn.Linear(8, 3), nn.Linear(8, 3)

        def forward(self, inputs: torch.Tensor, both: bool) -> torch.Tensor:
            return self.used(inputs) + self.sometimes(inputs) if both else self.used(inputs)  # type: ignore[no-any-return]

    with EsaState(GlooTransport(), owns_transport=True) as state:
        torch.manual_seed(0)
        ddp = distributed(Partly(), state, find_unused_parameters=True)
        torch.manual_seed(0)
        plain = distributed(Partly(), None, find_unused_parameters=True)
        for step in range(4):
            inputs, targets = batch(rank, step)
            for model in (ddp, plain):
                model.zero_grad()
                with model.no_sync():
                    nn.functional.mse_loss(model(inputs, True), targets).backward()  # type: ignore[no-untyped-call]
                # A parameter that only rank 0 uses, and in every other step nobody.
                nn.functional.mse_loss(model(inputs, rank == 0 and step % 2 == 0), targets).backward()  # type: ignore[no-untyped-call]
            for mine, reference in zip(ddp.parameters(), plain.parameters(), strict=True):
                assert mine.grad is not None
                assert reference.grad is not None
                assert torch.allclose(mine.grad, reference.grad, atol=1e-5)
        assert state.statistics.iterations == 4


@case
def backward_does_not_wait_for_the_network(rank: int) -> None:
    class Note(torch.autograd.Function):
        """Sets `passed` when the backward pass comes by."""

        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, passed: threading.Event) -> torch.Tensor:
            ctx.passed = passed
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
            ctx.passed.set()
            return gradients[0], None

    class Noted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.front, self.back = nn.Linear(8, 8), nn.Linear(8, 8)
            self.front_done = threading.Event()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.back(self.front(Note.apply(x, self.front_done))).sum()  # type: ignore[no-any-return,no-untyped-call]

    class Held(GlooTransport):
        """Sums nothing before the backward pass is through."""

        def _sum(self, lanes: Lanes, exponents: Exponents) -> Reduced:
            assert model.front_done.wait(20), "the backward pass waits for the network"
            return super()._sum(lanes, exponents)

    with EsaState(Held(), owns_transport=True) as state:
        model = Noted()
        ddp = distributed(model, state, bucket_cap_mb=0.0001)
        for step in range(3):
            model.front_done.clear()
            inputs = torch.full((2, 8), np.nan if step == 2 else 1.0, requires_grad=True)
            ddp(inputs).backward()
        assert state.statistics.repeated_fragments > 1
        assert state.statistics.redone_buckets > 0


@case
def an_error_of_the_transport_is_raised_by_backward(rank: int) -> None:
    for when in ("submitting", "summing"):
        for good in (0, 4):
            transport = FailingTransport(good, when)
            state = EsaState(transport, owns_transport=True)
            ddp = distributed(network(), state)
            start = time.perf_counter()
            with pytest.raises(RuntimeError, match=r"bucket \d .*TransportError: job 'digits': seq 7: .* ranks 1, 2"):
                train(ddp, rank)
            with pytest.raises(RuntimeError, match="ranks 1, 2"):  # and again: the transport is of no more use
                train(distributed(network(), state), rank)
            state.close()
            assert transport.closed
            assert time.perf_counter() - start < 10


@case
def gradients_that_cannot_be_sent_are_refused(rank: int) -> None:
    with EsaState(GlooTransport(), owns_transport=True) as state:
        ddp = distributed(nn.Embedding(4, 2, sparse=True), state)
        with pytest.raises(TypeError, match=r"bucket 0: .*torch\.sparse_coo"):
            ddp(torch.tensor([1, 3])).sum().backward()


@case
def complex_parameters_are_pairs_of_real_ones(rank: int) -> None:
    with EsaState(GlooTransport(), owns_transport=True) as state:
        ddp = distributed(OneGradient(2, dtype=torch.complex64), state)
        ddp([torch.tensor([1.0 + 2.0j, -rank])]).real.backward()
        (weights,) = ddp.parameters()
        assert weights.grad is not None
        assert weights.grad.tolist() == [1 - 2j, -1]


@case
def a_pickled_state_keeps_its_settings_and_statistics(rank: int) -> None:
    with EsaState(GlooTransport(), fraction_bits=17, total_iterations=9, owns_transport=True) as state:
        train(distributed(network(), state), rank, steps=2)
        kept = pickle.dumps(state)
        before = state.statistics
    again = pickle.loads(kept)
    assert (again.fraction_bits, again.total_iterations, again.statistics) == (17, 9, before)
    ddp = distributed(network(), again)
    with pytest.raises(RuntimeError, match="attach"):
        train(ddp, rank, steps=1)
    transport = GlooTransport()
    again.attach(transport)
    with pytest.raises(RuntimeError, match="a transport already"):
        again.attach(transport)
    train(distributed(network(), again), rank, steps=1)
    assert again.statistics.iterations == 3
    again.close()
    again.close()
    transport.close()


@case
def priorities_follow_layers_and_what_was_measured(rank: int) -> None:
    seen: list[Urgency] = []

    def noted(urgency: Urgency) -> int:
        seen.append(urgency)
        return 999 if len(seen) == 1 else -5

    transport = GlooTransport()
    with EsaState(transport, quantisation="fixed", priority=noted, total_iterations=4, owns_transport=True) as state:
        train(distributed(network(), state), rank, steps=4)
    assert {s.priority for s in transport.submissions[1:]} == {1}
    assert transport.submissions[0].priority == 255  # whatever a user's function says
    assert (seen[0].communication_s, seen[0].computation_s, seen[0].service_s) == (None, None, None)
    layers = [u.layer for u in seen]
    assert layers[-1] == 1
    last = layers[-(layers[::-1].index(1, 1)) :]  # the buckets of the last iteration, back to front
    assert last == list(range(len(last), 0, -1))
    assert len(last) > 1
    final = seen[-1]
    assert final.communication_s is not None
    assert final.communication_s > 0
    assert final.computation_s is not None
    assert final.computation_s > 0
    statistics = state.statistics
    assert final.service_s is not None
    assert 0 < final.service_s < statistics.elapsed_s  # one of four iterations remains
    assert statistics.compute_s < statistics.elapsed_s
    assert 0 < statistics.comm_s <= statistics.elapsed_s
    assert statistics.bytes == sum(4 * s.lanes for s in transport.submissions)

    transport = GlooTransport()
    with EsaState(transport, quantisation="fixed", owns_transport=True) as state:
        train(distributed(network(), state), rank, steps=3)
    by_layer = [s.priority for s in transport.submissions][-len(last) :]
    assert by_layer == sorted(by_layer)  # the front layers, which come last, first
    assert by_layer[0] < by_layer[-1]


@case
def some_of_the_ranks_are_a_job_of_their_own(rank: int) -> None:
    group = dist.new_group([0, 2], backend="gloo")
    if rank == 1:
        return
    with EsaState(GlooTransport([0, 2]), group, owns_transport=True) as state:
        ddp = distributed(OneGradient(2), state, process_group=group)
        assert gradients_of(ddp, [torch.tensor([1.0, 2.0]) * rank])[0].tolist() == [1, 2]
        assert gradients_of(ddp, [torch.tensor([np.inf, 2.0]) * (rank + 1)])[0].tolist() == [np.inf, 4]


@case
def a_script_that_never_closes_its_state_still_ends(rank: int) -> None:
    train(distributed(network(), EsaState(GlooTransport())), rank, steps=1)


def work(rank: int, folder: str) -> None:
    """One worker process: all cases in order; after a failure the ranks may be out of step, so it is the last."""
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", EsaWarning)  # cases that are about them ask for them
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder}/store", rank=rank, world_size=WORKERS, timeout=timedelta(seconds=LIMIT_S)
    )
    report = Path(folder, f"{rank}.json")
    outcomes: dict[str, str] = {}
    for name, function in CASES.items():
        start = time.perf_counter()
        try:
            function(rank)
            dist.barrier()
            outcomes[name] = ""
        except BaseException:
            outcomes[name] = traceback.format_exc()
        print(f"rank {rank}: {name}: {time.perf_counter() - start:.2f} s", flush=True)
        report.write_text(json.dumps(outcomes))
        if outcomes[name]:
            return
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """What went wrong, by rank and case; "" where nothing did."""
    folder = tmp_path_factory.mktemp("ddp")
    workers = [CONTEXT.Process(target=work, args=(rank, str(folder))) for rank in range(WORKERS)]
    for worker in workers:
        worker.start()
    deadline = time.monotonic() + 100
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
    endings = ["hung" if w.is_alive() else f"exit code {w.exitcode}" if w.exitcode else "" for w in workers]
    for worker in workers:
        worker.kill()
        worker.join()
    reports = [folder / f"{rank}.json" for rank in range(WORKERS)]
    found: list[dict[str, str]] = [json.loads(r.read_text()) if r.exists() else {} for r in reports]
    return [{**cases, "ended": ending} for cases, ending in zip(found, endings, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES, "ended"])
def test_in_three_processes(name: str, outcomes: list[dict[str, str]]) -> None:
    failures = [f"rank {rank}: {o.get(name, 'not run')}" for rank, o in enumerate(outcomes) if o.get(name, "not run")]
    assert not failures, "\n".join(failures)


def test_the_timeline_counts_overlap_as_both_and_waiting_as_communication() -> None:
    statistics = Statistics()
    timeline = Timeline(statistics)
    #                     hook                                     result
    events: list[tuple[float, str]] = [
        (0.0, "launch"), (1.0, "done"),  # the first iteration has no forward pass before it
        (2.0, "last"), (4.0, "done"),
        (7.0, "launch"), (8.0, "launch"), (9.0, "done"), (10.0, "last"), (11.0, "done"), (12.0, "done"),
    ]  # fmt: skip
    for now, event in events:
        if event == "done":
            timeline.completed(now)
        else:
            timeline.launched(now, is_last=event == "last")
    assert statistics.iterations == 2
    assert statistics.elapsed_s == 12
    assert statistics.comm_s == (1 + 2) + 5
    assert statistics.compute_s == 2 + 6
    assert (timeline.comm_s, timeline.compute_s) == (5, 6)


def test_settings_are_checked_before_anything_starts() -> None:
    transport: Transport = object.__new__(GlooTransport)
    with pytest.raises(ValueError, match="allowed: fixed, adaptive"):
        EsaState(transport, quantisation="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fraction_bits: 65"):
        EsaState(transport, fraction_bits=65)
    with pytest.raises(RuntimeError, match="init_process_group first"):
        EsaState(transport)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Embedding(4, 2, sparse=True)), r"1: Embedding\(sparse=True\) makes sparse"),
        (nn.EmbeddingBag(4, 2, sparse=True), r"the model: EmbeddingBag\(sparse=True\) makes sparse"),
        (
            nn.Linear(2, 2, device="meta"),
            r"parameter weight is torch.float32, torch.strided, on meta; .* \.to\('cpu'\)",
        ),
    ],
)
def test_models_whose_gradients_cannot_be_summed_are_refused_before_training(model: nn.Module, message: str) -> None:
    with pytest.raises(TypeError, match=message) as caught:
        check_model(model)
    assert "\n" not in str(caught.value)


def test_what_makes_no_gradient_is_nobodys_business() -> None:
    frozen = nn.Embedding(4, 2, sparse=True).requires_grad_(False)
    odd = nn.ParameterList([nn.Parameter(torch.zeros(2, dtype=torch.int64), requires_grad=False)])
    check_model(nn.ModuleList([frozen, odd, network(), OneGradient(2, dtype=torch.complex64)]))
