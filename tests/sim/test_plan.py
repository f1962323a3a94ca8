"""Plans check themselves, whoever makes them: one line, with what is allowed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from esa.fabric import Link
from esa.net.impairment import LinkFaults
from esa.sim import Bucket, HostCosts
from tests.sim.plans import LINK, RACK, bucket, job, plan, rack

GOOD = plan(job(buckets=[bucket(3), bucket(2)], iterations=2), lanes=64)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"policy": "est"}, "job job: policy: est; allowed: .*atp"),
        ({"workers": 0}, "job job: workers: 0; allowed: 1 or more"),
        ({"window": 0}, "job job: window: 0"),
        ({"submit_ns": -1}, "job job: submit_ns: -1; allowed: 0 or more"),
        ({"ttl_us": -1}, "job job: ttl_us"),
        ({"order": "back-first"}, "job job: order: back-first; allowed: ddp, front-first"),
        ({"iterations": 0}, "job job: iterations: 0"),
        ({"iterations": 3}, r"job job: priority: uint8 \(2, 2\), from 100; allowed: uint8 \(3, 2\), from 1"),
        ({"priority": np.zeros((2, 2), np.uint8)}, "job job: priority: .*, from 0; allowed"),
        ({"priority": np.ones((2, 2), int)}, "job job: priority: int64"),
        ({"buckets": (), "priority": np.zeros((2, 0), np.uint8)}, "job job: buckets: none with bytes"),
        ({"buckets": (bucket(1), Bucket(0, -5, 0))}, "job job: buckets: forward_ns: -5; allowed: 0 or more"),
        ({"jitter": 1.0}, "job job: jitter: 1.0; allowed: 0 or more, less than 1"),
        ({"jitter": math.nan}, "job job: jitter: nan"),
        ({"straggle": 1.1}, "job job: straggle: 1.1; allowed: 0 to 1"),
        ({"slowdown": 0.5}, "job job: slowdown: 0.5; allowed: 1 or more"),
        ({"hosts": (0, 1)}, r"job job: hosts: \[0, 1\]; allowed: 3, each once, the last for the PS"),
        ({"hosts": (0, 1, 0)}, "job job: hosts"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(changes: dict, said: str) -> None:
    refused(lambda: replace(GOOD, jobs=(replace(GOOD.jobs[0], **changes),)), said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"jobs": ()}, "jobs: none; allowed: 1 or more"),
        ({"jobs": (job("a"), job("a"))}, "jobs: a is given twice"),
        ({"lanes": 32}, "lanes: 32; allowed: 0, 64"),
        ({"wire_lanes": 0}, "wire_lanes: 0"),
        ({"seed": -1}, "seed: -1"),
        ({"sample_ns": 0}, "sample_ns: 0; allowed: 1 or more"),
        ({"limit_ns": -1}, "limit_ns: -1"),
        ({"give_up_s": 0.0}, "give_up_s: 0.0; allowed: more than 0"),
        ({"wait_limit_s": math.nan}, "wait_limit_s: nan"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes: dict, said: str) -> None:
    refused(lambda: replace(GOOD, **changes), said)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: rack(2, Link(math.inf)), "cables: host-0 to switch-0: inf b/s; allowed: 1000 or more, finite"),
        (lambda: rack(2, LINK._replace(rate_bps=999.0)), "cables: .* 999.0 b/s"),
        (lambda: replace(RACK, switch_ns=-1), "switch_ns: -1"),
        (lambda: replace(RACK, ecn_packets=-1), "ecn_packets: -1"),
        (lambda: replace(RACK, faults={8: LinkFaults()}), "faults: host 8; allowed: 0 to 7"),
        (lambda: HostCosts(receive_ns=-1), "costs.receive_ns: -1"),
        (lambda: HostCosts(cores=3), "costs.cores: 3; allowed: 1, 2"),
    ],
)
def test_a_network_that_makes_no_sense_is_refused(make, said: str) -> None:
    refused(make, said)


def refused(make, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}") as error:
        make()
    assert "\n" not in str(error.value)
