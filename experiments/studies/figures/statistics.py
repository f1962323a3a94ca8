"""What several seeds say together: 95 % confidence intervals, of means and of ratios.

Seeds draw the same jobs for every policy, so a ratio of two policies is taken seed by seed. Its logarithm is averaged,
as ratios multiply: the centre is the geometric mean, and ATP / ESA is the inverse of ESA / ATP. Both intervals are
Student's t. (Resampling the seeds, the percentile bootstrap, gives intervals for five seeds that hold the truth in five
of six cases, not in 19 of 20; `tests/experiments/test_figures.py` counts.)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# The 97.5 % points of Student's t by degrees of freedom, from 1 on.
_T = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
    *(2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423),
)


class Interval(NamedTuple):
    """A figure and its 95 % confidence interval. NaN: some of the `seeds` have no figure."""

    centre: float
    low: float
    high: float
    seeds: int

    @property
    def known(self) -> bool:
        return not math.isnan(self.centre)


def mean_interval(values: npt.ArrayLike) -> Interval:
    """The mean, and Student's t interval around it; ValueError for fewer than 2 values or more than 31."""
    array = np.asarray(values, np.float64)
    if not 2 <= len(array) <= len(_T) + 1:
        raise ValueError(f"values: {len(array)}; allowed: 2 to {len(_T) + 1}")
    centre = float(array.mean())
    reach = _T[len(array) - 2] * float(array.std(ddof=1)) / math.sqrt(len(array))
    return Interval(centre, centre - reach, centre + reach, len(array))


def ratio_interval(above: npt.ArrayLike, below: npt.ArrayLike) -> Interval:
    """The geometric mean of above / below, seed by seed, and its interval; ValueError if a value is not above 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    if above.shape != below.shape:
        raise ValueError(f"above, below: {above.shape} and {below.shape} values; allowed: one of each per seed")
    if (above <= 0).any() or (below <= 0).any():
        raise ValueError("above, below: a value that is not above 0")
    logs = mean_interval(np.log(above / below))
    return Interval(math.exp(logs.centre), math.exp(logs.low), math.exp(logs.high), logs.seeds)


def verdict(ratio: Interval) -> str:
    """Which side of 1 a ratio's whole interval lies on: "+" above, "-" below, "=" neither, "?" unknown."""
    if not ratio.known:
        return "?"
    if ratio.low > 1:
        return "+"
    return "-" if ratio.high < 1 else "="
