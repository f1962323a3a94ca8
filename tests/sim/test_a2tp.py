"""A2TP's own benchmark in virtual time: one of two jobs has a worker behind a slow link, so its rows wait for that one.

The released code's benchmark.md expects that such a job gives up rows, so that the other goes on at its pace. Virtual
time repeats, so the bounds are no timing.
"""

from __future__ import annotations

import pytest

from esa.sim import Outcome, simulate
from experiments.studies.figures.base import WINDOW, Effort, simulation
from experiments.virtual.translate import plan_of

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop


def outcome(policy: str, rows: int) -> Outcome:
    """Two jobs that send nearly all the time, in step; a worker of the first has a tenth of the others' rate."""
    slow = {"rates": {"host-0": "10 Gb/s"}}
    setting = simulation(
        Effort(quick=True), policy, 1, rows=rows, heavy=2, light=0, network=slow, submitted_within_s=0.0
    )
    found = simulate(plan_of(setting))
    assert found.incomplete is None
    return found


def sent_past_rows(found: Outcome) -> list[float]:
    """By job, the part of its fragments that went past the rows when they were sent for the first time."""
    return [(found.switch_counters[job.name]["resends"] - job.resends) / job.fragments for job in found.jobs]


def test_a_job_that_straggles_gives_up_rows_and_the_other_is_faster() -> None:
    a2tp, atp = outcome("a2tp", WINDOW), outcome("atp", WINDOW)
    slow, other = sent_past_rows(a2tp)
    assert slow > 0.2
    assert other < 0.5 * slow
    assert max(sent_past_rows(atp)) <= 0.0  # what is lost or late may be resent by a worker, and not reach the switch
    (slow_jct_s, other_jct_s), (slow_atp_s, other_atp_s) = ([job.jct_s for job in found.jobs] for found in (a2tp, atp))
    assert other_jct_s < 0.98 * other_atp_s
    assert slow_jct_s < slow_atp_s


def test_where_rows_are_ample_it_is_atp() -> None:
    a2tp, atp = outcome("a2tp", 4 * WINDOW), outcome("atp", 4 * WINDOW)
    assert [job.jct_s for job in a2tp.jobs] == [job.jct_s for job in atp.jobs]
    assert max(sent_past_rows(a2tp)) <= 0.0
