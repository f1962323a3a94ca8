"""Sums as messages by themselves: ranks whose messages arrive at once; how many, how long, what they hold."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from esa.sim.transport.exchange import (
    NONE,
    exchange_begin,
    exchange_done,
    exchange_sent,
    exchange_step,
    new_exchanges,
    peers_of,
)
from esa.sim.transport.steps import chain_bytes, parts_of, sent_bytes, steps_of

TRANSPORTS = ("ring", "halving-doubling")


class Job:
    """Ranks whose messages arrive when they are asked for; each holds whose gradients are in each part."""

    def __init__(self, transport: str, ranks: int, octets: int) -> None:
        self.layout = steps_of(transport, ranks)
        self.parts = parts_of(transport, ranks)
        self.ranks = ranks
        peers = [peers_of(steps) for steps in self.layout]
        first = np.cumsum([0, *map(len, peers)]).tolist()
        self.target = [peer for mine in peers for peer in mine]
        self.state = new_exchanges([self.layout], [self.parts], first[:-1], first[-1])
        self.messages: list[list[int]] = [[] for _ in range(ranks)]
        self.holds = [[{rank} for _ in range(self.parts)] for rank in range(ranks)]
        self.way: list[deque[tuple[int, list[set[int]]]]] = [deque() for _ in self.target]
        for rank in range(ranks):
            exchange_begin(self.state, rank, octets)

    def move(self, rank: int) -> bool:
        """Let a rank send what it may; False if that is nothing."""
        octets, flow = exchange_step(self.state, rank)
        if octets == 0:
            return False
        me = self.state.rank[rank]
        step = self.state.step[me["first_step"] + me["at"]]
        assert flow == step["send"]
        parts = range(step["first"], step["end"])
        self.way[flow].append((parts.start, [set(self.holds[rank][part]) for part in parts]))
        self.messages[rank].append(octets)
        exchange_sent(self.state, rank, flow)
        return True

    def deliver(self, flow: int) -> bool:
        if not self.way[flow]:
            return False
        first, contents = self.way[flow].popleft()
        mine = self.holds[self.target[flow]]
        for part, whose in enumerate(contents, first):
            # Gradients are added, once each, or a finished sum takes the place of what is there.
            assert len(whose) == self.ranks or not mine[part] & whose
            mine[part] = mine[part] | whose
        self.state.come[flow] += 1
        return True

    def run(self, order: list[int]) -> None:
        flows = range(len(self.way))
        while sum(self.move(rank) for rank in order) + sum(self.deliver(flow) for flow in flows):
            pass


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 5, 6, 7, 8, 13, 31, 32])
@pytest.mark.parametrize("octets", [1, 10, 1_000_001, 2**31 + 4])
def test_every_rank_gets_every_gradient_once(transport: str, ranks: int, octets: int) -> None:
    for order in (list(range(ranks)), list(reversed(range(ranks))), [0] * 3 + list(range(ranks))):
        job = Job(transport, ranks, octets)
        job.run(order)
        assert job.holds == [[set(range(ranks))] * job.parts] * ranks
        assert job.messages == [sent_bytes(transport, ranks, octets, place) for place in range(ranks)]
        assert not job.state.come.any()
        assert [exchange_done(job.state, rank) for rank in range(ranks)] == [octets] * ranks
        assert [exchange_done(job.state, rank) for rank in range(ranks)] == [0] * ranks  # once


@pytest.mark.parametrize("ranks", [2, 3, 4, 7])
def test_a_ring_passes_a_part_on_in_each_of_its_steps(ranks: int) -> None:
    for place in range(ranks):
        messages = sent_bytes("ring", ranks, 1_000_000, place)
        assert len(messages) == len(chain_bytes("ring", ranks, 1_000_000)) == 2 * (ranks - 1)
        assert max(messages) - min(messages) <= 1
        assert abs(sum(messages) - 2 * (ranks - 1) / ranks * 1_000_000) <= 2 * ranks


@pytest.mark.parametrize("ranks", [2, 4, 8, 32])
def test_halves_shrink_and_grow_again(ranks: int) -> None:
    octets = 1 << 20
    halves = [octets >> k for k in range(1, ranks.bit_length())]
    for place in range(ranks):
        assert sent_bytes("halving-doubling", ranks, octets, place) == [*halves, *reversed(halves)]
    assert chain_bytes("halving-doubling", ranks, octets) == [*halves, *reversed(halves)]
    assert sum(halves) * 2 == 2 * (ranks - 1) / ranks * octets
    nearest = [steps["send"][0] for steps in steps_of("halving-doubling", ranks)]
    assert nearest == [place ^ 1 for place in range(ranks)]  # the largest messages stay close


def test_ranks_beyond_a_power_of_two_hand_all_to_the_next_one() -> None:
    steps = steps_of("halving-doubling", 6)  # two more than four: 0 and 2 are folded into 1 and 3
    assert [len(mine) for mine in steps] == [2, 6, 2, 6, 4, 4]
    assert steps[0].tolist() == [(1, NONE, 0, 4), (NONE, 1, 0, 0)]
    assert (steps[1][0].tolist(), steps[1][-1].tolist()) == ((NONE, 0, 0, 0), (0, NONE, 0, 4))
    assert [mine["send"][:2].tolist() for mine in steps[4:]] == [[5, 1], [4, 3]]
    assert sum(sent_bytes("halving-doubling", 6, 4000, 1)) == 2 * 3000 + 4000


def test_a_rank_sends_the_next_part_when_one_has_come() -> None:
    job = Job("ring", 4, 400)
    assert job.move(0)
    assert not job.move(0)
    job.move(3)
    assert job.deliver(3)
    assert job.move(0)
    assert job.messages[0] == [100, 100]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_another_rank_is_ahead_with_waits_for_its_sum(transport: str) -> None:
    job = Job(transport, 2, 8)
    job.run([0, 1])
    job.state.come[1] += 1  # a part of the next sum, from rank 1
    assert exchange_done(job.state, 0) == 8
    assert exchange_step(job.state, 0) == (0, NONE)
    exchange_begin(job.state, 0, 8)
    assert exchange_step(job.state, 0) == (4, 0)
    exchange_sent(job.state, 0, 0)
    assert exchange_step(job.state, 0) == (4, 0)
    assert job.state.come[1] == 0
