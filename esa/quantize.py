"""float32 and float64 to int32 and back, compiled; `esa/scales.py` has the rules and the reasons.

>>> from esa.scales import adaptive_scale
>>> scale = adaptive_scale(fan_in=4)
>>> values, agreed = np.array([0.5, -0.25], np.float32), np.array([0], np.int8)  # one fragment, up to 64 lanes
>>> lanes, needed, vanished = np.empty(2, np.int32), np.empty(1, np.int8), np.empty(1, np.int32)
>>> quantise(values, agreed, 64, scale, lanes, needed, vanished)  # non-zero values
2
>>> lanes.tolist(), needed.tolist(), vanished.tolist()
([134217728, -67108864], [0], [0])
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esa.native import native
from esa.scales import (
    EXPONENT_MIN,
    FLOAT32,
    FLOAT64,
    GROWTH_BITS,
    ZEROS,
    Exponents,
    Floats,
    Lanes,
    Scale,
)
from esa.wire import EXPONENT_POISON


def quantise(
    values: Floats,
    agreed: Exponents,
    fragment_lanes: int,
    scale: Scale,
    lanes: Lanes,
    needed: Exponents,
    vanished: NDArray[np.int32],
) -> int:
    """Write `values` (n,), float32 or float64, as `lanes` (n,); return how many of them are not zero.

    agreed: one exponent per fragment. Written per fragment: `needed`, the exponent to be told, and `vanished`, the
    non-zero values that became lanes of zero. A fragment that does not fit is all zeros, of which none has vanished.
    All arrays contiguous; TypeError or ValueError if they do not fit each other.
    """
    _check(values, lanes, fragment_lanes, agreed, needed, vanished)
    beyond: NDArray[Any]
    if values.dtype == np.float32:
        kind, beyond = FLOAT32, scale.beyond_float32
    else:
        kind, beyond = FLOAT64, scale.beyond_float64
    return int(
        _quantise(
            values,
            values.view(beyond.dtype),
            np.iinfo(beyond.dtype).max,
            kind.mantissa_bits,
            kind.bias,
            agreed,
            fragment_lanes,
            scale.adaptive,
            scale.factor,
            beyond,
            lanes,
            needed,
            vanished,
        )
    )


def dequantise(
    lanes: Lanes, agreed: Exponents, fragment_lanes: int, scale: Scale, out: Floats, divisor: int = 1
) -> None:
    """Write what `lanes` (n,) mean under `agreed`, divided by `divisor`, to `out` (n,) float32 or float64.

    The division comes after the exact sum, in float64, which holds each sum exactly; then one rounding to float32.
    """
    _check(out, lanes, fragment_lanes, agreed)
    _dequantise(lanes, agreed, fragment_lanes, scale.unit, float(divisor), out)


@native
def _largest(bits: NDArray[Any], magnitude: int) -> Any:
    largest = bits.dtype.type(0)
    for i in range(bits.size):
        largest = max(largest, bits.dtype.type(bits[i] & magnitude))
    return largest


@native
def _round(values: Floats, factor: float, lanes: Lanes) -> tuple[np.int32, np.int32]:
    """Returns the values and the lanes that are not zero."""
    values_left, lanes_left = np.int32(0), np.int32(0)
    for i in range(values.size):
        lane = np.int32(np.rint(np.float64(values[i]) * factor))
        lanes[i] = lane
        values_left = np.int32(values_left + np.int32(values[i] != 0))
        lanes_left = np.int32(lanes_left + np.int32(lane != 0))
    return values_left, lanes_left


@native
def _quantise(
    values: Floats,
    bits: NDArray[Any],
    magnitude: int,
    mantissa_bits: int,
    bias: int,
    agreed: Exponents,
    fragment_lanes: int,
    adaptive: bool,
    factor: NDArray[np.float64],
    beyond: NDArray[Any],
    lanes: Lanes,
    needed: Exponents,
    vanished: NDArray[np.int32],
) -> int:
    nonzero = 0
    for fragment in range(agreed.size):
        start = fragment * fragment_lanes
        end = min(start + fragment_lanes, values.size)
        largest = _largest(bits[start:end], magnitude)
        exponent = ZEROS
        if largest != 0:
            exponent = min(max((int(largest) >> mantissa_bits) - bias + 1, EXPONENT_MIN), EXPONENT_POISON)
        row = np.int64(agreed[fragment]) - ZEROS
        vanished[fragment] = 0
        if largest < beyond[row]:
            before, after = _round(values[start:end], factor[row], lanes[start:end])
            vanished[fragment] = before - after
            nonzero += int(before)
            needed[fragment] = exponent if adaptive else 0
        else:
            for i in range(start, end):
                lanes[i] = 0
                nonzero += values[i] != 0
            # Within half a lane of not fitting is not fitting, though the exponent alone does not say so.
            least = agreed[fragment] + GROWTH_BITS + 1
            needed[fragment] = min(max(exponent, least), EXPONENT_POISON) if adaptive else EXPONENT_POISON
    return nonzero


@native
def _dequantise(
    lanes: Lanes, agreed: Exponents, fragment_lanes: int, unit: NDArray[np.float64], divisor: float, out: Floats
) -> None:
    for fragment in range(agreed.size):
        start = fragment * fragment_lanes
        end = min(start + fragment_lanes, lanes.size)
        _unscale(lanes[start:end], unit[np.int64(agreed[fragment]) - ZEROS], divisor, out[start:end])


@native
def _unscale(lanes: Lanes, unit: float, divisor: float, out: Floats) -> None:
    for i in range(lanes.size):
        out[i] = lanes[i] * unit / divisor


def _check(
    values: Floats,
    lanes: Lanes,
    fragment_lanes: int,
    exponents: Exponents,
    *others: NDArray[Any],
) -> None:
    # A wrong dtype would be compiled for and give wrong numbers rather than an error.
    if values.dtype not in (np.float32, np.float64) or lanes.dtype != np.int32 or exponents.dtype != np.int8:
        raise TypeError(
            "values are float32 or float64, lanes int32, exponents int8, "
            f"not {values.dtype}, {lanes.dtype}, {exponents.dtype}"
        )
    if values.ndim != 1 or lanes.shape != values.shape:
        raise ValueError(
            f"values and lanes are one-dimensional and of one length, not {values.shape} and {lanes.shape}"
        )
    fragments = max(-(-values.size // fragment_lanes), 1)
    for array in (exponents, *others):
        if array.shape != (fragments,):
            raise ValueError(f"{values.size} values are {fragments} fragments, not {array.shape}")
