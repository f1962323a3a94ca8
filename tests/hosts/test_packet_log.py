"""ESA_LOG=protocol:debug: every packet of a worker and a PS, and what was decided of it; nothing where nobody asks."""

from __future__ import annotations

import io
import logging
import re
import shlex
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from esa import log
from esa.hosts import ServerEndpoint, WorkerEndpoint, server, worker
from esa.hosts.packet_log import with_replaced
from esa.wire import Kind, packet_dtype, version_kind
from tests.hosts.test_endpoints import Hosts, make_job, random_lanes

pytestmark = pytest.mark.timeout(240)  # each part of the loops is compiled by itself, once

FRAGMENTS = 5


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    log.begin("protocol:debug", stream)
    ServerEndpoint.compile()
    WorkerEndpoint.compile()
    yield stream
    log.begin("")
    log.area("protocol").setLevel(logging.NOTSET)


def lines(stream: io.StringIO) -> list[dict[str, str]]:
    """Of packets, each as its fields."""
    found = [dict(part.split("=", 1) for part in shlex.split(line)) for line in stream.getvalue().splitlines()]
    return [line for line in found if line["msg"] != "counted"]


def test_every_packet_is_told_of_and_what_was_decided(stream: io.StringIO) -> None:
    job = make_job(2, name="mlp", job=6)
    arrays = random_lanes(1, 2, FRAGMENTS * 64)
    with Hosts(job) as hosts:
        for reduced in hosts.all_reduce(arrays, priority=77):
            assert np.array_equal(reduced.lanes, arrays.sum(0, dtype=np.int32))
        stats = [one.stats() for one in hosts.workers]
        stray = np.zeros(1, packet_dtype(64))
        stray["version_kind"], stray["job"], stray["epoch"], stray["seq"] = version_kind(Kind.QUERY), 6, 9, 3
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as stranger:
            stranger.sendto(stray.tobytes(), (str(job.server.ip), job.server.udp_port))
        end = time.monotonic() + 60
        while hosts.server.stats()["malformed"] == 0 and time.monotonic() < end:
            time.sleep(0.01)
    told = lines(stream)
    assert all(
        (line["level"], line["area"], line["job"], line["epoch"]) == ("debug", "protocol", "mlp", "1") for line in told
    )
    what = Counter((line["rank"], line["msg"], line["kind"], line.get("decided", "")) for line in told)
    for rank in ("0", "1"):
        sent = [line for line in told if line["rank"] == rank and line["msg"] == "sends"]
        assert {line["seq"] for line in sent} == {str(seq) for seq in range(FRAGMENTS)}
        assert {(line["kind"], line["priority"], line["workers"]) for line in sent} == {
            ("GRADIENT", "77", f"0x{1 << int(rank):x}")
        }
        assert len(sent) == stats[int(rank)]["fragments"] + stats[int(rank)]["resends"]
        assert what[rank, "receives", "RESULT", "results via_ps"] == FRAGMENTS
    assert what["ps", "receives", "GRADIENT", "fragments"] >= FRAGMENTS
    assert what["ps", "receives", "GRADIENT", "fragments via_ps"] == FRAGMENTS
    of_ps = [line for line in told if line["rank"] == "ps"]
    assert {line["to"] for line in of_ps if line["kind"] == "RESULT"} <= {"rank 0", "rank 1", "all workers"}
    (odd,) = [line for line in of_ps if line.get("sender") == "unknown"]
    assert (odd["kind"], odd["seq"], odd["packet_epoch"]) == ("QUERY", "3", "9")
    assert odd["decided"] == "malformed"


def test_nobody_asks_and_the_machine_code_is_what_runs() -> None:
    with Hosts(make_job(2)) as hosts:
        assert {one._run for one in hosts.workers} == {worker._run}
        assert hosts.server._run is server._run


def test_what_a_loop_does_not_call_cannot_be_told_of() -> None:
    with pytest.raises(ValueError, match=re.escape("_run calls no worker_recieve")):
        with_replaced(worker._run, worker_recieve=print)
