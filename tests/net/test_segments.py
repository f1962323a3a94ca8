"""Messages handed over many at a time: the packets are those that there would be one by one."""

from __future__ import annotations

import socket
from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.net import message_batch, open_udp_socket, recv_batch, send_batch, send_segmented, set_peer
from esa.net.mmsg import MessageBatch
from tests.net.veth import Veth

LOOPBACK = 0x7F000001
UDP_GRO = 104  # a socket that has this set gets what was sent as one message in one piece


def filled(lengths: list[int], mtu: int) -> MessageBatch:
    batch = message_batch(len(lengths), mtu, segments=True)
    batch.length[:] = lengths
    batch.data[:] = np.random.default_rng(len(lengths)).integers(0, 256, batch.data.shape)
    return batch


def sent(sock: socket.socket, batch: MessageBatch, first: int, count: int) -> None:
    done = 0
    while done < count:
        now = send_segmented(sock.fileno(), batch, first + done, count - done)
        assert 0 < now <= count - done
        done += now


def received(sock: socket.socket, mtu: int) -> list[bytes]:
    batch = message_batch(256, mtu)
    count = recv_batch(sock.fileno(), batch, 0, 256)
    return [bytes(batch.data[i, : batch.length[i]]) for i in range(count)]


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 280, 1048, 9000]), st.booleans()), min_size=1, max_size=150),
    st.integers(0, 20),
)
@settings(deadline=None, max_examples=60)
def test_every_peer_gets_its_messages_in_order_whatever_their_lengths(rows: list[tuple[int, bool]], first: int) -> None:
    first = min(first, len(rows) - 1)
    batch = filled([length for length, _ in rows], 9000)
    with (
        open_udp_socket(("127.0.0.1", 0)) as source,
        open_udp_socket(("127.0.0.1", 0)) as a,
        open_udp_socket(("127.0.0.1", 0)) as b,
    ):
        wanted = defaultdict(list)
        for i, (length, to_a) in enumerate(rows):
            set_peer(batch, i, LOOPBACK, (a if to_a else b).getsockname()[1])
            if i >= first:
                wanted[to_a].append(bytes(batch.data[i, :length]))
        sent(source, batch, first, len(rows) - first)
        assert received(a, 9000) == wanted[True]
        assert received(b, 9000) == wanted[False]


def test_alike_messages_are_handed_over_as_one() -> None:
    batch = filled([280] * 70 + [100], 300)
    with open_udp_socket(("127.0.0.1", 0)) as a, open_udp_socket(("127.0.0.1", 0), a.getsockname()) as source:
        a.setsockopt(socket.SOL_UDP, UDP_GRO, 1)
        sent(source, batch, 0, 71)
        assert [len(message) for message in received(a, 20000)] == [64 * 280, 6 * 280, 100]


def test_a_batch_of_nothing_is_nothing() -> None:
    with open_udp_socket(("127.0.0.1", 0)) as source:
        assert send_segmented(source.fileno(), filled([100] * 4, 100), 2, 0) == 0


def test_on_a_cable_frames_are_the_same_as_one_by_one(veth: Veth) -> None:
    """Also those that are longer than the MTU, which come in fragments; lengths, addresses and checksums are each
    frame's own. Only the numbers that IP gives packets differ, and that routers may cut them (no DF)."""
    veth.ip("address", "add", "10.9.0.1/24", "dev", "a0")
    veth.exec("ethtool", "-K", "a0", "tx", "off", "rx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off")
    veth.ip("neighbour", "add", "10.9.0.2", "lladdr", "02:00:00:00:00:02", "dev", "a0")
    with veth.entered():
        source = open_udp_socket(("10.9.0.1", 31781), ("10.9.0.2", 31780))
    with source, veth.socket("b0") as wire:
        frames = {}
        for how in (send_batch, send_segmented):
            for size in (280, 1048, 1472, 2000):
                batch = filled([size] * 64, 2000)
                done = 0
                while done < 64:
                    now = how(source.fileno(), batch, done, 64 - done)
                    assert now > 0
                    done += now
                frames[how, size] = [_without_number(frame) for frame in received(wire, 2100)]
        for size, each in ((280, 64), (1048, 64), (1472, 64), (2000, 128)):
            assert len(frames[send_batch, size]) == each
            assert frames[send_segmented, size] == frames[send_batch, size]


def _without_number(frame: bytes) -> bytes:
    """A frame without IP's identification, the DF bit, and the checksum over these."""
    return frame[:18] + bytes([frame[20] & 0xBF]) + frame[21:24] + frame[26:]
