"""Datagrams that are no packets, on real sockets: counted, dropped, and the job's sums stay exact."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from contextlib import closing

import numpy as np
import pytest

from esa import wire
from esa.hosts import ServerEndpoint, WorkerEndpoint
from esa.wire import ESA_PORT, Flag, Kind
from tests.hosts.test_endpoints import WAIT_S, Hosts, make_job, random_lanes

pytestmark = pytest.mark.timeout(120)

LENGTHS = [*range(24 + 4 * 64 + 9), 1000, 1024, 1048, 1472, 9000, 65507]
RIGHT = 24 + 4 * 64


def _bind(ip: str, port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((ip, port))
    return sock


def _packet(of, kind: int = Kind.GRADIENT, **fields: int) -> bytes:
    """A packet of the job whose lanes would spoil a sum."""
    record = np.zeros(1, wire.packet_dtype(of.lanes))
    given = {"version_kind": wire.version_kind(kind), "job": of.job, "epoch": of.epoch, "bitmap0": 1, "bitmap1": 1}
    for name, value in {**given, "lane": 2**30, **fields}.items():
        record[name] = value
    return record.tobytes()


def _until(condition, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def _exact(hosts: Hosts, seed: int) -> None:
    arrays = random_lanes(seed, hosts.job.fan_in, 3000)
    for reduced in hosts.all_reduce(arrays):
        assert np.array_equal(reduced.lanes, arrays.sum(0, dtype=np.int32))


def test_a_ps_drops_every_wrong_length_from_a_member_too():
    job = make_job(2)
    wrong = [n for n in LENGTHS if n != RIGHT]
    with Hosts(job) as hosts:
        _exact(hosts, 1)
        hosts.workers[0].close()  # its address is free: speak from it
        before = hosts.server.stats()
        with closing(_bind(str(job.workers[0].ip), job.workers[0].udp_port)) as member:
            for length in wrong:
                member.sendto((_packet(job, seq=1000) * 300)[:length], (str(job.server.ip), ESA_PORT))
        _until(lambda: hosts.server.stats()["malformed"] >= before["malformed"] + len(wrong), "not all were counted")
        after = hosts.server.stats()
        assert after.pop("malformed") - before.pop("malformed") == len(wrong)
        assert after == before


def test_a_ps_drops_what_strangers_and_liars_say_and_sums_on():
    job = make_job(2)
    with Hosts(job) as hosts, closing(_bind(str(job.switch_ip))) as stranger:
        _exact(hosts, 2)
        before = hosts.server.stats()
        count = 0
        for kind, flags in itertools.product(range(16), (0, Flag.RESEND, Flag.ANSWER, Flag.LEVEL1, 0xFF)):
            for seq in (47, 48, 60, 2**31, 2**32 - 1):  # the next fragments of the job, and absurd ones
                stranger.sendto(_packet(job, kind, flags=flags, seq=seq, bitmap0=3), (str(job.server.ip), ESA_PORT))
                count += 1
        _until(lambda: hosts.server.stats()["malformed"] >= before["malformed"] + count, "not all were counted")
        _exact(hosts, 3)


def test_a_worker_drops_every_wrong_length_and_hears_nobody_but_its_ps():
    job = make_job(1)
    wrong = [n for n in LENGTHS if n != RIGHT]
    to = str(job.workers[0].ip), job.workers[0].udp_port
    with WorkerEndpoint(job, 0) as worker:
        with closing(_bind(str(job.switch_ip), ESA_PORT)) as stranger:
            for _ in range(50):
                stranger.sendto(_packet(job, Kind.RESULT), to)
        with closing(_bind(str(job.server.ip), ESA_PORT)) as ps:
            arrays = random_lanes(4, 640)
            future = worker.all_reduce(arrays)
            for length in wrong:
                ps.sendto((_packet(job, Kind.RESULT) * 300)[:length], to)
            for fields in ({"version_kind": 0x23}, {"job": 6}, {"job": 6, "epoch": 2}, {"bitmap0": 2}, {"seq": 10**9}):
                ps.sendto(_packet(job, Kind.RESULT, **fields), to)
            _until(lambda: worker.stats()["malformed"] >= len(wrong) + 5, "not all were counted")
            assert worker.stats()["malformed"] == len(wrong) + 5
            assert worker.stats()["results"] == 0
        with ServerEndpoint(job):
            assert np.array_equal(future.result(WAIT_S).lanes, arrays)


def test_a_job_under_a_hail_of_datagrams_sums_exactly():
    job = make_job(2)
    with Hosts(job) as hosts:
        stop = threading.Event()

        def shout(seed: int) -> None:
            rng = np.random.default_rng(seed)
            targets = [(str(m.ip), m.udp_port) for m in (*job.workers, job.server)]
            with closing(_bind(str(job.switch_ip))) as stranger:
                while not stop.is_set():
                    data = bytearray(_packet(job, int(rng.integers(16)), seq=int(rng.integers(100)), bitmap0=3))
                    for at in rng.integers(len(data), size=int(rng.integers(4))):
                        data[at] = rng.integers(256)
                    stranger.sendto(
                        bytes(data[: int(rng.choice([len(data), rng.integers(len(data))]))]), targets[rng.integers(3)]
                    )

        thread = threading.Thread(target=shout, args=(5,))
        thread.start()
        try:
            for seed in range(5):
                _exact(hosts, seed)
        finally:
            stop.set()
            thread.join()
        assert hosts.server.stats()["malformed"] > 0
