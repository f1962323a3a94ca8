"""Entries and packets for the lanes programs of tests/switch/programs."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from esa.switch import Pipeline


def fill(pipeline: Pipeline, mask: int = 1023) -> Pipeline:
    """One job of two workers on ports 1 and 2; partial sums leave by port 9."""
    tables = pipeline.tables
    tables["I.job"].add((7, 1), "I.set_job", (2, 5, mask))
    tables["I.partial"].add((7,), "I.forward", (9,))
    for worker in range(2):
        tables["I.admission"].add((worker + 1, 0x0A000001 + worker, 7), "I.admit", (1 << worker,))
        tables["E.copies"].add((7, worker + 1), "E.rewrite", (0xAABB0001 + worker, 0x0A000001 + worker, 4000))
    pipeline.multicast.set(5, [(1, 1), (2, 2)])
    return pipeline


def packet(worker: int, seq: int, lanes: Sequence[int], priority: int = 5) -> bytes:
    """A contribution of a worker."""
    body = struct.pack(">BBBBHHIII", 0x11, 0, priority, 0, 7, 1, seq, seq, 1 << worker)
    body += struct.pack(f">{len(lanes)}i", *lanes)
    length = 28 + len(body)
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, length, 0, 0, 64, 17, 0, 0x0A000001 + worker, 0x0A0000FF)
    total = sum(struct.unpack(">10H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    ip = ip[:10] + struct.pack(">H", ~total & 0xFFFF) + ip[12:]
    eth = bytes.fromhex("0200000000010200000000020800")
    return eth + ip + struct.pack(">HHHH", 1, 4000, 8 + len(body), 0) + body


def values(packet: bytes, lanes: int) -> list[int]:
    """The lanes of a packet."""
    return list(struct.unpack(f">{lanes}i", packet[-4 * lanes :]))
