"""float32 to int32 and back: exact where it can be, within half a unit elsewhere, and no overflow unseen."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from esa.quantize import (
    EXPONENT_MAX,
    EXPONENT_MIN,
    GROWTH_BITS,
    LANE_MAX,
    adaptive_fraction_bits,
    block_exponent,
    dequantise,
    lane_limit,
    quantise,
    quantise_block,
)
from esa.wire import EXPONENT_POISON

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
fan_ins = st.integers(1, 32)
fraction_bits_s = st.integers(-64, 64)


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    """Compile before hypothesis looks at the clock."""
    block_exponent(floats(1))
    values_of(lanes_of(floats(1), 0)[1], 0)


def floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def lanes_of(values: NDArray[np.float32], fraction_bits: int, fan_in: int = 1) -> tuple[bool, NDArray[np.int32]]:
    out = np.full(values.shape, 7, np.int32)
    return quantise(values, fraction_bits, fan_in, out), out


def values_of(lanes: NDArray[np.int32], fraction_bits: int, divisor: int = 1) -> NDArray[np.float32]:
    out = np.empty(lanes.shape, np.float32)
    dequantise(lanes, fraction_bits, out, divisor)
    return out


@given(st.lists(finite, max_size=40), fraction_bits_s, fan_ins)
def test_every_lane_is_the_nearest_integer_with_ties_to_even_or_all_is_an_overflow(
    values: list[float], fraction_bits: int, fan_in: int
) -> None:
    expected = [round(Fraction(v) * Fraction(2) ** fraction_bits) for v in values]  # Python rounds ties to even
    overflow, lanes = lanes_of(floats(*values), fraction_bits, fan_in)
    assert overflow == any(abs(lane) > lane_limit(fan_in) for lane in expected)
    assert lanes.tolist() == ([0] * len(values) if overflow else expected)


@given(st.lists(st.lists(st.floats(-1000, 1000, width=32), min_size=5, max_size=5), min_size=1, max_size=32))
def test_the_sum_of_all_workers_is_within_half_a_unit_per_worker(workers: list[list[float]]) -> None:
    fan_in, fraction_bits = len(workers), 16
    total = np.zeros(5, np.int64)
    for values in workers:
        overflow, lanes = lanes_of(floats(*values), fraction_bits, fan_in)
        assert not overflow
        total += lanes
    assert np.abs(total).max() <= LANE_MAX
    exact = [sum(map(Fraction, column)) for column in zip(*workers, strict=True)]
    result = values_of(total.astype(np.int32), fraction_bits)
    for lane, value, got in zip(total.tolist(), exact, result.tolist(), strict=True):
        assert abs(Fraction(lane, 2**fraction_bits) - value) <= Fraction(fan_in, 2 * 2**fraction_bits)
        assert got == np.float32(lane / 2**fraction_bits)


@given(st.lists(st.integers(-(2**24), 2**24), max_size=40), fraction_bits_s)
def test_what_can_be_represented_comes_back_bit_for_bit(integers: list[int], fraction_bits: int) -> None:
    values = floats(*(math.ldexp(i, -fraction_bits) for i in integers))
    overflow, lanes = lanes_of(values, fraction_bits)
    assert not overflow
    assert lanes.tolist() == integers
    assert np.array_equal(values_of(lanes, fraction_bits), values)


@pytest.mark.parametrize("fan_in", range(1, 33))
def test_workers_at_the_limit_can_not_saturate_and_one_step_beyond_is_an_overflow(fan_in: int) -> None:
    limit = lane_limit(fan_in)
    assert fan_in * limit <= LANE_MAX < fan_in * (limit + 1)
    inside = np.float32(limit)
    if int(inside) > limit:  # it is no float32, and was rounded up
        inside = np.nextafter(inside, np.float32(0))
    beyond = np.nextafter(inside, np.float32(np.inf))
    for sign in (1, -1):
        overflow, lanes = lanes_of(floats(0, sign * float(inside)), 0, fan_in)
        assert (overflow, lanes.tolist()) == (False, [0, sign * int(inside)])
        overflow, lanes = lanes_of(floats(1, sign * float(beyond), 2), 0, fan_in)
        assert (overflow, lanes.tolist()) == (True, [0, 0, 0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
@pytest.mark.parametrize("place", [0, 17, 99])
def test_one_value_that_is_no_number_or_too_large_is_an_overflow_wherever_it_is(value: float, place: int) -> None:
    values = np.zeros(100, np.float32)
    values[place] = value
    overflow, lanes = lanes_of(values, 0)
    assert overflow
    assert not lanes.any()


def test_denormals_and_signed_zeros_are_ordinary_numbers() -> None:
    smallest = float(np.finfo(np.float32).smallest_subnormal)
    assert lanes_of(floats(smallest, -smallest, -0.0), 64)[1].tolist() == [0, 0, 0]
    overflow, lanes = lanes_of(floats(smallest, 3 * smallest, -smallest), 149)
    assert (overflow, lanes.tolist()) == (False, [1, 3, -1])
    assert values_of(lanes, 149).tolist() == [smallest, 3 * smallest, -smallest]


def test_an_empty_bucket_is_no_overflow() -> None:
    assert lanes_of(floats(), 20)[0] is False
    assert quantise_block(floats(), 20, 1, np.empty(0, np.int32)) == block_exponent(floats()) == EXPONENT_MIN


@given(st.lists(finite, min_size=1, max_size=40))
def test_the_block_exponent_is_the_least_power_of_two_above_all_values(values: list[float]) -> None:
    exponent = block_exponent(floats(*values))
    largest = max(map(abs, values))
    assert EXPONENT_MIN <= exponent <= EXPONENT_MAX
    if exponent < EXPONENT_MAX:
        assert largest < 2.0**exponent
    if exponent > EXPONENT_MIN:
        assert largest >= 2.0 ** (exponent - 1)


@pytest.mark.parametrize(
    ("values", "exponent"),
    [
        ((0.0, -0.0), EXPONENT_MIN),
        ((1e-45,), EXPONENT_MIN),
        ((1.0,), 1),
        ((-0.75, 0.1), 0),
        ((3e38,), EXPONENT_MAX),
        ((1.0, np.nan), EXPONENT_POISON),
        ((np.inf,), EXPONENT_POISON),
        ((-np.inf, 0.0), EXPONENT_POISON),
    ],
)
def test_block_exponents_at_the_edges(values: tuple[float, ...], exponent: int) -> None:
    assert block_exponent(floats(*values)) == exponent


@given(st.lists(finite, min_size=1, max_size=40), fan_ins, st.integers(0, GROWTH_BITS))
def test_a_scale_from_the_exponent_holds_values_that_have_grown_since(
    values: list[float], fan_in: int, growth: int
) -> None:
    before = floats(*values)
    exponent = block_exponent(before)
    now = [math.ldexp(v, growth) for v in values]
    out = np.empty(len(values), np.int32)
    if max(map(abs, now)) < 2.0**127:
        sent = quantise_block(floats(*now), adaptive_fraction_bits(exponent, fan_in), fan_in, out)
        assert sent == block_exponent(floats(*now)) != EXPONENT_POISON


def test_an_adaptive_scale_uses_the_bits_there_are() -> None:
    values = floats(0.75, -0.5)
    for fan_in in range(1, 33):
        _, lanes = lanes_of(values, adaptive_fraction_bits(block_exponent(values), fan_in), fan_in)
        assert lanes[0] >= lane_limit(fan_in) / 2 ** (GROWTH_BITS + 2)


@given(st.lists(st.integers(-LANE_MAX - 1, LANE_MAX), max_size=40), st.integers(-64, 64), st.integers(1, 32))
def test_the_average_is_the_exact_sum_divided_in_float64_and_rounded_once(
    sums: list[int], fraction_bits: int, divisor: int
) -> None:
    got = values_of(np.array(sums, np.int32), fraction_bits, divisor)
    assert got.tolist() == [float(np.float32(math.ldexp(s, -fraction_bits) / divisor)) for s in sums]


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(TypeError, match="float64"):
        quantise(np.zeros(2), 0, 1, np.zeros(2, np.int32))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="int64"):
        dequantise(np.zeros(2, np.int64), 0, np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="one length"):
        quantise(floats(1, 2), 0, 1, np.zeros(3, np.int32))
    with pytest.raises(ValueError, match="0 workers"):
        quantise(floats(1), 0, 0, np.zeros(1, np.int32))
    with pytest.raises(ValueError, match="127 is no block exponent"):
        adaptive_fraction_bits(EXPONENT_POISON, 2)
