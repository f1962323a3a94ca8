"""Flows between hosts: which there are, whose messages they carry, and their packets as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.fabric import Node
from esa.native import native_uncounted as native
from esa.sim.engine.lines import PacketPool
from esa.sim.transport.flow import (
    BYTES,
    DATA,
    FLOW,
    HEADER_BYTES,
    KIND,
    MARKED,
    WORDS,
    FlowOptions,
    Flows,
    new_flows,
)
from esa.wire import WIRE_OVERHEAD_BYTES

SENDS, SUMS, BACKGROUND = 0, 1, 2  # what a flow carries: SENDs of a rank, parts of its sums, traffic of no job

IP_PROTOCOL = 253  # for experiments (RFC 3692); nothing of ESA's
FRAME_BYTES = 14 + HEADER_BYTES  # that are kept of a packet; its payload is only a length
OUT_PACKETS = 8  # at a time; twice as many wait to leave a host, as with TCP small queues: answers wait behind them
_ETHERNET_BYTES, _IPV4_BYTES = 14, 20
_WORDS_AT = _ETHERNET_BYTES + _IPV4_BYTES
_TOS_AT, _LENGTH_AT, _PROTOCOL_AT, _CHECKSUM_AT = 15, 16, 23, 24
_ECN, _ECT0, _CE = 3, 2, 3  # RFC 3168: the two bits, a packet that can be marked, one that is

CONNECTION = np.dtype(
    [
        ("kind", np.int64),
        ("source", np.int64),  # ranks; of background traffic hosts
        ("target", np.int64),
        ("open", np.int64),  # its hosts listen
        ("done", np.int64),  # messages that its source knows to have arrived
        ("leaves_ps", np.int64),  # when the packets sent last have left the host, and those before
        ("before_ps", np.int64),
        ("end_ns", np.int64),  # of background traffic: when all has arrived, as its sender knows
    ]
)


class Pair(NamedTuple):
    """A flow that is needed. messages: the most that are under way; gap_ns: of a constant flow.

    proportional: marks are answered in proportion, as in `flow.py`; else each round with half the window.
    """

    kind: int
    source: int
    target: int
    messages: int = 1
    gap_ns: int = 0
    proportional: bool = True


class Connections(NamedTuple):
    """All flows of a simulation; make one with `new_connections`. Flow f has ends 2 f, sending, and 2 f + 1."""

    flows: Flows
    record: npt.NDArray[np.void]  # (flows,): CONNECTION
    template: npt.NDArray[np.uint8]  # (ends, 34): Ethernet and IPv4 of what an end sends
    inbox: npt.NDArray[np.uint32]  # (WORDS,)
    outbox: npt.NDArray[np.uint32]  # (OUT_PACKETS, WORDS)


def new_connections(pairs: Sequence[Pair], options: FlowOptions) -> Connections:
    """Flows that nobody listens to yet."""
    flows = new_flows(len(pairs), options, max([1, *(pair.messages for pair in pairs)]))
    record = np.zeros(len(pairs), CONNECTION)
    for k, pair in enumerate(pairs):
        record[k]["kind"], record[k]["source"], record[k]["target"] = pair.kind, pair.source, pair.target
        flows.sender[k]["gap_ns"] = pair.gap_ns
        if not pair.proportional:
            flows.sender[k]["gain"] = 0.0  # alpha stays 1: half the window goes
    flows.sender["messages"] = [pair.messages for pair in pairs]
    return Connections(
        flows,
        record,
        np.zeros((2 * len(pairs), _WORDS_AT), np.uint8),
        np.zeros(WORDS, np.uint32),
        np.zeros((OUT_PACKETS, WORDS), np.uint32),
    )


def open_connection(connections: Connections, f: int, source: Node, target: Node) -> None:
    """Flow f is between these hosts, and they listen."""
    for end, (here, there) in enumerate(((source, target), (target, source))):
        macs = bytes.fromhex((there.mac + here.mac).replace(":", ""))
        ipv4 = b"\x45\x00" + bytes(6) + bytes([64, IP_PROTOCOL]) + bytes(2) + here.ip.packed + there.ip.packed
        connections.template[2 * f + end] = np.frombuffer(macs + b"\x08\x00" + ipv4, np.uint8)
    connections.record[f]["open"] = 1


@native
def is_of_flow(pool: PacketPool, buffer: int) -> bool:
    """Whether the packet in `buffer` is a flow's."""
    return bool(pool.data[buffer, _PROTOCOL_AT] == IP_PROTOCOL)


@native
def write_packet(connections: Connections, end: int, i: int, pool: PacketPool, buffer: int) -> None:
    """Packet i of the outbox, from an end of a flow, as bytes in `buffer`."""
    data = pool.data
    for b in range(_WORDS_AT):
        data[buffer, b] = connections.template[end, b]
    octets = connections.outbox.view(np.uint8)
    for b in range(4 * WORDS):
        data[buffer, _WORDS_AT + b] = octets[i, b]
    total = HEADER_BYTES
    if connections.outbox[i, KIND] == DATA:
        total += connections.outbox[i, BYTES]
        data[buffer, _TOS_AT] = _ECT0
    data[buffer, _LENGTH_AT], data[buffer, _LENGTH_AT + 1] = total >> 8, total & 255
    pool.length[buffer], pool.wire_bytes[buffer] = FRAME_BYTES, _ETHERNET_BYTES + total + WIRE_OVERHEAD_BYTES
    _write_checksum(data, buffer)


@native
def read_packet(connections: Connections, pool: PacketPool, buffer: int) -> tuple[int, int]:
    """The packet in `buffer` into the inbox; return its flow and its kind."""
    octets = connections.inbox.view(np.uint8)
    for b in range(4 * WORDS):
        octets[b] = pool.data[buffer, _WORDS_AT + b]
    connections.inbox[MARKED] = (pool.data[buffer, _TOS_AT] & _ECN) == _CE
    return int(connections.inbox[FLOW]), int(connections.inbox[KIND])


@native
def _write_checksum(data: npt.NDArray[np.uint8], buffer: int) -> None:
    """RFC 1071, over the IPv4 header."""
    data[buffer, _CHECKSUM_AT] = data[buffer, _CHECKSUM_AT + 1] = 0
    total = np.int64(0)
    for b in range(_ETHERNET_BYTES, _ETHERNET_BYTES + _IPV4_BYTES, 2):
        total += np.int64(data[buffer, b]) << 8 | np.int64(data[buffer, b + 1])
    total = (total & 0xFFFF) + (total >> 16)
    total = ~(total + (total >> 16)) & 0xFFFF
    data[buffer, _CHECKSUM_AT], data[buffer, _CHECKSUM_AT + 1] = total >> 8, total & 255
