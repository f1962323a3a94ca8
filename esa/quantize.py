"""float32 to int32 and back by a power-of-two scale, with overflow found before anything is sent.

    >>> lanes = np.empty(2, np.int32)
    >>> quantise(np.array([0.5, -0.25], np.float32), fraction_bits=20, fan_in=4, out=lanes)
    False
    >>> lanes.tolist()
    [524288, -262144]

A lane is `value * 2**fraction_bits`, rounded to nearest, ties to even. The network adds lanes of `fan_in` workers, and
its additions saturate. A sum that saturated and then came back into range can no longer be told from a right one, so
saturation is made impossible instead of being looked for: every worker keeps its lanes within
`floor((2**31 - 1) / fan_in)`, and so every partial sum, in whatever order, fits. A value beyond that, a NaN or an
infinity is an overflow; the worker then sends zeros under the exponent `wire.EXPONENT_POISON`, which the network's
maximum carries to every worker (see docs/protocol.md).

Everything here is exact integer or float64 arithmetic without regard to the order of lanes: equal input gives equal
output on every machine.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from esa.native import native
from esa.wire import EXPONENT_POISON

LANE_MAX = 2**31 - 1
EXPONENT_MIN = -128  # of a block of zeros
EXPONENT_MAX = EXPONENT_POISON - 1
GROWTH_BITS = 2  # `adaptive`: a bucket's largest value may grow by up to 2**GROWTH_BITS from one use to the next

_INFINITY_BITS = 0x7F800000  # float32: magnitudes from here on are infinity and NaN


@native
def _scale(values: NDArray[np.float32], bits: NDArray[np.int32], scale: float, out: NDArray[np.int32]) -> int:
    # Without its sign bit a float32 orders like an integer, with infinity and NaN on top: one integer maximum finds
    # both the block exponent and every overflow, and the loop stays free of branches. Lanes out of int32's range are
    # arbitrary here; the caller, who sees the maximum, discards them.
    largest = np.int32(0)
    for i in range(values.size):
        largest = max(largest, np.int32(bits[i] & np.int32(0x7FFFFFFF)))
        out[i] = np.int32(np.rint(np.float64(values[i]) * scale))
    return int(largest)


@native
def _largest(bits: NDArray[np.int32]) -> int:
    largest = np.int32(0)
    for i in range(bits.size):
        largest = max(largest, np.int32(bits[i] & np.int32(0x7FFFFFFF)))
    return int(largest)


@native
def _unscale(lanes: NDArray[np.int32], scale: float, divisor: float, out: NDArray[np.float32]) -> None:
    for i in range(lanes.size):
        out[i] = np.float32(lanes[i] * scale / divisor)


def lane_limit(fan_in: int) -> int:
    """The largest magnitude of one worker's lane such that no sum over `fan_in` workers can leave int32."""
    if fan_in < 1:
        raise ValueError(f"fan_in: {fan_in} workers; at least 1 is needed")
    return LANE_MAX // fan_in


def quantise(values: NDArray[np.float32], fraction_bits: int, fan_in: int, out: NDArray[np.int32]) -> bool:
    """Write `values * 2**fraction_bits` as lanes to `out`; return whether there was an overflow.

    `values` (n,) float32 and `out` (n,) int32, both contiguous. After an overflow (see the module) `out` is all zeros.
    TypeError or ValueError if the arrays do not fit each other.
    """
    return quantise_block(values, fraction_bits, fan_in, out) == EXPONENT_POISON


def quantise_block(values: NDArray[np.float32], fraction_bits: int, fan_in: int, out: NDArray[np.int32]) -> int:
    """`quantise` that returns, in the same pass, the block exponent of `values`, or EXPONENT_POISON on overflow."""
    _check(values, out)
    limit = lane_limit(fan_in)
    scale = math.ldexp(1.0, fraction_bits)
    largest = _scale(values, values.view(np.int32), scale, out)
    # Scaling by a power of two is exact in float64 and rounding is monotone: the largest magnitude decides for all.
    if largest >= _INFINITY_BITS or round(_magnitude(largest) * scale) > limit:
        out.fill(0)
        return EXPONENT_POISON
    return _exponent(largest)


def block_exponent(values: NDArray[np.float32]) -> int:
    """The least e with |x| < 2**e for all of `values` (n,), within an int8.

    EXPONENT_MIN for a block of zeros, EXPONENT_POISON if there is a NaN or an infinity.
    """
    _check(values, None)
    largest = _largest(values.view(np.int32))
    return EXPONENT_POISON if largest >= _INFINITY_BITS else _exponent(largest)


def adaptive_fraction_bits(exponent: int, fan_in: int) -> int:
    """The fraction bits for a bucket whose block exponent, over all workers, was `exponent` when last seen.

    The bits of int32 that are left after the fan-in's carry and GROWTH_BITS for values that have grown since then.
    """
    if not EXPONENT_MIN <= exponent <= EXPONENT_MAX:
        raise ValueError(f"exponent: {exponent} is no block exponent; allowed: {EXPONENT_MIN}..{EXPONENT_MAX}")
    carry_bits = (fan_in - 1).bit_length()
    return 31 - carry_bits - GROWTH_BITS - exponent


def dequantise(lanes: NDArray[np.int32], fraction_bits: int, out: NDArray[np.float32], divisor: int = 1) -> None:
    """Write `lanes / 2**fraction_bits / divisor` (n,) to `out` (n,) float32.

    The division comes after the exact sum, in float64, which holds each sum exactly; then one rounding to float32.
    """
    _check(out, lanes)
    _unscale(lanes, math.ldexp(1.0, -fraction_bits), float(divisor), out)


def _exponent(largest: int) -> int:
    if largest == 0:
        return EXPONENT_MIN
    return min(max(math.frexp(_magnitude(largest))[1], EXPONENT_MIN), EXPONENT_MAX)


def _magnitude(bits: int) -> float:
    return float(np.int32(bits).view(np.float32))


def _check(values: NDArray[np.float32], lanes: NDArray[np.int32] | None) -> None:
    # A wrong dtype would be compiled for and give wrong numbers rather than an error.
    if values.dtype != np.float32 or (lanes is not None and lanes.dtype != np.int32):
        kinds = f"{values.dtype}" if lanes is None else f"{values.dtype} and {lanes.dtype}"
        raise TypeError(f"values are float32 and lanes int32, not {kinds}")
    if values.ndim != 1 or (lanes is not None and lanes.shape != values.shape):
        shapes = f"{values.shape}" if lanes is None else f"{values.shape} and {lanes.shape}"
        raise ValueError(f"values and lanes are one-dimensional and of one length, not {shapes}")
