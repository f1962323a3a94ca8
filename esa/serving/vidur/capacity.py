"""Vidur-Search: how many requests a second a configuration can take, by bisection.

    capacity(delay_s, start=8.0).rate      # delay_s(rate) -> 99th percentile of scheduling delay, seconds

A rate is feasible if that delay is at most 5 s. The interval begins at twice the start and widens where the delay is
far from its limit, as in the published code. Of its defects, `compat` has this: after a bad failure the upper end may
fall below what is known to be feasible; otherwise it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from esa.errors import BadInput

LIMIT_S = 5.0
TOLERANCE = 0.025
MOST_PROBES = 20


class Capacity(NamedTuple):
    """rate: the largest that was found feasible, 0 if none. probes: (rate, delay), in the order asked."""

    rate: float
    probes: tuple[tuple[float, float], ...]


def capacity(
    delay_s: Callable[[float], float],
    start: float,
    *,
    limit_s: float = LIMIT_S,
    tolerance: float = TOLERANCE,
    most: int = MOST_PROBES,
    compat: bool = False,
) -> Capacity:
    """Bisect until the interval is narrower than the tolerance's part of a rate, or so many were asked."""
    if start <= 0:
        raise BadInput(f"start: {start:g} requests a second; allowed: above 0")
    left, right = 0.0, 2 * start
    fails_from, best = float("inf"), 0.0
    probes: list[tuple[float, float]] = []
    for _ in range(most):
        rate = (left + right) / 2
        if abs(right - left) < tolerance * rate:
            break
        delay = delay_s(rate)
        probes.append((rate, delay))
        if delay <= limit_s:
            best = max(best, rate)
            if delay < limit_s / 8:
                right = min(4 * right, fails_from)
            elif delay < limit_s / 4 or rate > 0.8 * right:
                right = min(2 * right, fails_from)
            left = rate
        else:
            fails_from = min(fails_from, rate)
            right = rate / 2 if delay > 100 * limit_s else rate
            if not compat and right <= left:
                right = fails_from
    return Capacity(best, tuple(probes))
