"""Scales: how floats become int32 and back, by a power of two for each fragment that all workers agree on.

    >>> scale = adaptive_scale(fan_in=4)
    >>> must_repeat(np.array([0], np.int8), np.array([5], np.int8)).tolist()  # sent under 0, somebody needed 5
    [True]

*No sum saturates.* The network adds lanes of `fan_in` workers, and its additions saturate. A sum that saturated and
came back into range can no longer be told from a right one, so saturation is made impossible instead of being looked
for: every worker keeps its lanes within `floor((2**31 - 1) / fan_in)`, and so every partial sum, in whatever order,
fits.

*Adaptive.* A fragment's exponent is the least e >= EXPONENT_MIN with |x| < 2**e for all its values; ZEROS where all are
0. Each fragment has an agreed exponent `a`, the same on every worker, and a lane is
`value * 2**(31 - carry - GROWTH_BITS - a)`, carry = ceil(log2(fan_in)), rounded to nearest, ties to even. A worker
whose fragment needs more than a + GROWTH_BITS sends zeros. All say which exponent they need and read the maximum m. If
m > a + GROWTH_BITS somebody did not fit, if m < a - SLACK_BITS the scale was coarser than need be: then all send this
fragment again, under m (`must_repeat`). The next time a is m.

So what a sum is made of was sent under an exponent of at most m + SLACK_BITS. Its unit is at most
2**(carry + GROWTH_BITS + SLACK_BITS + m - 31), each worker's error half of that, and the fragment's largest value over
all workers, M, at least 2**(m - 1). Hence for every lane

    |average - exact average| <= M * 2**(carry + GROWTH_BITS + SLACK_BITS - 31),

1.5e-8 M for two workers, 2.4e-7 M for 32, before the one rounding to float32; where m = EXPONENT_MIN, below which
there is no smaller scale, 2**(carry + GROWTH_BITS + SLACK_BITS + EXPONENT_MIN - 32). More GROWTH_BITS and SLACK_BITS
mean fewer repeats and larger errors. The two together let the largest of a fragment's values wander over a factor of 16
and more from one use to the next, which makes repeats rare (`python -m experiments.studies.bench.accuracy` counts
them), and leave two workers more bits than float32 has. Slack gets the larger part because gradients of a training that
goes well shrink.

NaN, infinity and magnitudes from 2**126 on have no scale: EXPONENT_POISON. *Fixed*: one number of fraction bits for
everything; what does not fit is EXPONENT_POISON, all else exponent 0.

Everything here is exact integer or float64 arithmetic without regard to the order of lanes: equal input gives equal
output on every machine.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from esa.wire import EXPONENT_POISON

LANE_MAX = 2**31 - 1
GROWTH_BITS = 1  # a fragment's largest value may become 2**GROWTH_BITS times as large before it is sent again
SLACK_BITS = 3  # and about 2**-SLACK_BITS as large
ZEROS = -128  # the exponent of a fragment of zeros
EXPONENT_MIN = ZEROS + GROWTH_BITS + 1  # so that nothing but zeros fits under ZEROS, without a rule of its own
EXPONENT_MAX = EXPONENT_POISON - 1

Floats: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
Lanes: TypeAlias = NDArray[np.int32]
Exponents: TypeAlias = NDArray[np.int8]


class Scale(NamedTuple):
    """How values become lanes, by agreed exponent - ZEROS."""

    adaptive: bool
    factor: NDArray[np.float64]  # (256,)
    unit: NDArray[np.float64]  # (256,): 1 / factor
    beyond_float32: NDArray[np.int32]  # (256,): magnitudes from here on do not fit, as the bits of a float
    beyond_float64: NDArray[np.int64]


def lane_limit(fan_in: int) -> int:
    """The largest magnitude of one worker's lane such that no sum over `fan_in` workers can leave int32."""
    if fan_in < 1:
        raise ValueError(f"fan_in: {fan_in} workers; at least 1 is needed")
    return LANE_MAX // fan_in


def adaptive_scale(fan_in: int) -> Scale:
    """A scale for each agreed exponent."""
    lane_limit(fan_in)
    carry_bits = (fan_in - 1).bit_length()
    agreed = np.arange(ZEROS, 128)
    factor = np.ldexp(1.0, 31 - carry_bits - GROWTH_BITS - agreed)
    beyond = []
    for kind in (FLOAT32, FLOAT64):
        # Magnitudes below 2**(agreed + GROWTH_BITS), as bits, less those within half a lane of it: rounded up they
        # would be lanes of 2**(31 - carry), and the sum of 2**carry of these is 2**31. In units of the last place
        # below a power of two, that half is 2**(mantissa bits - 31 + carry).
        shift = kind.mantissa_bits - 31 + carry_bits
        half_lane = 1 << shift if shift >= 0 else 0
        bits = (agreed.astype(np.int64) + GROWTH_BITS + kind.bias << kind.mantissa_bits) - half_lane
        bits[0] = 1  # ZEROS
        beyond.append(np.minimum(bits, _poison_bits(kind)))
    return Scale(True, factor, 1 / factor, beyond[0].astype(np.int32), beyond[1])


def fixed_scale(fraction_bits: int, fan_in: int) -> Scale:
    """One scale whatever the agreed exponent: a lane is `value * 2**fraction_bits`."""
    limit = lane_limit(fan_in)
    # A lane rounds beyond the limit from limit + 1/2 on; a tie goes to the even neighbour.
    first, inclusive = math.ldexp(limit + 0.5, -fraction_bits), limit % 2 == 1
    narrow = np.float32(first)
    if float(narrow) < first:
        narrow = np.nextafter(narrow, np.float32(np.inf))
    beyond32 = int(narrow.view(np.int32)) + (not inclusive and float(narrow) == first)
    beyond64 = int(np.float64(first).view(np.int64)) + (not inclusive)
    factor = np.full(256, math.ldexp(1.0, fraction_bits))
    return Scale(False, factor, 1 / factor, np.full(256, beyond32, np.int32), np.full(256, beyond64, np.int64))


def must_repeat(agreed: Exponents, merged: Exponents) -> NDArray[np.bool_]:
    """Which fragments, sent under `agreed`, have to be sent again under `merged`, the maximum of what was needed."""
    a, m = agreed.astype(np.int16), merged.astype(np.int16)
    repeat: NDArray[np.bool_] = (m != EXPONENT_POISON) & (m != ZEROS) & ((m > a + GROWTH_BITS) | (m < a - SLACK_BITS))
    return repeat


def agreed_next(agreed: Exponents, merged: Exponents) -> Exponents:
    """The exponents under which the same fragments are sent the next time.

    Zeros and what has no scale say nothing about the next time.
    """
    return np.where((merged == ZEROS) | (merged == EXPONENT_POISON), agreed, merged)


class FloatKind(NamedTuple):
    """Without its sign bit a float orders like an integer, with infinity and NaN on top."""

    mantissa_bits: int
    bias: int


FLOAT32, FLOAT64 = FloatKind(23, 127), FloatKind(52, 1023)


def _poison_bits(kind: FloatKind) -> int:
    return EXPONENT_MAX + kind.bias << kind.mantissa_bits
