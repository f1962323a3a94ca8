"""A simulation that is looked at, or interfered with, before every nanosecond in which something happens.

The event loop is left as it is: `simulate` gets a `run` that asks it for no more than one such nanosecond at a time.
Within one, a line has one arrival at most, and no arrival of the same nanosecond can come about; so what arrives is
known before it does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest

from esa.entries.job_entries import DENIED_BY_REASON, DENY_REASONS
from esa.sim import Outcome, Plan, loop
from esa.sim.engine.events import SOURCE_BITS, source_of
from esa.sim.fabric.switches import Switches, loaded
from esa.sim.loop import SimState, StopReason

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


def counted(sim: SimState, name: str) -> npt.NDArray[np.int64]:
    """(switches, cells): packets that the program has counted."""
    counters = loaded(len(sim.lanes))
    first = counters.layout.counters[name]
    return sim.switches.m64[:, first : first + counters.program.counters[name].size]


def denied(sim: SimState) -> dict[str, int]:
    """Packets that switches did not let pass, by reason, where there are any."""
    packets = counted(sim, DENIED_BY_REASON).sum(axis=0).tolist()
    return {reason: number for reason, number in zip(DENY_REASONS, packets, strict=False) if number}


def next_ns(sim: SimState) -> int:
    return int(sim.events.key[0]) >> SOURCE_BITS


def arrivals(sim: SimState, now_ns: int) -> Iterator[tuple[int, int]]:
    """(line, buffer of the pool) of the packets that arrive at their lines' ends now, in the order in which they do."""
    keys = sim.events.key[: sim.events.size[0]]
    for key in np.sort(keys[keys >> SOURCE_BITS == now_ns]).tolist():
        line = source_of(sim.events, key)
        if line < len(sim.lines):
            yield line, int(sim.lines[line]["head"])
