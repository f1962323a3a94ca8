"""Which replica a request goes to: Vidur's global schedulers."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from esa.errors import BadInput
from esa.serving.core import Router, Scheduler
from esa.serving.requests import Life

_STREAM = 0x20B7  # of the seed


class Random:
    """Each with the same chance."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64([seed, _STREAM]))

    def assign(self, waiting: deque[Life], schedulers: Sequence[Scheduler]) -> list[tuple[Life, int]]:
        found = [(life, int(self._generator.integers(len(schedulers)))) for life in waiting]
        waiting.clear()
        return found


class RoundRobin:
    """One after the other."""

    def __init__(self) -> None:
        self._next = 0

    def assign(self, waiting: deque[Life], schedulers: Sequence[Scheduler]) -> list[tuple[Life, int]]:
        found = []
        while waiting:
            found.append((waiting.popleft(), self._next % len(schedulers)))
            self._next += 1
        return found


class LeastOutstanding:
    """To where the fewest requests are; of equals the first. compat: those that run do not count, as in Vidur."""

    def __init__(self, *, compat: bool = False) -> None:
        self._compat = compat

    def assign(self, waiting: deque[Life], schedulers: Sequence[Scheduler]) -> list[tuple[Life, int]]:
        loads = [one.queued if self._compat else one.unfinished for one in schedulers]
        found = []
        while waiting:
            number = min(range(len(loads)), key=loads.__getitem__)
            loads[number] += 1
            found.append((waiting.popleft(), number))
        return found


class Deferred:
    """Requests wait together until a replica has fewer than `most` of them, and go to the one with the fewest."""

    def __init__(self, most: int) -> None:
        if most < 1:
            raise BadInput(f"most: {most}; allowed: from 1")
        self._most = most

    def assign(self, waiting: deque[Life], schedulers: Sequence[Scheduler]) -> list[tuple[Life, int]]:
        loads = [one.unfinished for one in schedulers]
        found = []
        while waiting:
            number = min(range(len(loads)), key=loads.__getitem__)
            if loads[number] >= self._most:
                break
            loads[number] += 1
            found.append((waiting.popleft(), number))
        return found


ROUTERS = ("random", "round-robin", "least-outstanding", "deferred")


def router_of(name: str, *, seed: int, most: int, compat: bool = False) -> Router:
    """most: of `deferred`. BadInput for one that is not known."""
    if name == "random":
        return Random(seed)
    if name == "round-robin":
        return RoundRobin()
    if name == "least-outstanding":
        return LeastOutstanding(compat=compat)
    if name == "deferred":
        return Deferred(most)
    raise BadInput(f"router: unknown router '{name}'; allowed: {', '.join(ROUTERS)}")
