"""Windows that yield where rows are scarce, with a span of eight: half the rows that all windows need, with and without
loss, in the setting of the figures. Virtual time repeats, so the bounds are no timing.
"""

from __future__ import annotations

from statistics import fmean
from typing import Any

import pytest

from esa.sim import Outcome, simulate
from experiments.studies.figures.base import ROWS, WINDOW, Effort, simulation
from experiments.virtual.translate import plan_of

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

FIXED = {"least_window": WINDOW}


def outcome(loss: float = 0.0, rows: int = ROWS, **job: Any) -> Outcome:
    faults = [{"link": "all", "loss": loss}] if loss else []
    found = simulate(plan_of(simulation(Effort(quick=True), "esa", 1, rows=rows, job=job, faults=faults)))
    assert found.incomplete is None
    return found


def jct_s(found: Outcome) -> float:
    return fmean(one.jct_s for one in found.jobs if one.jct_s is not None)


def split(found: Outcome) -> float:
    """The part of the workers' fragments whose sum the PS made."""
    return sum(one.via_ps for one in found.jobs) / sum(one.fragments for one in found.jobs)


def test_fewer_fragments_are_split_and_sums_come_sooner() -> None:
    yielding, fixed = outcome(), outcome(**FIXED)
    assert split(yielding) < 0.6 * split(fixed)
    assert jct_s(yielding) < 0.99 * jct_s(fixed)


def test_a_loss_stops_nobody_where_rows_are_scarce() -> None:
    without, with_loss = jct_s(outcome()), jct_s(outcome(0.01))
    assert with_loss < 1.7 * without
    assert with_loss < 0.7 * jct_s(outcome(0.01, span=WINDOW))


def test_where_rows_are_ample_nothing_is_split_and_no_window_yields() -> None:
    assert jct_s(outcome(rows=8 * WINDOW)) == jct_s(outcome(rows=8 * WINDOW, **FIXED))
