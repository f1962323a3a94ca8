"""AF_PACKET: frames cross a veth pair unchanged, 802.1Q tags included."""

from __future__ import annotations

import struct
import time

import pytest

from esa.net import message_batch, open_packet_socket, poll_set, recv_batch, send_batch, wait_ready
from tests.net.veth import Veth

ADDRESSES = bytes.fromhex("020000000002020000000001")


def frame(i: int) -> bytes:
    return ADDRESSES + struct.pack("!H", 0x88B5) + bytes((i + j) % 256 for j in range(300))


def tagged(i: int) -> bytes:
    return ADDRESSES + struct.pack("!HHH", 0x8100, 0xA000 | i, 0x88B5) + bytes(100)


def receive(fd: int, batch, count: int) -> list[bytes]:
    polled = poll_set([fd])
    got: list[bytes] = []
    deadline = time.monotonic() + 5
    while len(got) < count and time.monotonic() < deadline:
        wait_ready(polled, 100_000_000)
        n = recv_batch(fd, batch, 0, len(batch.data))
        got += [bytes(batch.data[i, : batch.length[i]]) for i in range(n)]
    return got


def test_frames_cross_in_order_and_the_senders_own_are_not_heard(veth: Veth) -> None:
    with veth.socket("a0") as a, veth.socket("b0") as b:
        out, back = message_batch(100, 2048, peers=False), message_batch(64, 2048, peers=False, vlan=True)
        frames = [tagged(i) if i % 3 == 0 else frame(i) for i in range(100)]
        for i, content in enumerate(frames):
            out.length[i] = len(content)
            out.data[i, : len(content)] = memoryview(content)
        assert send_batch(a.fileno(), out, 0, 100) == 100
        assert receive(b.fileno(), back, 100) == frames
        assert recv_batch(a.fileno(), back, 0, 64) == 0


def test_a_frame_beyond_the_interfaces_mtu_is_refused_and_the_next_one_goes(veth: Veth) -> None:
    with veth.socket("a0") as a, veth.socket("b0") as b:
        out = message_batch(2, 4096, peers=False)
        out.length[:] = 3000, 400
        assert send_batch(a.fileno(), out, 0, 2) < 0
        assert send_batch(a.fileno(), out, 1, 1) == 1
        assert [len(content) for content in receive(b.fileno(), out, 1)] == [400]


def test_a_missing_interface_is_named() -> None:
    with pytest.raises(OSError, match="no interface 'esa-none0' here"):
        open_packet_socket("esa-none0")
