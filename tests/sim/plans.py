"""Small simulations: on this network a packet takes 100 ns of a cable, so times can be reckoned by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from esa.fabric import shapes
from esa.job import Pool
from esa.net.impairment import Impairment, LinkFaults
from esa.policy import policy
from esa.sim import Bucket, Fabric, JobOutcome, Link, Outcome, Plan, SimulatedJob, Timers

PACKET_NS = 100
WIRE_BYTES = 346  # of a packet with 64 lanes: preamble, Ethernet, IPv4, UDP, ESA, FCS, gap
FRAGMENT_BYTES = 256
DELAY_NS = 1000
LINK = Link(WIRE_BYTES * 8e9 / PACKET_NS, DELAY_NS, queue_packets=1024)
TIMERS = Timers(
    rto_initial_ns=1_000_000,
    rto_floor_ns=200_000,
    rto_ceiling_ns=20_000_000,
    overtaken_floor_ns=10_000,
    patience_initial_ns=500_000,
    patience_floor_ns=50_000,
    patience_ceiling_ns=5_000_000,
    unhurried_initial_ns=200_000,
    unhurried_floor_ns=200_000,
)


def rack(hosts: int, link: Link = LINK, **settings: Any) -> Fabric:
    return Fabric(shapes.rack([link] * hosts), **settings)


RACK = rack(8)


def bucket(fragments: int, forward_ns: int = 0, backward_ns: int = 0) -> Bucket:
    return Bucket(FRAGMENT_BYTES * fragments, forward_ns, backward_ns)


def job(
    name: str = "job",
    policy_name: str = "esa",
    *,
    buckets: Sequence[Bucket] = (bucket(40),),
    rows: int = 64,
    first_row: int = 0,
    priority: int = 100,
    **settings: Any,
) -> SimulatedJob:
    """A job of two workers and one iteration; a policy with slices of its own gets one from `first_row`."""
    given = {"workers": 2, "iterations": 1, "window": 16, **settings}
    sliced = policy(policy_name).pool == "slice"
    pool = Pool(base=first_row, size=2 * given["window"]) if sliced else Pool(base=0, size=rows)
    priorities = np.full((given["iterations"], len(buckets)), priority, np.uint8)
    return SimulatedJob(name, policy_name, buckets=tuple(buckets), priority=priorities, pool=pool, **given)


def plan(*jobs: SimulatedJob, fabric: Fabric = RACK, timers: Timers = TIMERS, **settings: Any) -> Plan:
    return Plan(fabric, jobs, timers, **settings)


def leaf_spine(racks: Sequence[int], spines: int = 1, link: Link = LINK, **settings: Any) -> Fabric:
    return Fabric(shapes.leaf_spine(racks, link, spines=spines), **settings)


def fragments(job: SimulatedJob) -> int:
    """That all workers together are to get sums of."""
    return job.workers * job.iterations * sum(part.bytes // FRAGMENT_BYTES for part in job.buckets)


def bad_links(hosts: int, seed: int, **rates: float) -> dict[int, LinkFaults]:
    """The same impairment on every host's link, both ways, with other dice on each."""
    bad = Impairment(**rates)
    return {host: LinkFaults(seed=1000 * seed + host, to_switch=bad, from_switch=bad) for host in range(hosts)}


def ns(seconds: float | None) -> int:
    """A figure of an outcome as the integer that it was."""
    assert seconds is not None
    return round(seconds * 1e9)


def only_job(outcome: Outcome) -> JobOutcome:
    (result,) = outcome.jobs
    return result
