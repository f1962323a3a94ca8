"""Workers and PS on loopback sockets and the real clock, under policy `ps`: no switch, the PS does all the work."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import numpy as np
import pytest

from esa.float_sum import all_reduce_float
from esa.hosts import AllReduceError, ServerEndpoint, WorkerEndpoint
from esa.hosts.channel import Waker, open_channel
from esa.hosts.operations import operations
from esa.hosts.worker import _run as worker_engine
from esa.job import Run
from esa.net import message_batch, open_udp_socket
from esa.net.impairment import Impairment, LinkFaults
from esa.protocol import worker_state
from esa.transport import Transport
from esa.wire import ESA_PORT, Kind, packet_dtype, version_kind
from tests.hosts.rig import WAIT_S, make_loopback_job

pytestmark = pytest.mark.timeout(120)


def make_job(workers: int = 2, lanes: int = 64, window: int = 32, **settings) -> Run:
    """A run of a job on loopback addresses that no other test of this process uses."""
    return make_loopback_job(workers, lanes, window, **{"name": "j", "job": 5, **settings}).run(epoch=1)


class Hosts(ExitStack):
    """A PS and all workers of a job."""

    def __init__(self, job: Run):
        super().__init__()
        self.job = job
        self.servers = [self.enter_context(ServerEndpoint(job, number=n)) for n in range(len(job.servers))]
        self.server = self.servers[0]
        self.workers = [self.enter_context(WorkerEndpoint(job, rank)) for rank in range(job.fan_in)]

    def all_reduce(self, arrays: np.ndarray, **settings) -> list:
        futures = [w.all_reduce(a, **settings) for w, a in zip(self.workers, arrays, strict=True)]
        return [future.result(WAIT_S) for future in futures]


def counted(worker: WorkerEndpoint) -> tuple[float, float]:
    stats = worker.stats()
    return stats["malformed"], stats["queries"]


def random_lanes(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(2**28), 2**28, shape, dtype=np.int32)


@pytest.mark.parametrize("lanes", [64, 256])
@pytest.mark.parametrize("n", [0, 1, 64, 65, 100_000])
def test_every_worker_gets_the_sum(lanes, n):
    with Hosts(make_job(3, lanes)) as hosts:
        arrays = random_lanes(n, 3, n)
        for reduced in hosts.all_reduce(arrays):
            assert reduced.lanes.dtype == np.int32
            assert np.array_equal(reduced.lanes, arrays.sum(0, dtype=np.int32))


@pytest.mark.parametrize("servers", [2, 4])
def test_each_of_several_pss_sums_its_part_over_bad_links(servers):
    bad = Impairment(loss=0.05, duplicate=0.05, reorder=0.05)
    job = make_job(2, servers=servers)
    arrays = random_lanes(7, 2, 64 * 900)
    with ExitStack() as hosts:
        faults = LinkFaults(seed=3, to_switch=bad, from_switch=bad)
        several = [hosts.enter_context(ServerEndpoint(job, number=n, faults=faults)) for n in range(servers)]
        workers = [hosts.enter_context(WorkerEndpoint(job, rank, faults=faults)) for rank in range(2)]
        futures = [w.all_reduce(a) for w, a in zip(workers, arrays, strict=True)]
        for future in futures:
            assert np.array_equal(future.result(WAIT_S).lanes, arrays.sum(0, dtype=np.int32))
        assert [server.stats()["via_ps"] for server in several] == [900 // servers] * servers
        assert all(server.stats()["malformed"] == 0 for server in several)


def test_a_worker_of_several_pss_hears_nobody_else():
    job = make_job(2, servers=2)
    with Hosts(job) as hosts:
        query = np.zeros(1, packet_dtype(64))  # what a worker takes, of a PS
        query["version_kind"], query["job"], query["epoch"] = version_kind(Kind.QUERY), job.job, job.epoch
        heard = []
        for source in (str(job.servers[1].ip + 100), str(job.servers[1].ip)):
            with ExitStack() as sockets:
                if source == str(job.servers[1].ip):
                    hosts.servers[1].close()
                sock = sockets.enter_context(closing(open_udp_socket((source, ESA_PORT))))
                sock.sendto(query.tobytes(), (str(job.workers[0].ip), job.workers[0].udp_port))
                deadline = time.monotonic() + WAIT_S
                while time.monotonic() < deadline and sum(counted(hosts.workers[0])) == len(heard):
                    time.sleep(0.01)
            heard.append(counted(hosts.workers[0]))
        assert heard == [(1, 0), (1, 1)]


def test_exponents_are_merged_by_fragment_and_an_empty_array_carries_one():
    with Hosts(make_job(2)) as hosts:
        empty = np.zeros(0, np.int32)
        told = np.array([[-7], [-3]], np.int8)
        futures = [w.all_reduce(empty, exponents=e) for w, e in zip(hosts.workers, told, strict=True)]
        assert [f.result(WAIT_S).exponents.tolist() for f in futures] == [[-3], [-3]]
        told = np.random.default_rng(0).integers(-128, 128, (2, 2000), np.int8)
        lanes = np.zeros(64 * 2000 - 63, np.int32)
        futures = [w.all_reduce(lanes, exponents=e) for w, e in zip(hosts.workers, told, strict=True)]
        assert all(np.array_equal(f.result(WAIT_S).exponents, told.max(0)) for f in futures)
        assert hosts.all_reduce(np.zeros((2, 65), np.int32))[0].exponents.tolist() == [0, 0]


def test_floats_are_summed_at_the_scale_of_each_fragment():
    bad = Impairment(loss=0.05, duplicate=0.05, reorder=0.05)
    job = make_job(2)
    rng = np.random.default_rng(11)
    arrays = rng.normal(0, 1, (2, 2000)).astype(np.float32) * np.repeat([1, 1e-6, 1e20, 1e-30], 500).astype(np.float32)
    exact = arrays.astype(np.float64).sum(0)
    with ExitStack() as hosts:
        hosts.enter_context(ServerEndpoint(job, faults=LinkFaults(seed=3, to_switch=bad, from_switch=bad)))
        workers: list[Transport] = [hosts.enter_context(WorkerEndpoint(job, rank)) for rank in range(2)]
        assert [(w.rank, w.size, w.fragment_lanes) for w in workers] == [(0, 2, 64), (1, 2, 64)]
        with ThreadPoolExecutor(2) as pool:
            sums = list(pool.map(all_reduce_float, workers, arrays))
    assert sums[0].tobytes() == sums[1].tobytes()
    for start in range(0, 2000, 64):
        fragment = slice(start, start + 64)
        assert np.linalg.norm(sums[0][fragment] - exact[fragment]) <= 1e-6 * np.linalg.norm(exact[fragment])


def test_many_in_flight_complete_in_order():
    with Hosts(make_job(2)) as hosts:
        count = 3000  # more than the engine's ring of operations
        done: list[int] = []
        arrays = random_lanes(1, 2, count, 70)
        futures = []
        for k in range(count):
            futures.append([w.all_reduce(arrays[r, k], 1 + k % 255) for r, w in enumerate(hosts.workers)])
            futures[-1][0].add_done_callback(lambda _, k=k: done.append(k))
        for k, pair in enumerate(futures):
            expected = arrays[:, k].sum(0, dtype=np.int32)
            assert all(np.array_equal(f.result(WAIT_S).lanes, expected) for f in pair)
        assert done == list(range(count))


def test_a_future_may_start_the_next_one_and_sums_may_go_in_place():
    with Hosts(make_job(2)) as hosts:
        arrays = random_lanes(2, 2, 1000)
        expected = 2 * arrays.sum(0, dtype=np.int32)
        finished = [threading.Event(), threading.Event()]

        def again(worker: WorkerEndpoint, array: np.ndarray, event: threading.Event) -> Callable[..., None]:
            def start(_) -> None:
                worker.all_reduce(array, out=array).add_done_callback(lambda _: event.set())

            return start

        for worker, array, event in zip(hosts.workers, arrays, finished, strict=True):
            worker.all_reduce(array, out=array).add_done_callback(again(worker, array, event))
        assert all(event.wait(WAIT_S) for event in finished)
        assert np.array_equal(arrays, [expected, expected])


def test_several_threads_may_submit():
    with Hosts(make_job(1)) as hosts, ThreadPoolExecutor(4) as pool:
        (worker,) = hosts.workers
        arrays = random_lanes(3, 200, 130)
        sums = list(pool.map(lambda a: worker.all_reduce(a).result(WAIT_S).lanes, arrays))
        assert np.array_equal(sums, arrays)


def test_a_peer_that_comes_late_is_waited_for():
    job = make_job(2)
    arrays = random_lanes(4, 2, 5000)
    with ServerEndpoint(job), WorkerEndpoint(job, 0) as early:
        first = early.all_reduce(arrays[0])
        time.sleep(0.3)
        assert not first.done()
        with WorkerEndpoint(job, 1) as late:
            second = late.all_reduce(arrays[1])
            for future in (first, second):
                assert np.array_equal(future.result(WAIT_S).lanes, arrays.sum(0, dtype=np.int32))
            assert early.stats()["resends"] < 32  # a handful, not the window over and over


def test_giving_up_names_job_seq_and_ranks():
    job = make_job(3, give_up_s=1.0)
    with ServerEndpoint(job) as server, WorkerEndpoint(job, 0) as a, WorkerEndpoint(job, 2) as b:
        futures = [w.all_reduce(random_lanes(5, 100)) for w in (a, b)]
        for future in futures:
            with pytest.raises(
                AllReduceError, match=r"job j, rank \d: no sum of fragment 0 for 1 s: rank 1 \([0-9.]+\.11\) is silent"
            ) as caught:
                future.result(WAIT_S)
            assert (caught.value.job, caught.value.seq, caught.value.missing) == ("j", 0, (1,))
        with pytest.raises(AllReduceError):
            a.all_reduce(random_lanes(5, 100)).result(WAIT_S)
        deadline = time.monotonic() + WAIT_S
        while not server.stats()["silent_ranks"] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.stats()["silent_ranks"] == [1]


def test_without_a_ps_giving_up_says_so():
    job = make_job(1, give_up_s=0.5)
    with (
        WorkerEndpoint(job, 0) as worker,
        pytest.raises(AllReduceError, match=r"the PS \([0-9.]+\.9\) is silent: look"),
    ):
        worker.all_reduce(random_lanes(6, 10)).result(WAIT_S)


def test_closing_ends_what_is_in_flight():
    job = make_job(2)
    worker = WorkerEndpoint(job, 0)
    future = worker.all_reduce(random_lanes(7, 10))
    worker.close()
    worker.close()
    with pytest.raises(RuntimeError, match="was closed"):
        future.result(WAIT_S)
    with pytest.raises(RuntimeError, match="was closed"):
        worker.all_reduce(random_lanes(7, 10)).result(WAIT_S)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lanes": np.zeros(3, np.int64)}, r"lanes: a contiguous \(n,\) int32 array, not int64"),
        ({"lanes": np.zeros((2, 2), np.int32)}, r"lanes: .* not int32 \(2, 2\)"),
        ({"lanes": np.zeros(6, np.int32)[::2]}, "lanes: a contiguous"),
        ({"lanes": np.zeros(3, np.int32), "out": np.zeros(4, np.int32)}, "out: a writeable array of 3 lanes"),
        ({"lanes": np.zeros(3, np.int32), "priority": 0}, "priority: 0 is not in 1..255"),
        (
            {"lanes": np.zeros(65, np.int32), "exponents": np.zeros(1, np.int8)},
            r"exponents: a contiguous \(2,\) int8 array",
        ),
        ({"lanes": np.zeros(3, np.int32), "exponents": np.zeros(1)}, r"exponents: .* not float64 \(1,\)"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with WorkerEndpoint(make_job(1), 0) as worker, pytest.raises(ValueError, match=message):
        worker.all_reduce(**arguments)


def test_a_rank_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"rank: job j has ranks 0\.\.1, not 2"):
        WorkerEndpoint(make_job(2), 2)


def test_stray_datagrams_are_counted_and_harmless():
    with Hosts(make_job(2)) as hosts:
        stop = threading.Event()
        rng = np.random.default_rng(8)

        def shout() -> None:
            server = str(hosts.job.server.ip), ESA_PORT
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                while not stop.is_set():
                    stranger.sendto(rng.bytes(int(rng.choice([0, 1, 24, 280, 1000]))), server)

        thread = threading.Thread(target=shout)
        thread.start()
        try:
            arrays = random_lanes(8, 2, 20_000)
            for reduced in hosts.all_reduce(arrays):
                assert np.array_equal(reduced.lanes, arrays.sum(0, dtype=np.int32))
        finally:
            stop.set()
            thread.join()
        assert hosts.server.stats()["malformed"] > 0


def test_bad_links_change_the_time_but_not_the_sum():
    bad = Impairment(loss=0.05, duplicate=0.05, reorder=0.05, jitter_ms=0.5)
    job = make_job(2)
    with ExitStack() as hosts:
        server = hosts.enter_context(ServerEndpoint(job, faults=LinkFaults(seed=9, to_switch=bad, from_switch=bad)))
        workers = [
            hosts.enter_context(WorkerEndpoint(job, rank, faults=LinkFaults(seed=rank, to_switch=bad)))
            for rank in range(2)
        ]
        arrays = random_lanes(10, 2, 5_000)
        futures = [worker.all_reduce(array) for worker, array in zip(workers, arrays, strict=True)]
        for future in futures:
            assert np.array_equal(future.result(WAIT_S).lanes, arrays.sum(0, dtype=np.int32))
        assert set(workers[0].faults()) == {"to_switch"}
        counted = server.faults()["from_switch"]
        assert all(counted[kind] > 0 for kind in ("lost", "duplicated", "reordered", "delayed"))


def test_hosts_do_not_need_torch():
    code = "import sys, esa.float_sum, esa.hosts.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_a_failure_between_two_turns_of_the_engine_is_seen() -> None:
    with closing(Waker()) as waker, closing(open_udp_socket(("127.0.0.1", 0))) as sock:
        state = worker_state(job=1, epoch=0, rank=0, window=1, lanes=64)
        state.worker[0]["failed"] = 1
        assert worker_engine(open_channel(sock, waker, 64), message_batch(1, 1), operations(), state, 0) == 0
