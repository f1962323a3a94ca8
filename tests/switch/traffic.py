"""Random packets for the programs in tests/switch/programs."""

from __future__ import annotations

import random
import struct


def edge(rng: random.Random, bits: int) -> int:
    """A number that is more often than not at an edge of its range."""
    edges = [0, 1, 2, (1 << bits) - 1, (1 << bits) - 2, 1 << (bits - 1), (1 << (bits - 1)) - 1]
    return rng.choice([*edges, rng.getrandbits(bits), rng.getrandbits(bits)])


def arithmetic_packets(rng: random.Random, count: int) -> list[bytes]:
    widths = (8, 8, 32, 32, 32, 32, 64, 64, 16, 16, 48, 48)
    return [b"".join(edge(rng, bits).to_bytes(bits // 8, "big") for bits in widths) for _ in range(count)]


def ipv4(rng: random.Random) -> bytes:
    first = rng.choice([0x45, 0x45, 0x45, 0x65])
    proto, ttl = rng.choice([(6, 64), (6, 1), (17, 2), (17, 9), (1, 3)])
    src = rng.choice([0x01020304, 0x02020304, 0x03000000])
    dst = rng.choice([0x0A000001, 0x0A010001, 0x0A010203, 0x0B000000])
    packet = struct.pack(">BBHHHBBHII", first, 0, 40, rng.getrandbits(16), 0x4001, ttl, proto, 0, src, dst)
    total = sum(struct.unpack(">10H", packet))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~total & 0xFFFF if rng.random() < 0.8 else rng.getrandbits(16)
    return packet[:10] + checksum.to_bytes(2, "big") + packet[12:]


def feature_packets(rng: random.Random, count: int) -> list[bytes]:
    out = []
    for _ in range(count):
        dst = rng.choice([b"\xff" * 6, bytes.fromhex("000102030405"), rng.randbytes(6)])
        kind = rng.choice([0x0800, 0x0800, 0x0800, 0x8847, 0x8847, 0x1234, 0x9999])
        packet = dst + rng.randbytes(6) + kind.to_bytes(2, "big")
        if kind == 0x8847:
            labels = rng.randint(1, 4)
            for at in range(labels):
                packet += rng.randbytes(2) + bytes([rng.getrandbits(8) & 0xFE | (at == labels - 1), 7])
        if kind in (0x0800, 0x8847):
            tag = rng.choice([0xBEEF, 0xDEAD, 0x7777, 1, 2])
            packet += ipv4(rng)
            packet += struct.pack(">HHHH", rng.getrandbits(16), rng.choice([79, 80, 86, 95, 101]), 0, tag)
        packet += rng.randbytes(rng.randint(0, 40))
        if rng.random() < 0.15:
            packet = packet[: rng.randint(0, len(packet))]
        out.append(packet)
    return out
