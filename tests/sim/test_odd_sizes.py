"""Sums of few bytes, and of more than 32 bits can say; any number of workers: exact, and as long as reckoned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from esa.fabric import shapes
from esa.policy import POLICIES
from esa.sim import Bucket, Fabric, Link, Outcome, Plan, simulate
from esa.sim.plan import TRANSPORTS
from esa.sim.transport.flow import FlowOptions
from tests.sim.plans import DELAY_NS, PACKET_NS, bad_links, bucket, fragments, job, ns, only_job, plan, rack

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

MANY = 2**31 + 4  # bytes
LANES = 2**18  # of a fragment, where only its length counts: 1 MiB
FAST = Link(1e12, 1000, 4096)


def run(asked: Plan) -> Outcome:
    outcome = simulate(asked)
    assert outcome.incomplete is None
    return outcome


@pytest.mark.parametrize("name", POLICIES)
def test_four_bytes_are_one_fragment(name: str) -> None:
    outcome = run(plan(job(policy_name=name, buckets=[Bucket(4, 0, 0)], workers=3), lanes=64))
    assert (outcome.checked, only_job(outcome).fragments) == (3, 3)
    assert ns(only_job(outcome).jct_s) >= ns(only_job(outcome).bound_s) == 2 * (PACKET_NS + DELAY_NS)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("workers", [2, 5])
def test_four_bytes_and_layers_of_none_by_every_transport(transport: str, workers: int) -> None:
    parts = [Bucket(0, 100, 100), Bucket(4, 100, 100), Bucket(0, 100, 100), Bucket(4, 0, 0)]
    outcome = run(plan(job(buckets=parts, iterations=3, workers=workers, transport=transport)))
    assert only_job(outcome).iterations == 3
    assert ns(only_job(outcome).compute_s) == 3 * 600
    assert only_job(outcome).jct_s >= only_job(outcome).bound_s


def test_more_bytes_than_32_bits_say_are_summed_in_the_network() -> None:
    asked = job(buckets=[Bucket(MANY, 0, 0)], window=64, rows=256, workers=2)
    outcome = run(plan(asked, fabric=Fabric(shapes.rack([FAST] * 4)), wire_lanes=LANES, sample_ns=10**9))
    assert only_job(outcome).fragments == 2 * 2049
    assert 8 * MANY / 1e12 < only_job(outcome).bound_s <= only_job(outcome).jct_s < 1.05 * 8 * MANY / 1e12


@pytest.mark.parametrize("transport", TRANSPORTS[1:])
def test_more_bytes_than_32_bits_say_are_summed_by_messages(transport: str) -> None:
    asked = job(buckets=[Bucket(MANY, 0, 0)], workers=2, transport=transport)
    fabric = Fabric(shapes.rack([FAST] * 2))
    outcome = run(plan(asked, fabric=fabric, flow=FlowOptions(mtu_bytes=65_535), sample_ns=10**9))
    assert 8 * MANY / 1e12 < only_job(outcome).bound_s <= only_job(outcome).jct_s < 1.05 * 8 * MANY / 1e12


@pytest.mark.parametrize("workers", [3, 5, 7, 31])
@pytest.mark.parametrize("name", ["esa", "atp", "switchml", "ps"])
def test_any_number_of_workers_sums_exactly(name: str, workers: int) -> None:
    """Two such jobs with few rows, over bad links."""
    hosts = 2 * (workers + 1)
    fabric = rack(hosts, faults=bad_links(hosts, workers, loss=0.01, duplicate=0.01))
    jobs = [job(f"job-{k}", name, workers=workers, rows=16, window=8, first_row=64 * (k + 1)) for k in range(2)]
    outcome = run(plan(*jobs, fabric=fabric, lanes=64, sample_ns=10**9))
    assert outcome.checked == sum(map(fragments, jobs))


@pytest.mark.parametrize("workers", [3, 5, 7, 31])
@pytest.mark.parametrize("transport", TRANSPORTS[1:])
def test_any_number_of_workers_sums_by_messages(transport: str, workers: int) -> None:
    asked = job(buckets=[bucket(400)], iterations=2, workers=workers, transport=transport)
    outcome = run(plan(asked, fabric=Fabric(shapes.rack([FAST] * workers)), sample_ns=10**9))
    assert only_job(outcome).iterations == 2
    assert only_job(outcome).bound_s <= only_job(outcome).jct_s


def test_a_length_is_never_cut_to_32_bits() -> None:
    """The same bytes in one sum, and in two of half of them, take the same time to a millionth."""
    fabric = Fabric(shapes.rack([FAST] * 4))
    given = {"window": 64, "rows": 256}
    one = job(buckets=[Bucket(2 * 2**31, 0, 0)], **given)
    two = replace(one, buckets=(Bucket(2**31, 0, 0),) * 2, priority=one.priority.repeat(2, axis=1))
    asked = (plan(each, fabric=fabric, wire_lanes=LANES, sample_ns=10**9) for each in (one, two))
    at_once, halves = (ns(only_job(run(each)).jct_s) for each in asked)
    assert at_once == pytest.approx(halves, rel=1e-6)
