"""Invariants 1 to 3 over two tiers: rack switches, roots, real workers and PSs, every link between them faulty."""

from __future__ import annotations

import numpy as np
import pytest

from esa.job import Job
from esa.policy import POLICIES
from tests.p4.tree import leaf_spine, spread
from tests.protocol.network import MS, Faults, Worker
from tests.protocol.tree_network import TreeNetwork, TreeServer

pytestmark = pytest.mark.timeout(300)  # the first run compiles the switch and the protocol

LIMIT_NS = 60_000 * MS
NETWORK = leaf_spine(racks=3, spines=2)
PLACES = {0: (0, 1, 2), 1: (0, 1)}
FIRST_SEQ = 0xFFFFFFF8  # every run wraps
LOSSY = Faults(loss=0.1)


def job(number: int, name: str, places: dict = PLACES, window: int = 4) -> Job:
    return spread(NETWORK, number, name, places, (2, number), window=window, ttl_us=20_000)


class Run:
    """Jobs that sum random arrays over one faulty tree."""

    def __init__(self, jobs: list[Job], faults: Faults, seed: int, fragments: int = 12, start_ns: int = 3 * MS):
        rng = np.random.default_rng(seed)
        self.fragments = fragments
        self.network = TreeNetwork(NETWORK, jobs, faults, rng)
        self.servers = [TreeServer(self.network, job) for job in jobs]
        self.workers = []
        for made in jobs:
            priority = int(rng.integers(1, 256))
            for rank in range(made.fan_in):
                lanes = rng.integers(-(2**26), 2**26, fragments * made.lanes - 5, dtype=np.int32)
                exponents, start = rng.integers(-128, 128, fragments, np.int8), int(rng.integers(start_ns + 1))
                self.workers.append(
                    Worker(self.network, made, rank, lanes, exponents, start, FIRST_SEQ, priority=priority)
                )

    def check(self) -> Run:
        self.network.run(LIMIT_NS)
        for server in self.servers:
            peers = [w for w in self.workers if w.job is server.job]
            expected = np.sum([w.lanes for w in peers], axis=0, dtype=np.int32)
            for worker in peers:
                assert worker.finished
                assert not worker.failed
                assert np.array_equal(worker.sums, expected)
                assert np.array_equal(worker.merged, np.max([w.exponents for w in peers], axis=0))
                assert worker.counted("malformed") == 0
            assert server.counted("failed") == server.counted("malformed") == 0
            assert server.state.server[0]["open_count"] == 0
        assert list(self.network.tree.denied()) == []
        return self


@pytest.mark.parametrize("name", POLICIES)
def test_every_sum_is_exact_over_lossy_links(name):
    Run([job(1, name)], LOSSY, seed=3).check()


@pytest.mark.parametrize("names", [("esa", "esa", "atp"), ("esa-ack", "switchml", "ps")], ids=" ".join)
def test_jobs_on_shared_rows_are_exact_whatever_the_links_do(names):
    faults = Faults(loss=0.05, duplication=0.1, late=0.1)
    run = Run([job(n + 1, name, window=8) for n, name in enumerate(names)], faults, seed=8).check()
    tree = run.network.tree
    taken = sum(tree.counted("preemptions", j, ip) for j in tree.jobs for ip in tree.pipelines)
    assert names[0] != "esa" or taken > 0


@pytest.mark.parametrize("places", [PLACES, {0: (0,), 1: (1,)}, {1: (0, 1, 2), 0: (3,)}], ids=str)
def test_release_on_reuse_never_stalls(places):
    for seed in range(5):
        Run([job(1, "switchml", places, window=2)], Faults(0.15, 0.1, 0.1), seed, fragments=16).check()


@pytest.mark.parametrize("name", ["esa", "atp", "switchml"])
@pytest.mark.parametrize("places", [PLACES, {1: (0, 1, 2)}], ids=str)
def test_without_faults_the_switches_do_the_work_and_nothing_is_sent_twice(name, places):
    run = Run([job(1, name, places)], Faults(), seed=1, start_ns=0).check()
    assert all(worker.counted("resends") == 0 for worker in run.workers)
    (server,) = run.servers
    assert server.counted("fragments") == 0
    assert server.counted("partials") == (run.fragments if name == "atp" else 0)
    if len(places) > 1:
        assert run.network.tree.counted("completed", server.job, server.job.switch_ip) == run.fragments


def test_a_job_of_one_rack_with_its_server_elsewhere_is_exact():
    Run([job(1, "esa", {1: (0, 1, 2)}), job(2, "atp", {1: (0, 1)})], LOSSY, seed=4).check()
