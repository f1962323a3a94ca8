"""Floats to int32 and back: exact where it can be, within half a unit elsewhere; what does not fit is seen."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from esa.quantize import dequantise, quantise
from esa.scales import (
    EXPONENT_MAX,
    EXPONENT_MIN,
    GROWTH_BITS,
    LANE_MAX,
    SLACK_BITS,
    ZEROS,
    Floats,
    Scale,
    adaptive_scale,
    agreed_next,
    fixed_scale,
    lane_limit,
    must_repeat,
)
from esa.wire import EXPONENT_POISON

LIMIT = float(np.nextafter(2.0**126, 0))
finite32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
finite64 = st.floats(-LIMIT, LIMIT)
fan_ins = st.integers(1, 32) | st.sampled_from([256, 512, 1000, 1024])
fraction_bits_s = st.integers(-64, 64)
exponents = st.integers(EXPONENT_MIN, EXPONENT_MAX)


class Sent(NamedTuple):
    lanes: list[int]
    needed: list[int]
    vanished: list[int]
    nonzero: int


def floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def sent(values: Floats, scale: Scale, agreed: list[int] | None = None, width: int = 64) -> Sent:
    fragments = max(-(-values.size // width), 1)
    exponents = np.zeros(fragments, np.int8) if agreed is None else np.array(agreed, np.int8)
    lanes, needed, vanished = (
        np.full(values.shape, 7, np.int32),
        np.full(fragments, 7, np.int8),
        np.full(fragments, 7, np.int32),
    )
    nonzero = quantise(values, exponents, width, scale, lanes, needed, vanished)
    return Sent(lanes.tolist(), needed.tolist(), vanished.tolist(), nonzero)


def received(
    lanes: list[int], scale: Scale, agreed: int = 0, divisor: int = 1, dtype: type = np.float32
) -> list[float]:
    out = np.empty(len(lanes), dtype)
    dequantise(np.array(lanes, np.int32), np.array([agreed], np.int8), max(len(lanes), 1), scale, out, divisor)
    return out.tolist()


def exponent_of(values: list[float]) -> int:
    largest = max(map(abs, values), default=0.0)
    return ZEROS if largest == 0 else max(math.frexp(largest)[1], EXPONENT_MIN)


def rounded(values: list[float], bits: int) -> list[int]:
    return [round(Fraction(v) * Fraction(2) ** bits) for v in values]  # Python rounds ties to even


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    """Compile before hypothesis looks at the clock."""
    for dtype in (np.float32, np.float64):
        received(sent(np.ones(1, dtype), fixed_scale(0, 1)).lanes, fixed_scale(0, 1), dtype=dtype)


@given(st.lists(finite32, max_size=40), fraction_bits_s, fan_ins, st.sampled_from([np.float32, np.float64]))
def test_fixed_every_lane_is_the_nearest_integer_with_ties_to_even_or_nothing_fits(
    values: list[float], fraction_bits: int, fan_in: int, dtype: type
) -> None:
    expected = rounded(values, fraction_bits)
    got = sent(np.array(values, dtype), fixed_scale(fraction_bits, fan_in))
    fits = all(abs(lane) <= lane_limit(fan_in) for lane in expected)
    assert got.needed == [0 if fits else EXPONENT_POISON]
    assert got.lanes == (expected if fits else [0] * len(values))
    assert got.nonzero == np.count_nonzero(values)
    assert got.vanished == [sum(v != 0 and lane == 0 for v, lane in zip(values, expected, strict=True)) if fits else 0]


@given(st.lists(finite32, max_size=40) | st.lists(finite64, max_size=40), exponents | st.just(ZEROS), fan_ins)
def test_adaptive_every_lane_is_the_nearest_integer_or_the_fragment_asks_for_another_scale(
    values: list[float], agreed: int, fan_in: int
) -> None:
    array = np.array(values)
    values = array.tolist()
    bits = 31 - (fan_in - 1).bit_length() - GROWTH_BITS - agreed
    got = sent(array, adaptive_scale(fan_in), [agreed])
    needs = min(exponent_of(values), EXPONENT_POISON)
    if got.needed[0] <= agreed + GROWTH_BITS:
        expected = rounded(values, bits)
        assert got.needed == [needs]
        assert got.lanes == expected
        assert max(map(abs, expected), default=0) <= lane_limit(fan_in)
        assert got.vanished == [sum(v != 0 and lane == 0 for v, lane in zip(values, expected, strict=True))]
    else:
        rounds_up = (
            needs == agreed + GROWTH_BITS
            and max(map(abs, rounded(values, bits))) > 2 ** (31 - (fan_in - 1).bit_length()) - 1
        )
        assert needs > agreed + GROWTH_BITS or rounds_up
        assert got.needed == [min(max(needs, agreed + GROWTH_BITS + 1), EXPONENT_POISON)]
        assert not any(got.lanes)
        assert got.vanished == [0]
    assert got.nonzero == np.count_nonzero(array)


@given(st.integers(EXPONENT_MIN, EXPONENT_MAX - GROWTH_BITS), fan_ins, st.sampled_from([np.float32, np.float64]))
def test_just_below_the_limit_no_sum_saturates(agreed: int, fan_in: int, dtype: type) -> None:
    # The largest values that fit: the last float below the power of two, and where rounding takes over.
    below = np.nextafter(dtype(2.0 ** (agreed + GROWTH_BITS)), dtype(0))
    bits = 31 - (fan_in - 1).bit_length()
    half = np.ldexp(2.0**bits - 0.5, agreed + GROWTH_BITS - bits)
    for value in (float(below), half, float(np.nextafter(dtype(half), dtype(0)))):
        got = sent(np.array([value, -value], dtype), adaptive_scale(fan_in), [agreed])
        assert fan_in * max(map(abs, got.lanes)) <= LANE_MAX
        assert bool(any(got.lanes)) == (got.needed[0] <= agreed + GROWTH_BITS)


@pytest.mark.parametrize("fan_in", [*range(1, 33), 1024])
def test_workers_at_the_limit_can_not_saturate_and_one_step_beyond_does_not_fit(fan_in: int) -> None:
    limit = lane_limit(fan_in)
    assert fan_in * limit <= LANE_MAX < fan_in * (limit + 1)
    for dtype in (np.float32, np.float64):
        inside = dtype(limit)
        if int(inside) > limit:  # it is no float32, and was rounded up
            inside = np.nextafter(inside, dtype(0))
        beyond = np.nextafter(inside, dtype(np.inf)) if dtype == np.float32 else dtype(limit + 1)
        for sign in (1, -1):
            got = sent(np.array([0, sign * inside], dtype), fixed_scale(0, fan_in))
            assert (got.needed, got.lanes) == ([0], [0, sign * int(inside)])
            if int(np.rint(beyond)) > limit:
                got = sent(np.array([1, sign * beyond, 2], dtype), fixed_scale(0, fan_in))
                assert (got.needed, got.lanes) == ([EXPONENT_POISON], [0, 0, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf, 3e38, -3e38, 2.0**126])
@pytest.mark.parametrize("place", [0, 70, 99])
def test_what_is_no_number_or_too_large_poisons_its_fragment_alone(dtype: type, value: float, place: int) -> None:
    values = np.ones(100, dtype)
    values[place] = value
    expected = [1, 1]
    expected[place // 64] = EXPONENT_POISON
    for agreed in (ZEROS, 0, EXPONENT_MAX):
        assert sent(values, adaptive_scale(2), [agreed] * 2).needed == expected
    got = sent(values, fixed_scale(4, 2))
    assert got.needed == [e and EXPONENT_POISON * (e == EXPONENT_POISON) for e in expected]
    assert not any(got.lanes[64 * (place // 64) : 64 * (place // 64 + 1)])


@pytest.mark.parametrize(
    ("values", "exponent"),
    [
        ((), ZEROS),
        ((0.0, -0.0), ZEROS),
        ((1e-45,), EXPONENT_MIN),
        ((2.0 ** (EXPONENT_MIN - 1), 0), EXPONENT_MIN),
        ((2.0**EXPONENT_MIN, 0), EXPONENT_MIN + 1),
        ((1.0,), 1),
        ((-0.75, 0.1), 0),
        ((LIMIT,), EXPONENT_MAX),
    ],
)
def test_exponents_at_the_edges(values: tuple[float, ...], exponent: int) -> None:
    wide = np.array(values, np.float64)
    for array in (wide, wide.astype(np.float32) if values != (LIMIT,) else wide):
        for agreed in (ZEROS, EXPONENT_MAX):
            assert sent(array, adaptive_scale(2), [agreed]).needed == [exponent]


def test_denormals_are_ordinary_numbers() -> None:
    smallest = float(np.finfo(np.float32).smallest_subnormal)
    got = sent(floats(smallest, 3 * smallest, -smallest, -0.0), adaptive_scale(32), [EXPONENT_MIN])
    assert received(got.lanes, adaptive_scale(32), EXPONENT_MIN) == [smallest, 3 * smallest, -smallest, 0]


def test_every_fragment_has_its_own_scale() -> None:
    values = floats(*[1.0] * 3, *[1e-6] * 3, *[1e30] * 2)
    scale, agreed = adaptive_scale(2), [1, -19, 100]
    got = sent(values, scale, agreed, width=3)
    assert got.needed == agreed
    out = np.empty(8, np.float32)
    dequantise(np.array(got.lanes, np.int32), np.array(agreed, np.int8), 3, scale, out)
    assert np.array_equal(out, values)


@given(st.lists(st.integers(-(2**24), 2**24), max_size=40), fraction_bits_s)
def test_what_can_be_represented_comes_back_bit_for_bit(integers: list[int], fraction_bits: int) -> None:
    values = [math.ldexp(i, -fraction_bits) for i in integers]
    scale = fixed_scale(fraction_bits, 1)
    for dtype in (np.float32, np.float64):
        got = sent(np.array(values, dtype), scale)
        assert (got.needed, got.lanes) == ([0], integers)
        assert received(got.lanes, scale, dtype=dtype) == values


@given(st.lists(st.integers(-LANE_MAX - 1, LANE_MAX), max_size=40), exponents, fan_ins)
def test_the_average_is_the_exact_sum_divided_in_float64_and_rounded_once(
    sums: list[int], agreed: int, fan_in: int
) -> None:
    bits = 31 - (fan_in - 1).bit_length() - GROWTH_BITS - agreed
    wide = [math.ldexp(s, -bits) / fan_in for s in sums]
    assert received(sums, adaptive_scale(fan_in), agreed, fan_in, np.float64) == wide
    if max(map(abs, wide), default=0) < 2.0**127:
        narrow = received(sums, adaptive_scale(fan_in), agreed, fan_in)
        assert narrow == [float(np.float32(v)) for v in wide]


@given(st.integers(ZEROS, EXPONENT_MAX), st.integers(ZEROS, EXPONENT_POISON))
def test_a_fragment_is_repeated_when_somebody_did_not_fit_or_the_scale_was_too_coarse(agreed: int, merged: int) -> None:
    a, m = np.array([agreed], np.int8), np.array([merged], np.int8)
    outgrew = merged > agreed + GROWTH_BITS
    coarse = merged < agreed - SLACK_BITS and merged != ZEROS
    assert must_repeat(a, m).tolist() == [(outgrew or coarse) and merged != EXPONENT_POISON]
    (following,) = agreed_next(a, m).tolist()
    assert following == (agreed if merged in (ZEROS, EXPONENT_POISON) else merged)
    assert not must_repeat(np.array([following], np.int8), m)[0]


def test_arrays_that_do_not_fit_are_refused() -> None:
    scale, one = fixed_scale(0, 1), np.zeros(1, np.int8)
    vanished = np.zeros(1, np.int32)
    with pytest.raises(TypeError, match="float16"):
        quantise(np.zeros(2, np.float16), one, 64, scale, np.zeros(2, np.int32), one, vanished)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="int64"):
        dequantise(np.zeros(2, np.int64), one, 64, scale, np.zeros(2, np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one length"):
        quantise(floats(1, 2), one, 64, scale, np.zeros(3, np.int32), one, vanished)
    with pytest.raises(ValueError, match=r"65 values are 2 fragments, not \(1,\)"):
        quantise(floats(*[1] * 65), one, 64, scale, np.zeros(65, np.int32), one, vanished)
    with pytest.raises(ValueError, match="0 workers"):
        fixed_scale(0, 0)
    with pytest.raises(ValueError, match="0 workers"):
        adaptive_scale(0)
