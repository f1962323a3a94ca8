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
from scipy.special import stdtrit


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
    """The mean, and Student's t interval around it; ValueError for fewer than 2 values."""
    array = np.asarray(values, np.float64)
    if len(array) < 2:
        raise ValueError(f"values: {len(array)}; allowed: 2 and more")
    centre = float(array.mean())
    quantile = float(stdtrit(len(array) - 1, 0.975))  # Student's t; scipy.stats takes a second to import
    reach = quantile * float(array.std(ddof=1)) / math.sqrt(len(array))
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
