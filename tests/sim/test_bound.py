"""The lower bound of a JCT: what a job takes that has the network to itself, to the nanosecond where nothing waits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from esa.cluster.policies import shortest_remaining
from esa.fabric import shapes
from esa.policy import POLICIES
from esa.sim import Fabric, Link, Outcome, Plan, simulate
from tests.sim.plans import DELAY_NS, LINK, PACKET_NS, bucket, job, leaf_spine, ns, only_job, plan, rack

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

PARTS = [bucket(300, 20_000, 30_000), bucket(0, 5_000, 5_000), bucket(200, 10_000, 10_000)]
ROOMY = {"window": 1024, "rows": 2048}


def run(asked: Plan) -> Outcome:
    outcome = simulate(asked)
    assert outcome.incomplete is None
    return outcome


def test_one_sum_is_reckoned_by_hand() -> None:
    result = only_job(run(plan(job(buckets=[bucket(40)], **ROOMY))))
    assert ns(result.bound_s) == ns(result.jct_s) == 40 * PACKET_NS + 2 * DELAY_NS + PACKET_NS


@pytest.mark.parametrize("order", ["ddp", "front-first"])
@pytest.mark.parametrize(
    "fabric", [rack(8, switch_ns=300), leaf_spine((3, 3, 2), switch_ns=300)], ids=["rack", "racks"]
)
def test_a_training_alone_takes_no_longer(order: str, fabric: Fabric) -> None:
    given = {"workers": 5, "iterations": 4, "buckets": PARTS, "jitter": 0.3, "order": order, **ROOMY}
    result = only_job(run(plan(job(**given), fabric=fabric)))
    assert result.bound_s <= result.jct_s <= 1.001 * result.bound_s


@pytest.mark.parametrize("name", POLICIES)
def test_no_policy_is_faster_where_rows_are_scarce(name: str) -> None:
    jobs = [
        job(f"job-{k}", name, workers=3, iterations=3, buckets=PARTS, jitter=0.1, rows=16, first_row=64 * k)
        for k in range(2)
    ]
    for result in run(plan(*jobs)).jobs:
        assert result.bound_s <= result.jct_s


def test_the_slowest_link_decides() -> None:
    slow = LINK._replace(rate_bps=LINK.rate_bps / 10)
    fabric = Fabric(shapes.rack([slow, *[LINK] * 4]))
    result = only_job(run(plan(job(buckets=[bucket(400)], hosts=(0, 1, 4), **ROOMY), fabric=fabric)))
    assert ns(result.bound_s) == 400 * 10 * PACKET_NS + 2 * DELAY_NS + 10 * PACKET_NS
    assert result.bound_s <= result.jct_s <= 1.01 * result.bound_s


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4, 5])
@pytest.mark.parametrize("transport", ["ring", "halving-doubling"])
def test_sums_by_messages_are_bound_by_their_bytes_and_their_steps(transport: str, workers: int) -> None:
    fast = Fabric(shapes.rack([Link(100e9, 1000, 4096)] * 8))
    given = {"workers": workers, "iterations": 2, "buckets": PARTS, "jitter": 0.2, "transport": transport}
    # Five ranks are more than a power of two: the last step of the one that sums for two is no part of the bound.
    alike = 1 if transport == "ring" or workers < 5 else 2
    for scale, factor in ((1, 1.5 * alike), (2000, 1.05 * alike)):
        parts = [replace(part, bytes=scale * part.bytes) for part in PARTS]
        result = only_job(run(plan(job(**given | {"buckets": parts}), fabric=fast, sample_ns=10**9)))
        assert result.bound_s <= result.jct_s <= factor * result.bound_s


def test_waiting_is_told_from_running() -> None:
    first = job("first", hosts=(0, 1, 2), buckets=[bucket(100)])
    second = job("second", hosts=(0, 1, 2), buckets=[bucket(10)], submit_ns=1000)
    one, other = run(plan(first, second)).jobs
    assert (one.wait_s, ns(other.wait_s)) == (0.0, ns(one.jct_s) - 1000)
    assert other.hosts == (0, 1, 2)
    assert ns(other.jct_s) == ns(other.wait_s) + ns(other.bound_s)  # ten fragments never wait for a window


def test_a_job_that_is_stopped_waits_again() -> None:
    long = job("long", iterations=10, buckets=[bucket(20, 1000, 1000)], hosts=(0, 1, 2))
    short = job("short", buckets=[bucket(10)], hosts=(0, 1, 2), submit_ns=20_000)
    asked = plan(long, short, decide=shortest_remaining.decide)
    stopped, between = run(asked).jobs
    assert between.wait_s == 0.0
    assert ns(stopped.wait_s) == ns(between.jct_s)


def test_a_job_that_never_ran_has_waited_and_has_no_bound() -> None:
    never = job("never", hosts=(0, 1, 2), submit_ns=1000)
    outcome = simulate(plan(job("long", hosts=(0, 1, 2), buckets=[bucket(4000)]), never, limit_ns=5000))
    assert outcome.incomplete is not None
    assert (outcome.jobs[1].hosts, outcome.jobs[1].bound_s, ns(outcome.jobs[1].wait_s)) == (None, None, 4000)
    assert outcome.jobs[0].jct_s is None
    assert outcome.jobs[0].bound_s is not None


def test_a_program_that_is_no_training_has_no_bound() -> None:
    from esa.workloads.program import compute, program

    result = only_job(run(plan(job(programs=(program(compute(10)),) * 2))))
    assert result.bound_s is None
    assert np.isfinite(result.jct_s)
