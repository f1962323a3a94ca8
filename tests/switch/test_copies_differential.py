"""Copies of random packets on BMv2 and here: clones that sessions shorten, multicast, passes, `truncate`."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping, Sequence

import pytest

from esa.switch import Pipeline
from tests.switch import bmv2_files, bmv2_served
from tests.switch.control import PROGRAMS, Client, config, group, insert, modify, session
from tests.switch.served import inject, primary_client
from tests.switch.test_differential import same

LIMITS = {1: 0, 2: 20, 3: 9, 4: 4, 5: 100}  # by session: bytes that its clones have at most, 0 any
UNLIMITED = dict.fromkeys(LIMITS, 0)


def write(client: Client, limits: Mapping[int, int] = UNLIMITED) -> None:
    for number, limit in limits.items():
        copies = [(1, 0), (2, 7), (2, 9)][: 1 + number % 3]
        client.write(insert(session(number, *copies, packet_length_bytes=limit)))
    client.write(modify(session(5, (3, 1), packet_length_bytes=limits[5])))
    client.write(insert(group(1, (1, 3), (2, 3), (3, 1))), insert(group(2, (2, 5))))


def copy_packets(rng: random.Random, count: int) -> list[bytes]:
    out = []
    for number in range(count):
        asked = [rng.choice([0, 0, *range(7)]), rng.choice([0, 0, *range(7)]), rng.choice([0, 0, 1, 2, 3])]
        asked += [rng.choice([0, 0, 1, 3]), rng.choice([0, 0, 1, 2]), rng.choice([0, 0, 0, 6, 25, 200])]
        out.append(bytes(asked) + struct.pack(">H", number) + rng.randbytes(rng.choice([0, 1, 10, 60])))
    return out


def ours(packets: Sequence[bytes], write: Callable[[Client], None]) -> dict[int, list[bytes]]:
    sent: dict[int, list[bytes]] = {port: [] for port in range(bmv2_files.PORTS)}
    with primary_client(push=False) as (client, device):
        client.push(message=config("copies"))
        write(client)
        for packet in packets:
            for port, copy in inject(device, 0, packet):
                sent[port].append(copy)
    return sent


@pytest.mark.bmv2
@pytest.mark.supports(
    "copies: multicast",
    "externs: truncate",
    "copies: clones from ingress and egress, resubmit, recirculate, with the fields that are kept",
)
@pytest.mark.parametrize("seed", [61, 62])
def test_copies_are_bmv2s(seed: int) -> None:
    packets = copy_packets(random.Random(seed), 300)
    left = bmv2_served.run(config("copies"), write, {0: packets})
    # a packet that comes round again may be before or after the next one there
    same(*({port: sorted(each[port]) for port in each} for each in (left, ours(packets, write))))
    told = [(packet[8], packet[18]) for port in left for packet in left[port] if len(packet) > 18]
    assert {kind for kind, _ in told} == {0, 1, 2, 5}
    assert {passes for _, passes in told} == {0, 1, 2}


@pytest.mark.supports("copies: clones cut to their session's length")
def test_clones_are_cut_as_their_sessions_say() -> None:
    """BMv2 has no such sessions: the same clones as without, cut."""
    packets = [packet for packet in copy_packets(random.Random(63), 300) if packet[5] == 0]
    whole = ours(packets, write)
    cut = ours(packets, lambda client: write(client, LIMITS))
    shorter = 0
    for port, copies in whole.items():
        for copy, found in zip(copies, cut[port], strict=True):
            kind = copy[8] if len(copy) > 8 else 0
            limit = LIMITS.get(copy[kind - 1], 0) if kind in (1, 2) else 0
            assert found == (copy[:limit] if limit else copy)
            shorter += found != copy
    assert shorter > 50


def test_where_a_clone_is_asked_for_says_of_which_kind_it_is() -> None:
    """As in BMv2, whose two primitives do the same."""
    text = (PROGRAMS / "copies.json").read_text()
    one, other = "clone_ingress_pkt_to_egress", "clone_egress_pkt_to_egress"
    assert one in text
    assert other in text
    pipelines = [Pipeline.load(each, compiled=False) for each in (text, text.replace(one, other))]
    for pipeline in pipelines:
        assert pipeline.clone_sessions is not None
        pipeline.clone_sessions.set(1, [(2, 0)])
    for packet in (bytes([1, 0, 0, 0, 0, 0, 0, 9]), bytes([0, 1, 0, 0, 0, 0, 0, 9])):
        left, same_left = (pipeline.process(0, packet) for pipeline in pipelines)
        assert left == same_left
        assert len(left) == 2
