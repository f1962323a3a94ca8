"""UDP: what goes in comes out, in order, with its address."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from esa.net import (
    is_ready,
    message_batch,
    monotonic_ns,
    open_udp_socket,
    peer_address,
    peer_port,
    poll_set,
    realtime_ns,
    recv_batch,
    send_batch,
    send_rows,
    set_peer,
    wait_ready,
)
from esa.net.mmsg import TOO_LONG

LOOPBACK = 0x7F000001


def fill(batch, n: int) -> None:
    for i in range(n):
        batch.length[i] = i * 7 % batch.data.shape[1]
        batch.data[i] = i
        batch.data[i, : batch.length[i]] += np.arange(batch.length[i], dtype=np.uint8)


def test_a_batch_arrives_whole_in_order_and_with_the_senders_address() -> None:
    with open_udp_socket(("127.0.0.1", 0)) as a, open_udp_socket(("127.0.0.1", 0)) as b:
        out, back = message_batch(64, 300), message_batch(64, 300)
        fill(out, 64)
        for i in range(64):
            set_peer(out, i, LOOPBACK, b.getsockname()[1])
        assert send_batch(a.fileno(), out, 0, 64) == 64
        assert recv_batch(b.fileno(), back, 0, 40) == 40
        assert recv_batch(b.fileno(), back, 40, 64) == 24
        assert recv_batch(b.fileno(), back, 0, 64) == 0
        assert back.length.tolist() == out.length.tolist()
        for i in range(64):
            assert bytes(back.data[i, : back.length[i]]) == bytes(out.data[i, : out.length[i]])
            assert peer_address(back, i) == LOOPBACK
            assert peer_port(back, i) == a.getsockname()[1]


def test_a_received_batch_can_be_sent_back_as_it_is() -> None:
    with open_udp_socket(("127.0.0.1", 0)) as a, open_udp_socket(("127.0.0.1", 0), a_name(a)) as b:
        b.send(b"ping")
        batch = message_batch(4, 100)
        assert recv_batch(a.fileno(), batch, 2, 2) == 1
        assert send_batch(a.fileno(), batch, 2, 1) == 1
        assert b.recv(100) == b"ping"


def a_name(sock: socket.socket) -> tuple[str, int]:
    return sock.getsockname()


def test_rows_are_sent_in_the_order_asked_and_as_often() -> None:
    with open_udp_socket(("127.0.0.1", 0)) as a, open_udp_socket(("127.0.0.1", 0), a_name(a)) as b:
        out, back = message_batch(4, 100, peers=False), message_batch(8, 100)
        fill(out, 4)
        rows = np.array([9, 3, 1, 1], np.int32)
        assert send_rows(b.fileno(), out, rows, 1, 3) == 3
        assert recv_batch(a.fileno(), back, 0, 8) == 3
        assert [int(length) for length in back.length[:3]] == [int(out.length[i]) for i in (3, 1, 1)]


def test_a_message_longer_than_a_row_says_so() -> None:
    with open_udp_socket(("127.0.0.1", 0)) as a, open_udp_socket(("127.0.0.1", 0), a_name(a)) as b:
        b.send(bytes(101))
        b.send(bytes(100))
        batch = message_batch(4, 100)
        assert recv_batch(a.fileno(), batch, 0, 4) == 2
        assert batch.length[:2].tolist() == [TOO_LONG, 100]


def test_a_refused_message_gives_its_error_and_a_full_socket_gives_zero() -> None:
    with open_udp_socket(("127.0.0.1", 0)) as a:
        batch = message_batch(1, 70000)
        batch.length[0] = 70000
        set_peer(batch, 0, LOOPBACK, a.getsockname()[1])
        assert send_batch(a.fileno(), batch, 0, 1) == -errno.EMSGSIZE
    assert recv_batch(-1, batch, 0, 1) == -errno.EBADF


def test_waiting_ends_with_a_message_or_with_the_time() -> None:
    with open_udp_socket(("127.0.0.1", 0)) as a, open_udp_socket(("127.0.0.1", 0), a_name(a)) as b:
        polled = poll_set([b.fileno(), a.fileno()])
        wait_ready(polled, 0)
        start = time.monotonic_ns()
        assert wait_ready(polled, 20_000_000) == 0
        assert time.monotonic_ns() - start >= 20_000_000
        b.send(b"x")
        assert wait_ready(polled, -1) == 1
        assert not is_ready(polled, 0)
        assert is_ready(polled, 1)


def test_the_clocks_are_the_systems() -> None:
    assert 0 <= monotonic_ns() - time.monotonic_ns() + 10_000_000_000 < 20_000_000_000
    first = monotonic_ns()
    assert monotonic_ns() >= first
    assert abs(realtime_ns() - time.time_ns()) < 10_000_000_000


def test_an_address_that_cannot_be_had_is_named() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1:5000"):
        open_udp_socket(("192.0.2.1", 5000))


def test_a_batch_refuses_arrays_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="data must be"):
        message_batch(4, 100, data=np.zeros((4, 99), np.uint8))
    with pytest.raises(ValueError, match="length must be"):
        message_batch(4, 100, length=np.zeros(4, np.int64))


@pytest.mark.slow
def test_compiled_code_is_kept_on_disk_and_works_in_the_next_process(tmp_path) -> None:
    """Guards the choice in `libc.py`: a pointer baked into the code would crash, or not be cached at all."""
    program = (
        "from esa.net import *\n"
        "a = open_udp_socket(('127.0.0.1', 0)); b = open_udp_socket(('127.0.0.1', 0), a.getsockname())\n"
        "m = message_batch(4, 100); m.length[:] = 5\n"
        "assert send_batch(b.fileno(), m, 0, 4) == 4\n"
        "print(recv_batch(a.fileno(), m, 0, 4), sum(recv_batch.stats.cache_hits.values()))\n"
    )
    outputs = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"XDG_CACHE_HOME": str(tmp_path), "PATH": ""},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
        outputs.append(done.stdout.split())
    assert outputs == [["4", "0"], ["4", "1"]]
