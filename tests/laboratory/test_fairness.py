"""Finish-time fairness, by hand."""

from __future__ import annotations

import pytest

from esa.cluster.policies import fifo
from esa.cluster.times import COMPUTING
from esa.laboratory import simulate_cluster
from esa.laboratory.fairness import finish_time_fairness
from tests.laboratory.jobs import hosts, job


def test_a_jobs_share_is_that_of_whoever_was_there_in_its_life() -> None:
    jobs = [job("a", 0, 4, 10), job("b", 0, 4, 10), job("c", 100, 1, 10), job("d", 200, 2, 5)]
    outcome = simulate_cluster(hosts(4), jobs, fifo.decide, COMPUTING)
    # Two jobs while "a" is there: half of the GPUs, 20 s instead of 10. One and a half beside "b", in the mean: 15 s,
    # and it took 20. Who asks for less than there is gains nothing by more.
    assert finish_time_fairness(jobs, outcome) == pytest.approx([0.5, 20 / 15, 1.0, 1.0])
