"""Sums of floats over a transport: exact but for the scale, the same bits for all, whatever the values do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from esa.float_sum import all_reduce_float, nothing_agreed
from esa.scales import EXPONENT_MIN, GROWTH_BITS, SLACK_BITS, adaptive_scale
from experiments.studies.bench.accuracy import KINDS, compare, gradients, measure
from tests.effort import tries
from tests.local_transport import LocalNetwork

WIDTH = 8


def summed(
    network: LocalNetwork, arrays: list[NDArray[Any]], agreed: list[NDArray[np.int8]] | None = None, **settings: Any
) -> list[NDArray[Any]]:
    """Every worker's sum of the workers' arrays."""

    def one(rank: int) -> NDArray[Any]:
        scales = None if agreed is None else agreed[rank]
        return all_reduce_float(network.transports[rank], arrays[rank], agreed=scales, **settings)

    with ThreadPoolExecutor(network.size) as pool:
        return list(pool.map(one, range(network.size)))


def bound(workers: list[list[float]]) -> Fraction:
    """What `esa.scales` promises for the average of a fragment."""
    largest = max(abs(Fraction(v)) for values in workers for v in values)
    carry = (len(workers) - 1).bit_length()
    return max(
        largest * Fraction(2) ** (carry + GROWTH_BITS + SLACK_BITS - 31),
        Fraction(2) ** (carry + GROWTH_BITS + SLACK_BITS + EXPONENT_MIN - 32),
    )


# A step multiplies all values: growth and decay beyond what a scale holds, zeros, and back.
factors = st.lists(
    st.sampled_from([0.0, 1e-30, 1e-6, 0.05, 0.2, 0.5, 1.0, 3.0, 5.0, 100.0, 1e6, 1e30]), min_size=1, max_size=5
)
values64 = st.floats(-(2.0**20), 2.0**20)


@settings(max_examples=tries(100), deadline=None)
@given(
    st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(values64, min_size=19, max_size=19), min_size=n, max_size=n)),
    factors,
    st.sampled_from([np.float32, np.float64]),
)
def test_every_average_is_within_the_bound_and_the_same_on_all_ranks(
    workers: list[list[float]], steps: list[float], dtype: type
) -> None:
    network = LocalNetwork(len(workers), WIDTH)
    agreed = [nothing_agreed(19, WIDTH) for _ in workers]
    for factor in steps:
        arrays = [(np.array(w) * factor).astype(dtype) for w in workers]
        got = summed(network, arrays, agreed, average=True)
        assert all(g.tobytes() == got[0].tobytes() for g in got)
        assert all(np.array_equal(a, agreed[0]) for a in agreed)
        for start in range(0, 19, WIDTH):
            parts = [a[start : start + WIDTH].tolist() for a in arrays]
            allowed = bound(parts)
            for lane, column in enumerate(zip(*parts, strict=True)):
                exact = sum(map(Fraction, column)) / len(workers)
                rounding = abs(exact) * Fraction(2) ** (-24 if dtype == np.float32 else -52)
                error = abs(Fraction(float(got[0][start + lane])) - exact)
                assert error <= allowed + rounding + Fraction(2) ** -150, (start, lane)


def test_a_fragment_is_repeated_at_first_and_when_it_outgrows_its_scale_only() -> None:
    network = LocalNetwork(2, WIDTH)
    agreed = [nothing_agreed(20, WIDTH) for _ in range(2)]
    one, expected = np.ones(20, np.float32), []
    #                       first  same  *3, *0.6 fragment 1 grows  shrinks  zeros  as before  last one, partly full
    for factors_, repeats in (((1, 1, 1), 3), ((1, 1, 1), 0), ((3, 1, 0.6), 0), ((1, 99, 1), 1), ((1, 1, 1), 1),
                              ((0, 0, 0), 0), ((1, 1, 1), 0), ((1, 1, 1e-9), 1)):  # fmt: skip
        array = one * np.repeat(factors_, WIDTH)[:20].astype(np.float32)
        for got in summed(network, [array, 2 * array], agreed):
            assert np.allclose(got, 3 * array, rtol=1e-6, atol=0)
        expected += [20, *[repeats * WIDTH] * (repeats > 0)]
        assert network.log == expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_averages_are_within_a_millionth_of_float64s_over_changing_iterations(kind: str, dtype: type) -> None:
    for workers in (2, 4, 32):
        errors = measure(adaptive_scale(workers), kind, workers, dtype)
        assert errors.values <= 1e-6
        if workers < 32:  # there a fragment of one outlier has a small average: an error of its own size is larger
            assert errors.fragment <= 1e-6


def test_what_is_measured_is_what_comes_out_of_a_transport() -> None:
    network, agreed = LocalNetwork(2), [nothing_agreed(31_995, 64) for _ in range(2)]
    worst = 0.0
    for given_ in gradients("Student-t(1.5) * 1e-3", 2):
        worst = max(worst, compare(summed(network, list(given_), agreed, average=True)[0], given_)[0])
    assert worst == measure(adaptive_scale(2), "Student-t(1.5) * 1e-3", 2).values


def test_float64_keeps_more_than_float32_has() -> None:
    network = LocalNetwork(2)
    third = np.array([1 / 3, -1e-3])
    for got in summed(network, [third, third]):
        assert got.dtype == np.float64
        assert np.abs(got - 2 * third).max() < 2**-27
        assert np.abs(got - 2 * third).max() < abs(float(np.float32(2 / 3)) - 2 / 3)


def test_shapes_stay_and_empty_arrays_are_fine() -> None:
    network = LocalNetwork(3)
    for shape in ((), (0,), (2, 3), (4, 0)):
        for got in summed(network, [np.full(shape, rank, np.float32) for rank in range(3)]):
            assert got.shape == shape
            assert (got == 3).all()
    transposed = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert np.array_equal(summed(network, [transposed] * 3)[1], 3 * transposed)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0**126])
def test_what_has_no_scale_is_an_error_of_every_worker_and_the_next_sum_is_right(value: float) -> None:
    network = LocalNetwork(2, WIDTH)
    bad = np.ones(20, np.float32)
    bad[9] = value
    for array in (bad, bad.astype(np.float64)):
        with ThreadPoolExecutor(2) as pool:
            pair = zip(network.transports, (np.ones_like(array), array), strict=True)
            futures = [pool.submit(all_reduce_float, transport, mine) for transport, mine in pair]
            for future in futures:
                with pytest.raises(OverflowError, match=r"values 8\.\.15 of 20: some worker has a NaN, an infinity or"):
                    future.result(60)
        assert np.array_equal(summed(network, [np.ones(20, np.float32)] * 2)[0], np.full(20, 2, np.float32))


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(TypeError, match="array: float32 or float64, not int64"):
        all_reduce_float(LocalNetwork(1).transports[0], np.zeros(3, np.int64))
