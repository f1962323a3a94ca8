"""The packet simulator's answers: beside the formula's where that is exact, and with the priorities of the cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.network_times.network import Network
from esa.network_times.packets import plan_of
from esa.network_times.urgency import priorities_of
from esa.workloads.program import REDUCE
from tests.network_times.questions import LIGHT, answers, asked, component, member


def test_two_hosts_with_two_gpus_are_slower_than_four_with_one_by_packets(tmp_path: Path) -> None:
    """And both are within 2 % of the formula."""
    network, found = Network("ring"), []
    for job in (asked(0, 0, 1, 2, 3, model=LIGHT), asked(0, 0, 1, each=2, model=LIGHT)):
        (formula,), (packets,) = (
            answers(network, job, level=level, folder=tmp_path) for level in ("formula", "packets")
        )
        assert packets.level == 3
        assert packets.iteration_s == pytest.approx(formula.iteration_s, rel=0.02)
        found.append(packets.exposed_s)
    four, two = found
    assert two > 1.4 * four


def test_jobs_that_share_a_cable_and_a_switch_are_as_by_flows(tmp_path: Path) -> None:
    jobs = [asked(0, 0, 1, model=LIGHT, left_ns=10**12), asked(1, 1, 2, model=LIGHT, left_ns=10**9)]
    network = Network("esa", rows=512)
    flows, packets = (answers(network, *jobs, level=level, folder=tmp_path) for level in ("flows", "packets"))
    for one, other in zip(flows, packets, strict=True):
        assert one.iteration_s == pytest.approx(other.iteration_s, rel=0.1)


def test_an_episode_has_the_priorities_that_the_cluster_gave() -> None:
    network = Network("esa")
    urgent, patient = member((0, 1), (1, 1), service=1), member((1, 1), (2, 1), service=8)
    here = component(network, patient, urgent)
    plan = plan_of(here, network, 0.01, [2, 2], [0.01, 0.01])
    for job, one in zip(plan.jobs, here.members, strict=True):
        assert job.programs is not None
        operations = job.programs[0].operations
        sent = operations["priority"][operations["kind"] == REDUCE].tolist()
        assert sent == [*priorities_of(one, network)]
    of = {one.service: priorities_of(one, network) for one in here.members}
    assert {a - b for a, b in zip(of[1], of[8], strict=True)} <= {111, 112}  # some 8 for a factor of two
