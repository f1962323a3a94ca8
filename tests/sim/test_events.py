"""The heap of events, against a sorted list."""

from __future__ import annotations

import heapq
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.sim.engine.events import (
    EMPTY_KEY,
    MAX_SOURCES,
    SOURCE_BITS,
    Events,
    new_events,
    pop,
    push,
    replace_top,
    source_of,
)
from tests.effort import tries

CAPACITY = 256
LONGEST_NS = 2**43 - 1  # two hours and a half

times = st.integers(0, 3) | st.integers(0, LONGEST_NS)
sources = st.integers(0, 3) | st.integers(0, MAX_SOURCES - 1)
moves = st.lists(st.tuples(st.sampled_from(["push", "push", "pop", "replace"]), times, sources), max_size=CAPACITY)


def first(events: Events) -> tuple[int, int]:
    key = int(events.key[0])
    return key >> SOURCE_BITS, source_of(events, key)


def key_of(events: Events, time_ns: int, source: int) -> int:
    """Where an event comes in the order."""
    alone = new_events(1, int(events.seed[0]))
    push(alone, time_ns, source)
    return int(alone.key[0])


@settings(max_examples=tries(300), deadline=None)
@given(moves, st.integers(0, 2**64 - 1))
def test_events_come_in_the_order_of_time(moves: list[tuple[str, int, int]], seed: int) -> None:
    events = new_events(CAPACITY, seed)
    expected: list[tuple[int, tuple[int, int]]] = []
    for move, *event in moves:
        entry = (key_of(events, *event), tuple(event))
        if move == "push":
            push(events, *event)
            heapq.heappush(expected, entry)
        elif expected and move == "pop":
            pop(events)
            heapq.heappop(expected)
        elif expected:
            replace_top(events, *event)
            heapq.heapreplace(expected, entry)
        assert events.size[0] == len(expected)
        assert first(events) == expected[0][1] if expected else events.key[0] == EMPTY_KEY
    for _, event in sorted(expected):
        assert first(events) == event
        pop(events)
    assert (events.key == EMPTY_KEY).all()


@settings(max_examples=tries(300), deadline=None)
@given(times, times, sources, sources, st.integers(0, 2**64 - 1))
def test_time_goes_before_everything_and_sources_do_not_meet(a_ns, b_ns, a, b, seed) -> None:
    events = new_events(1, seed)
    if (a_ns, a) != (b_ns, b):
        assert key_of(events, a_ns, a) != key_of(events, b_ns, b)
    if a_ns < b_ns:
        assert key_of(events, a_ns, a) < key_of(events, b_ns, b)


@pytest.mark.parametrize("among", [(0, 1), (3, 700_000), (0, 1, 2), (4, 5, 6, 7), (0, 2, 4, 6, 8, 10, 12, 14)])
@pytest.mark.parametrize("by", ["seed", "time"])
def test_of_what_happens_in_one_nanosecond_each_source_is_as_often_first(among: tuple[int, ...], by: str) -> None:
    rounds = 2000
    firsts: Counter[int] = Counter()
    for k in range(rounds):
        seed, now_ns = (k, 12_345) if by == "seed" else (1, 100 * k)
        events = new_events(len(among), seed)
        for source in among:
            push(events, now_ns, source)
        firsts[first(events)[1]] += 1
    mean = rounds / len(among)
    assert all(abs(firsts[source] - mean) < 5 * mean**0.5 for source in among), firsts
