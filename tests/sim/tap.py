"""A simulation that is looked at, or interfered with, before every nanosecond in which something happens.

The event loop is left as it is: `simulate` gets a `run` that asks it for no more than one such nanosecond at a time.
Within one, a line has one arrival at most, and no arrival of the same nanosecond can come about; so what arrives is
known before it does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from esa.sim import Outcome, Plan, loop
from esa.sim.engine.events import SOURCE_BITS, source_of
from esa.sim.loop import IDLE, UNTIL, World

Look = Callable[[World, int], None]

SIMULATE = importlib.import_module("esa.sim.simulate")  # the package shows the function of that name


def simulate_tapped(plan: Plan, look: Look) -> Outcome:
    """`simulate(plan)`, with `look(world, now_ns)` called each time; of one nanosecond twice, if a job ends in it."""

    def run(world: World, until_ns: int) -> int:
        while (now_ns := next_ns(world)) < until_ns:
            look(world, now_ns)
            reason = loop.run(world, now_ns + 1)
            if reason not in (UNTIL, IDLE):
                return int(reason)
        return int(loop.run(world, until_ns))

    return _simulate(plan, run)


def final_world(plan: Plan) -> tuple[Outcome, World]:
    """What came out, and what nobody is told: the world at the end."""
    worlds: list[World] = []

    def run(world: World, until_ns: int) -> int:
        worlds[:] = [world]
        return int(loop.run(world, until_ns))

    return _simulate(plan, run), worlds[0]


def _simulate(plan: Plan, run: Callable[[World, int], int]) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SIMULATE, "run", run)
        return SIMULATE.simulate(plan)


def next_ns(world: World) -> int:
    return int(world.events.key[0]) >> SOURCE_BITS


def arrivals(world: World, now_ns: int) -> Iterator[tuple[int, int]]:
    """(line, row of the pool) of the packets that arrive at their lines' ends now, in the order in which they do."""
    keys = world.events.key[: world.events.fill[0]]
    for key in np.sort(keys[keys >> SOURCE_BITS == now_ns]).tolist():
        line = source_of(world.events, key)
        if line < len(world.lines):
            yield line, int(world.lines[line]["first"])
