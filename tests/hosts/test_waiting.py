"""What workers and PSs say to people while something does not go on, and a PS that is told of another policy."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from contextlib import closing

import numpy as np
import pytest

from esa.hosts import AllReduceError, ServerEndpoint, WorkerEndpoint
from esa.hosts import waiting as saying
from esa.hosts.errors import no_sum
from esa.hosts.waiting import Occasion, ranks_of, what_is_waited_for
from esa.job import Job, Rack
from esa.protocol import Waiting
from esa.wire import ESA_PORT, Kind, packet_dtype, version_kind
from tests.hosts.test_endpoints import WAIT_S, Hosts, make_job, random_lanes

pytestmark = pytest.mark.timeout(120)

S = 1_000_000_000
NOBODY = (0, 0)
SLACK_S = 10.0  # of a machine that does other things


def waiting(**fields) -> Waiting:
    given = {"computing": NOBODY, "silent": NOBODY, "unheard": False, "server_silent": False, **fields}
    return Waiting(seq=17, since_ns=given.pop("since_ns", 3 * S), **given)


@pytest.fixture
def soon(monkeypatch) -> None:
    """Waits of 0.3 s are spoken of, and looked for ten times a second."""
    monkeypatch.setattr(saying, "SAY_AFTER_S", 0.3)
    monkeypatch.setattr(saying, "LOOK_S", 0.1)


def until(said: Callable[[], str], part: str) -> str:
    """What was said, once it has `part`."""
    text, deadline = "", time.monotonic() + 20
    while part not in text:
        assert time.monotonic() < deadline, f"not said: {part}; but: {text}"
        time.sleep(0.05)
        text += said()
    return text


def test_an_occasion_comes_once_per_wait_before_five_seconds_and_once_a_minute():
    occasion = Occasion()
    assert not occasion.has_come(None, 100 * S)
    assert not occasion.has_come(waiting(since_ns=10 * S), int(13.4 * S))
    assert occasion.has_come(waiting(since_ns=10 * S), int(13.5 * S))
    assert not occasion.has_come(waiting(since_ns=10 * S), 200 * S)  # the same wait
    later = Occasion()
    assert later.has_come(waiting(since_ns=0), 4 * S)
    assert not later.has_come(waiting(since_ns=20 * S), 30 * S)
    assert later.has_come(waiting(since_ns=20 * S), 64 * S)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"computing": (0b010, 1)}, r"rank 1 \([0-9.]+\.11\) computes$"),
        ({"computing": (0b110, 1)}, r"rank 1 \([0-9.]+\.11\), rank 2 \([0-9.]+\.12\) compute$"),
        ({"silent": (0b010, 1)}, r"rank 1 \([0-9.]+\.11\) is silent: look whether it still runs and can be reached$"),
        ({"silent": (0b110, 1)}, r"rank 1 .*, rank 2 .* are silent: look whether they still run"),
        ({"server_silent": True}, r"the PS \([0-9.]+\.9\) is silent: look whether it runs and can be reached$"),
        ({"unheard": True}, r"the PS \([0-9.]+\.9\) receives nothing from this rank$"),
        ({"unheard": True, "silent": (0b010, 1)}, r"receives nothing from this rank; rank 1 .* is silent"),
        ({}, r"the PS \([0-9.]+\.9\) lives and does not say for whom$"),
    ],
)
def test_what_is_waited_for_in_words(fields, text):
    job = make_job(3)
    error = str(no_sum(job, 0, waiting(**fields)))
    assert re.search(text, error)
    assert error.startswith("job j, rank 0: no sum of fragment 17 for ")
    assert what_is_waited_for(job, waiting(**fields), "why").endswith("; why")


def test_an_error_says_which_patience_ended():
    job = make_job(3, give_up_s=7.0, wait_limit_s=99.0)
    silent = no_sum(job, 0, waiting(silent=(0b100, 1)))
    computing = no_sum(job, 0, waiting(computing=(0b010, 1)))
    assert (silent.missing, silent.computing, "for 7 s" in str(silent)) == ((2,), False, True)
    assert (computing.missing, computing.computing, "for 99 s" in str(computing)) == ((1,), True, True)


def test_ranks_of_several_racks():
    job = make_job(4)
    racks = (Rack(workers=1, switch_ip="10.0.0.1"), Rack(workers=3, switch_ip="10.0.0.2"))
    job = job.model_copy(update={"racks": racks})
    assert ranks_of(job, (0b101, 0b10)) == (1, 3)
    assert ranks_of(job, NOBODY) == ()


def test_a_rank_that_computes_is_waited_for_and_named(soon, capsys):
    job = make_job(2, give_up_s=1.0)
    with Hosts(job) as hosts:
        early, late = hosts.workers
        arrays = random_lanes(1, 2, 1000)
        future = early.all_reduce(arrays[0])
        text = until(lambda: capsys.readouterr().err, "\n")
        assert text == f"esa: job j, rank 0: waits 0 s for fragment 0: rank 1 ({job.workers[1].ip}) computes\n"
        time.sleep(3 * job.give_up_s)  # longer than silence is borne
        assert not future.done()
        assert np.array_equal(late.all_reduce(arrays[1]).result(WAIT_S).lanes, arrays.sum(0, dtype=np.int32))
        assert np.array_equal(future.result(WAIT_S).lanes, arrays.sum(0, dtype=np.int32))
        assert capsys.readouterr().err == ""


def test_a_stall_is_spoken_of_within_five_seconds(capsys):
    job = make_job(3)
    with Hosts(job) as hosts, WorkerEndpoint(make_job(2), 0) as alone:
        start = time.monotonic()
        futures = [
            worker.all_reduce(lanes) for worker, lanes in zip(hosts.workers[:2], random_lanes(4, 2, 100), strict=True)
        ]
        alone.all_reduce(random_lanes(5, 100))
        text = ""
        while text.count("\n") < 3:
            text += capsys.readouterr().err
            assert time.monotonic() - start < 5.0 + SLACK_S, text
            time.sleep(0.05)
        lines = sorted(text.splitlines())
        for rank in (0, 1):
            said = rf"esa: job j, rank {rank}: waits \d s for fragment 0: rank 2 \({job.workers[2].ip}\) computes"
            assert any(re.fullmatch(said, line) for line in lines), text
        silent = rf"the PS \({alone.job.server.ip}\) is silent: look whether it runs and can be reached"
        assert any(re.fullmatch(rf"esa: job j, rank 0: waits \d s for fragment 0: {silent}", line) for line in lines)
        hosts.workers[2].all_reduce(random_lanes(6, 100))
        assert all(len(future.result(WAIT_S).lanes) == 100 for future in futures)


def test_a_rank_that_computes_for_ever_is_given_up_at_the_limit():
    with Hosts(make_job(2, give_up_s=1.0, wait_limit_s=2.5)) as hosts:
        start = time.monotonic()
        with pytest.raises(AllReduceError, match=r"for 2.5 s: rank 1 \([0-9.]+\) computes$") as caught:
            hosts.workers[0].all_reduce(random_lanes(2, 10)).result(WAIT_S)
        assert (caught.value.missing, caught.value.computing) == ((1,), True)
        assert time.monotonic() - start > 2.4
        assert hosts.server.stats()["silent_ranks"] == []


def packet_of_run(job: Job, epoch: int, kind: Kind) -> bytes:
    packet = np.zeros(1, packet_dtype(job.lanes))
    packet["version_kind"], packet["job"], packet["epoch"] = version_kind(kind), job.job, epoch
    packet["bitmap0"] = packet["bitmap1"] = 1
    return packet.tobytes()


def test_packets_of_another_run_are_refused_and_spoken_of_once(soon, capsys):
    job = make_job(2)
    ip, port = str(job.workers[0].ip), job.workers[0].udp_port
    with ServerEndpoint(job) as server, closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as old:
        old.bind((ip, port))
        for _ in range(5):
            old.sendto(packet_of_run(job, 6, Kind.GRADIENT), (str(job.server.ip), ESA_PORT))
        text = until(lambda: capsys.readouterr().err, "\n")
        assert text == f"esa: job j, PS: refuses packets of run (epoch) 6 from {ip}; this is run {job.epoch}\n"
        old.sendto(packet_of_run(job, 6, Kind.GRADIENT), (str(job.server.ip), ESA_PORT))
        time.sleep(0.3)
        assert capsys.readouterr().err == ""
        stats = server.stats()
        assert (stats["other_run"], stats["malformed"], stats["fragments"]) == (6, 0, 0)


def test_a_server_changes_its_policy_while_it_serves():
    job = make_job(2)
    with Hosts(job) as hosts:
        arrays = random_lanes(3, 2, 60_000)
        expected = arrays.sum(0, dtype=np.int32)
        futures = [w.all_reduce(a) for w, a in zip(hosts.workers, arrays, strict=True)]
        for name in ("atp", "esa", "ps") * 5:
            hosts.server.set_policy(name)
            time.sleep(0.01)
        with pytest.raises(ValueError, match="fastest"):
            hosts.server.set_policy("fastest")
        assert all(np.array_equal(f.result(WAIT_S).lanes, expected) for f in futures)
        hosts.server.set_policy("esa")
        lone = hosts.workers[0].all_reduce(arrays[0, :64].copy())
        deadline = time.monotonic() + 20
        while not hosts.server.stats()["reminders"] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert hosts.server.stats()["reminders"] > 0  # under `ps` there is nobody to remind
        hosts.server.set_policy("ps")
        hosts.workers[1].all_reduce(arrays[1, :64].copy())
        assert np.array_equal(lone.result(WAIT_S).lanes, expected[:64])
