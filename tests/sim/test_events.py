"""The heap of events, against a sorted list."""

from __future__ import annotations

import heapq

from hypothesis import given, settings
from hypothesis import strategies as st

from esa.sim.engine.events import MAX_SOURCES, NOTHING, SOURCE_BITS, Events, new_events, pop, push, replace

CAPACITY = 256
LONGEST_NS = 2**43 - 1  # two hours and a half

times = st.integers(0, 3) | st.integers(0, LONGEST_NS)
sources = st.integers(0, 3) | st.integers(0, MAX_SOURCES - 1)
moves = st.lists(st.tuples(st.sampled_from(["push", "push", "pop", "replace"]), times, sources), max_size=CAPACITY)


def first(events: Events) -> tuple[int, int]:
    key = int(events.key[0])
    return key >> SOURCE_BITS, key & (MAX_SOURCES - 1)


@settings(max_examples=300, deadline=None)
@given(moves)
def test_events_come_in_the_order_of_time_then_source(moves: list[tuple[str, int, int]]) -> None:
    events = new_events(CAPACITY)
    expected: list[tuple[int, int]] = []
    for move, *event in moves:
        if move == "push":
            push(events, *event)
            heapq.heappush(expected, tuple(event))
        elif expected and move == "pop":
            pop(events)
            heapq.heappop(expected)
        elif expected:
            replace(events, *event)
            heapq.heapreplace(expected, tuple(event))
        assert events.fill[0] == len(expected)
        assert first(events) == expected[0] if expected else events.key[0] == NOTHING
    for event in sorted(expected):
        assert first(events) == event
        pop(events)
    assert (events.key == NOTHING).all()
