"""A simulation that is looked at, or interfered with, before every nanosecond in which something happens.

The event loop is left as it is: `simulate` gets a `run` that asks it for no more than one such nanosecond at a time.
Within one, a line has one arrival at most, and no arrival of the same nanosecond can come about; so what arrives is
known before it does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pytest

from esa.entries.job_entries import DENIED_BY_REASON, DENY_REASONS
from esa.sim import Outcome, Plan, loop
from esa.sim.build import Built
from esa.sim.engine.events import SOURCE_BITS, source_of
from esa.sim.fabric.switches import Switches
from esa.sim.loop import SimState, StopReason
from esa.switch.runtime.pipeline import Pipeline

Look = Callable[[SimState, int], None]
NO_EXPONENTS = np.zeros(0, np.int8)

SIMULATE = importlib.import_module("esa.sim.simulate")  # the package shows the function of that name


def simulate_tapped(plan: Plan, look: Look, exponents: npt.NDArray[np.int8] = NO_EXPONENTS) -> Outcome:
    """`simulate(plan)`, with `look(sim, now_ns)` called each time; of one nanosecond twice, if a job ends in it.

    exponents: `sim.exponents`; with one place, all that is fed has the exponent that stands there.
    """

    def run(sim: SimState, switches: Switches, until_ns: int) -> int:
        sim = sim._replace(exponents=exponents)
        while (now_ns := next_ns(sim)) < until_ns:
            look(sim, now_ns)
            reason = loop.run(sim, switches, now_ns + 1)
            if reason not in (StopReason.TIME_REACHED, StopReason.NO_EVENTS):
                return int(reason)
        return int(loop.run(sim, switches, until_ns))

    return simulate_running(plan, run)


def final_state(plan: Plan) -> tuple[Outcome, SimState]:
    """What came out, and what nobody is told: the state at the end."""
    states: list[SimState] = []

    def run(sim: SimState, switches: Switches, until_ns: int) -> int:
        states[:] = [sim]
        return int(loop.run(sim, switches, until_ns))

    return simulate_running(plan, run), states[0]


def simulate_running(plan: Plan, run: Callable[[SimState, Switches, int], int]) -> Outcome:
    """`simulate(plan)` with another `esa.sim.loop.run`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SIMULATE, "run", run)
        return SIMULATE.simulate(plan)


@contextmanager
def kept_switches() -> Iterator[list[Pipeline]]:
    """The switches of a simulation that is made within, in the order of the graph; there once it has begun."""
    kept: list[Pipeline] = []

    def build(plan: Plan) -> Built:
        made = built(plan)
        kept[:] = made.pipelines
        return made

    built = SIMULATE.build
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SIMULATE, "build", build)
        yield kept


def denied(switches: Sequence[Pipeline]) -> set[str]:
    """Why switches did not let packets pass."""
    counters = (switch.counters[DENIED_BY_REASON].packets.tolist() for switch in switches)
    return {reason for each in counters for reason, packets in zip(DENY_REASONS, each, strict=False) if packets}


def next_ns(sim: SimState) -> int:
    return int(sim.events.key[0]) >> SOURCE_BITS


def arrivals(sim: SimState, now_ns: int) -> Iterator[tuple[int, int]]:
    """(line, buffer of the pool) of the packets that arrive at their lines' ends now, in the order in which they do."""
    keys = sim.events.key[: sim.events.size[0]]
    for key in np.sort(keys[keys >> SOURCE_BITS == now_ns]).tolist():
        line = source_of(sim.events, key)
        if line < len(sim.lines):
            yield line, int(sim.lines[line]["head"])
