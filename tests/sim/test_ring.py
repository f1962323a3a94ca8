"""The ring by itself: ranks that pass messages on at once; how many, how long, and in which step which chunk."""

from __future__ import annotations

from collections import deque

import pytest

from esa.sim.transport.ring import new_rings, ring_begin, ring_done, ring_sent, ring_step


class Ring:
    """Ranks whose messages arrive when they are asked for; each holds which gradients are in each chunk."""

    def __init__(self, ranks: int, octets: int) -> None:
        self.state = new_rings([ranks])
        self.ranks = ranks
        self.sent = [0] * ranks
        self.messages: list[list[int]] = [[] for _ in range(ranks)]
        self.chunks = [[{rank} for _ in range(ranks)] for rank in range(ranks)]  # whose gradients are in it
        self.way: list[deque[tuple[int, set[int]]]] = [deque() for _ in range(ranks)]  # to each rank
        for rank in range(ranks):
            ring_begin(self.state, rank, octets)

    def move(self, rank: int) -> bool:
        """Let a rank send what it may; False if that is nothing."""
        octets = ring_step(self.state, rank)
        if octets == 0:
            return False
        step = len(self.messages[rank])
        chunk = (rank - step) % self.ranks
        self.messages[rank].append(octets)
        ring_sent(self.state, rank)
        self.way[(rank + 1) % self.ranks].append((chunk, set(self.chunks[rank][chunk])))
        return True

    def deliver(self, rank: int) -> bool:
        if not self.way[rank]:
            return False
        chunk, whose = self.way[rank].popleft()
        self.chunks[rank][chunk] |= whose
        self.state["waiting"][rank] += 1
        return True

    def run(self, order: list[int]) -> None:
        while sum(self.move(rank) or self.deliver(rank) for rank in order):
            pass


@pytest.mark.parametrize("ranks", [2, 3, 4, 7])
@pytest.mark.parametrize("octets", [1, 10, 1_000_001])
def test_every_rank_has_every_gradient_after_two_p_minus_one_messages(ranks: int, octets: int) -> None:
    for order in (list(range(ranks)), list(reversed(range(ranks))), [0] * 3 + list(range(ranks))):
        ring = Ring(ranks, octets)
        ring.run(order)
        assert [len(messages) for messages in ring.messages] == [2 * (ranks - 1)] * ranks
        assert ring.chunks == [[set(range(ranks))] * ranks] * ranks
        for messages in ring.messages:
            assert max(messages) - min(messages) <= 1
            assert abs(sum(messages) - 2 * (ranks - 1) / ranks * octets) <= 2 * ranks
        assert [ring_done(ring.state, rank) for rank in range(ranks)] == [octets] * ranks
        assert [ring_done(ring.state, rank) for rank in range(ranks)] == [0] * ranks  # once


def test_a_rank_sends_the_next_chunk_when_one_has_come() -> None:
    ring = Ring(4, 400)
    assert ring.move(0)
    assert not ring.move(0)
    ring.move(3)
    assert ring.deliver(0)
    assert ring.move(0)
    assert ring.messages[0] == [100, 100]


def test_what_the_rank_before_is_ahead_with_waits_for_its_sum() -> None:
    ring = Ring(2, 8)
    ring.run([0, 1])
    ring.state["waiting"][0] += 1  # a chunk of the next sum
    assert ring_done(ring.state, 0) == 8
    assert ring_step(ring.state, 0) == 0
    ring_begin(ring.state, 0, 8)
    assert ring_step(ring.state, 0) == 4
    ring_sent(ring.state, 0)
    assert ring_step(ring.state, 0) == 4
    assert ring.state["waiting"][0] == 0


def test_one_rank_is_done_when_it_begins() -> None:
    state = new_rings([1])
    ring_begin(state, 0, 100)
    assert (ring_step(state, 0), ring_done(state, 0), ring_done(state, 0)) == (0, 100, 0)
