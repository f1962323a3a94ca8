"""Who computes is waited for, who is silent is not, and a worker knows which of the two it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from esa.net.impairment import Impairment, LinkFaults
from esa.protocol import worker_waiting
from esa.sim import Fabric, SimulatedJob, simulate
from esa.sim.transport.endpoints import worker
from esa.workloads.program import compute, program, reduce
from tests.sim.plans import FRAGMENT_BYTES, bad_links, job, leaf_spine, plan, rack
from tests.sim.tap import final_state

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

MS, S = 1_000_000, 1_000_000_000


def computing_for(starts_ns: Sequence[int], policy: str, fragments: int = 20, **given) -> SimulatedJob:
    """One sum, whose ranks have their numbers only when they have computed for so long."""
    programs = tuple(program(compute(start_ns), reduce(fragments * FRAGMENT_BYTES, 9)) for start_ns in starts_ns)
    return replace(job(policy_name=policy, workers=len(starts_ns), window=8, rows=16, **given), programs=programs)


def check_waited_for(asked: SimulatedJob, fabric: Fabric, give_up_s: float) -> None:
    outcome = simulate(plan(asked, fabric=fabric, lanes=64, give_up_s=give_up_s, sample_ns=S))
    assert outcome.incomplete is None
    assert outcome.checked == asked.workers * 20
    longest_ns = max(int(mine.operations["ns"][0]) for mine in asked.programs or ())
    assert longest_ns / S < outcome.end_s < longest_ns / S + 0.25


@pytest.mark.parametrize("seed", [None, 2, 5])  # of losses
@pytest.mark.parametrize("policy", ["esa", "atp", "switchml", "ps"])
def test_a_rank_that_computes_for_longer_than_silence_is_borne_delays_the_sum_and_no_more(
    policy: str, seed: int | None
):
    fabric = rack(4, faults=bad_links(4, seed, loss=0.2) if seed else {})
    check_waited_for(computing_for([0, 3 * S, 1 * S], policy), fabric, give_up_s=0.5)


@pytest.mark.parametrize("policy", ["esa", "atp", "ps"])  # `switchml` has no PS over two tiers that hears of it
def test_so_it_is_over_two_tiers(policy: str):
    fabric = leaf_spine((3, 2, 1), spines=2)
    one_of_each_rack = computing_for([0, 0, 1500 * MS, 0, 2 * S], policy, hosts=(0, 1, 2, 3, 4, 5))
    check_waited_for(one_of_each_rack, replace(fabric, faults=bad_links(6, 7, loss=0.1)), give_up_s=0.5)


def test_a_rank_that_never_answers_fails_the_others_although_one_computes():
    dead = Impairment(loss=1.0)
    faults = {**bad_links(4, 6, loss=0.1), 2: LinkFaults(to_switch=dead, from_switch=dead)}
    asked = computing_for([0, 30 * S, 0], "esa", fragments=2, hosts=(0, 1, 2, 3))
    outcome, sim = final_state(plan(asked, fabric=rack(4, faults=faults), give_up_s=2.0, sample_ns=S))
    assert outcome.incomplete == "job job gave up"
    waits = worker.py_func(sim.workers, 0)
    assert waits.worker[0]["failed"]
    assert 2 * S <= waits.worker[0]["failed_ns"] < 3 * S
    assert worker_waiting(waits, int(sim.scalars["now_ns"][0])).silent == (0b100, 1)
