"""Header unions, one of two headers, elements of stacks at an index from the packet: as on BMv2."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esa.switch import Pipeline, UnsupportedError
from tests.switch import bmv2_files
from tests.switch.test_differential import ours, same

PROGRAM = Path(__file__).parent / "programs" / "chosen.json"
Root = dict[str, Any]


def chosen_packets(rng: random.Random, count: int) -> list[bytes]:
    out = []
    for _ in range(count):
        kind = rng.choice([0, 1, 2])
        packet = bytes([kind, rng.randrange(4), rng.randrange(4), rng.getrandbits(8)])
        packet += rng.randbytes((4, 16, 0)[kind])
        for _ in range(rng.randrange(4)):
            packet += bytes([0, rng.choice([1, 2, 8])]) + rng.randbytes(10)
        if rng.random() < 0.5:
            packet += b"\0\7" + rng.randbytes(10) + rng.randbytes(24)
        packet += b"\0\0" + rng.randbytes(10 + rng.randrange(20))
        out.append(packet if rng.random() < 0.9 else packet[: rng.randint(4, len(packet))])
    return out


@pytest.mark.supports("headers: unions", "headers: one of two by ?:", "headers: stack[i] with i from the packet")
@pytest.mark.bmv2
@pytest.mark.parametrize("seed", [31, 32])
def test_chosen_headers_are_bmv2s(seed: int) -> None:
    packets = {0: chosen_packets(random.Random(seed), 600)}
    same(bmv2_files.run(PROGRAM, packets), ours(Pipeline.load(PROGRAM.read_text()), packets))


ITEMS = [bytes([0, name]) + bytes([16 * name] * 10) for name in (5, 6, 0)]
BLANK = b"\0\3" + bytes(10)


@pytest.mark.supports("headers: stack[i] with i from the packet")
@pytest.mark.parametrize(
    ("to", "of", "what", "items"),
    [
        (0, 1, 1, [ITEMS[1], ITEMS[1], ITEMS[2]]),
        (3, 0, 1, [*ITEMS, ITEMS[0]]),
        (1, 3, 1, [ITEMS[0], ITEMS[2]]),  # a copy of an invalid header is invalid
        (4, 0, 1, ITEMS),  # BMv2 would stop; here it is a header that nothing else is
        (2, 255, 1, ITEMS[:2]),
        (1, 0, 2, [ITEMS[0], ITEMS[2]]),
        (3, 0, 2, ITEMS),
        (200, 0, 2, ITEMS),
        (3, 0, 3, [*ITEMS, BLANK]),
        (0, 0, 3, [b"\0\3" + ITEMS[0][2:], *ITEMS[1:]]),
        (200, 0, 3, ITEMS),
    ],
)
def test_elements_at_an_index_from_the_packet(to: int, of: int, what: int, items: list[bytes]) -> None:
    pipeline = Pipeline.load((PROGRAM.with_name("indexed.json")).read_text(), compiled=False)
    head = bytes([to, of, what])
    assert pipeline.process(0, head + b"".join(ITEMS) + b"end") == [(1, head + b"".join(items) + b"end")]


def empty(root: Root) -> None:
    root["header_unions"][0]["header_ids"] = []


def twice(root: Root) -> None:
    root["header_unions"][1]["header_ids"] = root["header_unions"][0]["header_ids"]


def in_a_stack(root: Root) -> None:
    root["header_unions"][0]["header_ids"] = root["header_stacks"][0]["header_ids"][:2]


def _choice(root: Root) -> Root:
    found: Root = next(p for a in root["actions"] for p in a["primitives"] if '"?"' in json.dumps(p))
    return found


def two_types(root: Root) -> None:
    _choice(root)["parameters"][1]["value"]["value"]["left"] = {"type": "header", "value": "pick"}


def other_type(root: Root) -> None:
    _choice(root)["parameters"][0]["value"] = "pick"


@pytest.mark.refuses("headers: assignment of headers of two types")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (empty, "header union from: it has no headers"),
        (twice, "header union to: from.* belongs elsewhere too"),
        (in_a_stack, r"header union from: items\[0\] belongs elsewhere too"),
        (two_types, "one of two headers of different types"),
        (other_type, "headers of different types are assigned"),
    ],
)
def test_refused_by_name(change: Callable[[Root], None], says: str) -> None:
    root = json.loads(PROGRAM.read_text())
    change(root)
    with pytest.raises(UnsupportedError, match=says):
        Pipeline.load(root, compiled=False)
