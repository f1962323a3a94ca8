"""States of the DDP hook: what they share, refuse, tell and leave behind."""

from __future__ import annotations

import pickle
import threading
import time
import warnings
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from esa.job import Job, Pool
from esa.priority import Urgency
from esa.torch import EsaState, EsaWarning
from esa.transport import Reduced
from tests.p4.traffic import job as some_job
from tests.torch.gloo_transport import Exponents, GlooTransport, Lanes
from tests.torch.hook.models import (
    OneGradient,
    assert_same_on_all_ranks,
    averaged,
    batch,
    case,
    descend,
    distributed,
    flat,
    gradients_of,
    network,
    train,
)


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
def a_state_that_goes_on_agrees_with_one_from_a_pickle(rank: int) -> None:
    """Which knows no scales any more: lanes of two scales in one sum would be another number, and nobody would see."""
    mine = torch.full((100,), 1000.0 + rank)
    exact = averaged(mine)
    state = EsaState(GlooTransport(), owns_transport=True)
    gradients_of(distributed(OneGradient(100), state), [mine])
    state.close()
    if rank == 1:
        state = pickle.loads(pickle.dumps(state))
    transport = GlooTransport()
    state.attach(transport)
    for _ in range(2):
        assert torch.allclose(gradients_of(distributed(OneGradient(100), state), [mine])[0], exact, rtol=1e-6)
    state.close()
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
