"""Sums through the DDP hook: as exact as is said, and as float32 where they cannot be."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

from esa.torch import EsaState, EsaWarning
from esa.torch.messages import MessageTransport
from experiments.studies.bench.accuracy import KINDS, compare, gradients
from tests.torch.gloo_transport import GlooTransport
from tests.torch.hook.models import (
    WORKERS,
    OneGradient,
    assert_same_on_all_ranks,
    averaged,
    batch,
    case,
    distributed,
    flat,
    gradients_of,
    network,
    train,
)

Quantisation = Literal["fixed", "adaptive"]


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
                    got = gradients_of(
                        ddp, list(torch.from_numpy(given[rank]).to(torch.get_default_device()).split(size))
                    )
                    for k, gradient in enumerate(got):
                        array, fragment = compare(gradient.cpu().numpy(), given[:, k * size : (k + 1) * size])
                        assert array <= 1e-6, kind
                        assert fragment <= 3e-6, kind  # blocks of 64, which need not be a fragment's
                        assert_same_on_all_ranks(gradient)
            assert state.statistics.redone_buckets == 0
            assert state.statistics.repeated_fragments > 0
            assert (state.statistics.float64_buckets > 0) == (dtype == np.float64)


@case
def sums_by_messages_are_those_of_any_other_transport_bit_for_bit(rank: int) -> None:
    quantisations: tuple[Quantisation, ...] = ("adaptive", "fixed")
    for quantisation in quantisations:
        weights = []
        for transport in (GlooTransport(delay_s=0), MessageTransport()):
            with EsaState(transport, quantisation=quantisation, owns_transport=True) as state:
                ddp = distributed(network(), state, bucket_cap_mb=0.001)
                train(ddp, rank)
            weights.append(flat(ddp))
            assert state.statistics.redone_buckets == 0
        assert torch.equal(*weights)
    transport = MessageTransport(fragment_lanes=4)
    lanes = np.array([1, -2, 3, 2**28, 5], np.int32) * (rank + 1)
    kept = lanes.copy()
    first, second = (
        transport.all_reduce(each, 1, np.array([rank, -rank], np.int8)[: max(1, -(-each.size // 4))])
        for each in (lanes, lanes[:0])
    )
    assert second.result().exponents.tolist() == [WORKERS - 1]
    reduced = first.result()
    assert reduced.lanes.tolist() == [6, -12, 18, 6 * 2**28, 30]
    assert reduced.exponents.tolist() == [WORKERS - 1, 0]
    assert np.array_equal(lanes, kept)


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
def complex_parameters_are_pairs_of_real_ones(rank: int) -> None:
    with EsaState(GlooTransport(), owns_transport=True) as state:
        ddp = distributed(OneGradient(2, dtype=torch.complex64), state)
        ddp([torch.tensor([1.0 + 2.0j, -rank])]).real.backward()
        (weights,) = ddp.parameters()
        assert weights.grad is not None
        assert weights.grad.tolist() == [1 - 2j, -1]
