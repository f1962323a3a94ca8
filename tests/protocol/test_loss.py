"""How long sums take over links that lose packets, in virtual time: links of 25 Mb/s, and the timers of real runs.

A loss must cost a few round trips, not time-outs that are made for slow peers; and a slow peer, or a switch that is too
small, must not cost a storm of packets. Virtual time repeats, so the bounds are no timing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest

from esa.job import Job, Pool
from esa.policy import POLICIES
from esa.protocol import Timers, words
from esa.protocol.of_job import server_of_job, worker_of_job
from tests.p4 import traffic
from tests.protocol.network import MS, US, Faults, Network, Server, Worker

pytestmark = pytest.mark.timeout(300)  # the first run compiles the switch and the protocol

LIMIT_NS = 100_000 * MS
MBPS, HOP_NS, LATE_NS = 25, 150 * US, 2 * MS
ETHERNET_BYTES = 24  # preamble, checksum, gap
BATCH = 64
FRAGMENTS, WINDOW = 400, 128
NO_EXPONENTS = np.zeros(0, np.int8)


class ShapedNetwork(Network):
    """Links that take time for every byte; faults happen at the hosts' ends."""

    def __init__(self, jobs: list[Job], faults: Faults, rng: np.random.Generator):
        super().__init__(jobs, faults, rng)
        self.free_ns: defaultdict[tuple[str, bytes], int] = defaultdict(int)

    def send(self, port: int, frame: bytes) -> None:
        self._impair(lambda f: self._carry(("up", f[26:30]), lambda g: self._switch(port, g), f), frame)

    def _link(self, deliver: Callable[[bytes], None], frame: bytes) -> None:
        self._carry(("down", frame[30:34]), lambda f: self._impair(deliver, f), frame)

    def _carry(self, link: tuple[str, bytes], then: Callable[[bytes], None], frame: bytes) -> None:
        start_ns = max(self.now_ns, self.free_ns[link])
        self.free_ns[link] = start_ns + 8000 * (len(frame) + ETHERNET_BYTES) // MBPS
        self.at(self.free_ns[link] + HOP_NS, lambda: then(frame))

    def _impair(self, then: Callable[[bytes], None], frame: bytes) -> None:
        if self.rng.random() < self.faults.loss:
            return
        for _ in range(2 if self.rng.random() < self.faults.duplication else 1):
            late_ns = int(self.rng.integers(LATE_NS)) if self.rng.random() < self.faults.late else 0
            self.at(self.now_ns + late_ns, lambda: then(frame))


class TrainingWorker(Worker):
    """With the timers of a training run; it computes for `pause_ns` before fragment `pause_at`."""

    pause_at, pause_ns, resume_ns = 0, 0, 0
    end_ns = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        timers = Timers(rto_initial_ns=100 * MS, rto_floor_ns=100 * MS)
        self.state = worker_of_job(self.job, self.rank, timers, first_seq=self.first_seq)
        self.out = words(BATCH, self.job.lanes)
        self.all_fragments = self.fragments

    def pump(self) -> None:
        if self.pause_ns and self.fed >= self.pause_at and not self.resume_ns:
            self.resume_ns = self.network.now_ns + self.pause_ns
            self.network.at(self.resume_ns, self.pump)
        computing = self.pause_ns and self.network.now_ns < (self.resume_ns or LIMIT_NS)
        self.fragments = self.pause_at if computing else self.all_fragments
        super().pump()
        self.fragments = self.all_fragments
        if self.finished and not self.end_ns:
            self.end_ns = self.network.now_ns


class TrainingServer(Server):
    """As `esa.hosts` makes one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.state = server_of_job(self.job)
        self.out, self.destination = words(BATCH, self.job.lanes), np.zeros(BATCH, np.int32)


class Run:
    """Jobs of two workers each."""

    def __init__(
        self, policy: str, faults: Faults, seed: int, *, jobs: int = 1, window: int = WINDOW, rows: int = 1024
    ):
        rng = np.random.default_rng(seed)
        made = []
        for number in range(1, jobs + 1):
            pool = Pool(base=0, size=rows)
            if POLICIES[policy].pool == "slice":
                pool = Pool(base=1024 * number, size=2 * window)
            job = traffic.job(number, policy, workers=2, pool=pool, ports=32, ttl_us=2_000_000)
            made.append(job.model_copy(update={"window": window}))
        self.network = ShapedNetwork(made, faults, rng)
        self.servers = [TrainingServer(self.network, job) for job in made]
        self.workers = []
        for job in made:
            for rank in range(2):
                lanes = rng.integers(-(2**26), 2**26, FRAGMENTS * job.lanes, dtype=np.int32)
                start_ns = int(rng.integers(5 * MS)) if jobs > 1 else 0
                priority = int(rng.integers(1, 256))
                self.workers.append(
                    TrainingWorker(self.network, job, rank, lanes, NO_EXPONENTS, start_ns, 0, priority=priority)
                )

    def finish(self) -> int:
        """When the last worker has all sums, which are exact."""
        self.network.run(LIMIT_NS)
        for server in self.servers:
            peers = [w for w in self.workers if w.job is server.job]
            expected = np.sum([w.lanes for w in peers], axis=0, dtype=np.int32)
            assert all(w.finished and np.array_equal(w.sums, expected) for w in peers)
        return max(w.end_ns for w in self.workers)

    def resends(self) -> int:
        return sum(w.counted("resends") for w in self.workers)

    def questions(self) -> int:
        return sum(s.counted("reminders") + s.counted("queries") for s in self.servers)


# Half as much again as it is. With time-outs made for slow peers alone, 20 % took 30 to 160 times as long.
@pytest.mark.parametrize(
    ("policy", "bounds"),
    [
        ("esa", {0.01: 2.4, 0.05: 3.4, 0.2: 11.5}),
        ("atp", {0.01: 1.8, 0.05: 3.3, 0.2: 8.8}),
        ("switchml", {0.01: 1.8, 0.05: 2.3, 0.2: 4.6}),
        ("ps", {0.01: 1.8, 0.05: 2.7, 0.2: 6.6}),
    ],
)
def test_a_loss_costs_a_few_round_trips(policy: str, bounds: dict[float, float]) -> None:
    without_ns = Run(policy, Faults(), 1).finish()
    for loss, bound in bounds.items():
        times = [Run(policy, Faults(loss, 0.01, 0.01), seed).finish() for seed in (1, 2)]
        assert np.mean(times) / without_ns < bound, f"{loss:.0%}: {[t // MS for t in times]} ms, {without_ns // MS} ms"


@pytest.mark.parametrize("pause_ms", [20, 200, 3000])
@pytest.mark.parametrize("policy", ["esa", "atp", "switchml", "ps"])
def test_a_peer_that_computes_costs_a_handful_of_packets(policy: str, pause_ms: int) -> None:
    run = Run(policy, Faults(), 1)
    run.workers[1].pause_at, run.workers[1].pause_ns = 150, pause_ms * MS
    run.finish()
    assert run.resends() <= 12
    assert run.questions() <= 80


@pytest.mark.parametrize("policy", ["esa", "atp", "esa-coin", "ps"])
def test_a_switch_that_is_too_small_causes_no_storm(policy: str) -> None:
    run = Run(policy, Faults(), 1, jobs=2, window=32, rows=32)
    run.finish()
    assert run.resends() < 0.06 * 4 * FRAGMENTS
