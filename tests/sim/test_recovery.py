"""A switch, a PS, or both lose everything in the middle of the sums, over bad links: the sums are exact and end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from esa.policy import POLICIES
from esa.sim import Fabric, Failure, Plan, simulate
from tests.sim.plans import bad_links, bucket, fragments, job, leaf_spine, ns, plan, rack

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

SEEDS = [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 5))]
MS = 1_000_000
ROUGH = {"loss": 0.05, "duplicate": 0.05, "reorder": 0.1, "reorder_ms": 0.1}
SMALL = {"rows": 8, "buckets": (bucket(40),)}
SPREAD = leaf_spine((3, 3, 2), spines=2)


def jobs_on(
    fabric: Fabric, *policies: str, seed: int, rough: bool = True, hosts: tuple[int, ...] | None = None
) -> Plan:
    """One of three workers, and perhaps one of two; no more rows than a window."""
    sizes = [{"workers": 3, "window": 4, "hosts": hosts}, {"workers": 2, "window": 8}]
    jobs = [
        job(f"job-{k}", name, first_row=64 * (k + 1), **SMALL, **size)
        for k, (name, size) in enumerate(zip(policies, sizes, strict=False))
    ]
    faults = bad_links(fabric.hosts, seed, **ROUGH) if rough else {}
    return plan(*jobs, fabric=replace(fabric, faults=faults), lanes=64, seed=seed + 1, sample_ns=10**9)


def check(asked: Plan, *failures: Failure) -> None:
    outcome = simulate(replace(asked, failures=failures))
    assert outcome.incomplete is None
    assert outcome.checked == sum(map(fragments, asked.jobs))
    assert all(result.jct_s is not None for result in outcome.jobs)


def moments(asked: Plan, seed: int, most: int = 3) -> list[tuple[int, int]]:
    """(when, for how long, ns) something of the first job fails: from 10 us to 30 ms, and perhaps while it is down."""
    rng = np.random.default_rng(seed)
    end_ns = ns(simulate(asked).jobs[0].jct_s)
    return [(int(rng.integers(end_ns)), int(10 ** rng.uniform(4, 7.5))) for _ in range(1 + seed % most)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["esa", "atp", "switchml", "ps", "esa-ack"])
def test_a_restarted_switch_costs_no_sum(name: str, seed: int) -> None:
    asked = jobs_on(rack(7), name, name, seed=seed, rough=bool(seed % 2))
    check(asked, *(Failure("switch", 0, *moment) for moment in moments(asked, seed)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", POLICIES)
def test_a_restarted_ps_costs_no_sum(name: str, seed: int) -> None:
    asked = jobs_on(rack(7), name, "esa", seed=seed)
    check(asked, *(Failure("ps", 0, *moment) for moment in moments(asked, seed)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["esa", "atp", "switchml", "ps"])
def test_both_at_once(name: str, seed: int) -> None:
    asked = jobs_on(rack(4), name, seed=seed)
    ((at_ns, _),) = moments(asked, seed, most=1)
    check(asked, Failure("switch", 0, at_ns, 5 * MS), Failure("ps", 0, at_ns, 8 * MS))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [SEEDS[0], *SEEDS[2:4]])
@pytest.mark.parametrize("which", range(5), ids=["rack", "rack", "rack of the PS", "spine", "spine"])
@pytest.mark.parametrize("name", ["esa", "atp", "ps", "esa-ack"])  # `switchml` does not outlive its root's memory
def test_a_restarted_switch_of_two_tiers_costs_no_sum(name: str, which: int, seed: int) -> None:
    asked = jobs_on(SPREAD, name, seed=seed, hosts=(0, 1, 3, 6))
    check(asked, *(Failure("switch", which, *moment) for moment in moments(asked, seed)))
