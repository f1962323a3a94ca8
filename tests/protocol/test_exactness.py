"""Invariants 1 to 3 of the protocol, on the compiled P4 program: every sum exact, everything ends, whatever is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from esa.job import Job, Pool
from esa.policy import POLICIES
from tests.p4 import traffic
from tests.protocol.network import MS, Faults, Network, Server, Worker

pytestmark = pytest.mark.timeout(300)  # the first run compiles the switch and the protocol

LIMIT_NS = 60_000 * MS
SHARED = Pool(base=0, size=8)
FIRST_SEQ = 0xFFFFFFF0  # every run wraps


def make_job(number: int, name: str, workers: int, window: int) -> Job:
    pool = SHARED
    if POLICIES[name].pool == "slice":
        pool = Pool(base=64 * number, size=2 * window)
    made = traffic.job(number, name, workers=workers, pool=pool, ports=32, ttl_us=20_000)
    return made.model_copy(update={"window": window})


class Run:
    """Jobs that sum random arrays over one faulty network."""

    def __init__(
        self, jobs: list[Job], faults: Faults, seed: int, fragments: int = 24, held_resends: int | None = None
    ):
        rng = np.random.default_rng(seed)
        self.network = Network(jobs, faults, rng)
        self.servers = [Server(self.network, job, held_resends=held_resends) for job in jobs]
        self.workers = []
        for job in jobs:
            count = (fragments - 1) * job.lanes + int(rng.integers(1, job.lanes + 1))
            priority = int(rng.integers(1, 256))
            for rank in range(job.fan_in):
                lanes = rng.integers(-(2**26), 2**26, count, dtype=np.int32)
                exponents, start_ns = rng.integers(-128, 128, fragments, np.int8), int(rng.integers(3 * MS))
                self.workers.append(
                    Worker(self.network, job, rank, lanes, exponents, start_ns, FIRST_SEQ, priority=priority)
                )

    def check(self) -> None:
        self.network.run(LIMIT_NS)
        for server in self.servers:
            peers = [w for w in self.workers if w.job is server.job]
            expected = np.sum([w.lanes for w in peers], axis=0, dtype=np.int32)
            for worker in peers:
                assert worker.finished
                assert not worker.failed
                assert np.array_equal(worker.sums, expected)
                assert np.array_equal(worker.merged, np.max([w.exponents for w in peers], axis=0))
            assert server.counted("failed") == 0
            assert server.state.server[0]["open_count"] == 0
            assert server.counted("malformed") == 0
        assert all(w.counted("malformed") == 0 for w in self.workers)


probability = st.sampled_from([0.0, 0.0, 0.02, 0.1, 0.2])


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    policies=st.lists(st.sampled_from(sorted(POLICIES)), min_size=1, max_size=3),
    workers=st.integers(1, 4),
    window=st.sampled_from([1, 2, 4, 8]),
    loss=probability,
    duplication=probability,
    late=probability,
    marks=probability,
    held_resends=st.sampled_from([None, 1]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_sum_is_exact_and_everything_ends(
    policies, workers, window, loss, duplication, late, marks, held_resends, seed
):
    jobs = [make_job(n + 1, name, workers, window) for n, name in enumerate(policies)]
    run = Run(jobs, Faults(loss, duplication, late, marks), seed, held_resends=held_resends)
    run.check()
    note(f"{run.network.delivered} packets delivered, {run.network.now_ns / MS:.1f} ms")


@pytest.mark.parametrize("name", ["esa", "atp", "switchml"])
def test_without_faults_the_switch_does_the_work_and_nothing_is_sent_twice(name):
    run = Run([make_job(1, name, 3, 4)], Faults(), seed=1)
    for worker in run.workers:
        worker.start_ns = 0  # nobody waits for anybody
    run.check()
    assert all(w.counted("resends") == 0 for w in run.workers)
    assert run.servers[0].counted("fragments") == 0
    assert run.servers[0].counted("partials") == (24 if name == "atp" else 0)


def test_under_ps_the_switch_aggregates_nothing():
    run = Run([make_job(1, "ps", 3, 4)], Faults(), seed=1)
    run.check()
    assert run.servers[0].counted("via_ps") == 24
    assert run.network.rack.counted("aggregated", run.servers[0].job) == 0


def test_preemption_and_loss_leave_no_row_taken_for_ever():
    jobs = [make_job(1, "esa", 3, 8), make_job(2, "esa", 3, 8), make_job(3, "atp", 2, 8)]
    run = Run(jobs, Faults(loss=0.1, duplication=0.1, late=0.1), seed=5, fragments=60)
    run.check()
    assert run.network.rack.counted("preemptions", jobs[0]) + run.network.rack.counted("preemptions", jobs[1]) > 0
