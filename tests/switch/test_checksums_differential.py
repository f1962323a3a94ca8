"""Checksums and hashes of every kind on BMv2 and here, over whole and odd numbers of bytes, and the payload."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from esa.switch import Pipeline
from tests.switch import bmv2_files
from tests.switch.test_differential import ours, same
from tests.switch.traffic import edge

PROGRAM = Path(__file__).parent / "programs" / "checksums.json"
CHECKED = slice(1, 30)  # the bytes of what one checksum covers


def csum16(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def checksum_packets(rng: random.Random, count: int) -> list[bytes]:
    out = []
    for _ in range(count):
        size = rng.choice([0xFF, *range(8)])
        numbers = [(rng.choice([3, edge(rng, 4)]), 4)] + [
            (edge(rng, bits) & (1 << bits) - 1, bits) for bits in (12, 16, 72, 128, 7, 1)
        ]
        bits = "".join(format(number, f"0{width}b") for number, width in [(size, 8), *numbers])
        head = int(bits, 2).to_bytes(len(bits) // 8, "big")
        rest = b"" if size == 0xFF else rng.randbytes(1 + size + 2)
        payload = rng.randbytes(rng.choice([0, 1, 2, 9, 30]))
        (a, _), (b, _), (c, _), *_ = numbers
        covered = (b << 20 | c << 4 | a).to_bytes(4, "big") + payload
        sums = [csum16(head[CHECKED]), csum16(covered)]
        sums = [each if rng.random() < 0.7 else rng.getrandbits(16) for each in sums]
        out.append(head + b"".join(each.to_bytes(2, "big") for each in sums) + rest + payload)
    return out


@pytest.mark.bmv2
@pytest.mark.supports(
    "externs: checksums, over the payload too", "externs: hashes crc16, crc32, csum16, xor16, identity"
)
@pytest.mark.parametrize("seed", [71, 72])
def test_checksums_are_bmv2s(seed: int) -> None:
    packets = {0: checksum_packets(random.Random(seed), 500)}
    theirs = bmv2_files.run(PROGRAM, packets)
    assert {packet[0] for packet in theirs[1]} == {0, 1}
    same(theirs, ours(Pipeline.load(PROGRAM.read_text(), compiled=False), packets))
