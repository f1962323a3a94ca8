"""What happens next: a heap of (time, source).

A source is whatever can have something happen to it: a line whose first packet arrives, an endpoint whose timer runs
out, a worker that has finished computing, a packet that a fault holds back. Time and source share one 64-bit key, so
events of one nanosecond happen in the order of their sources and a run repeats bit for bit. Every source but the
endpoints' timers has at most one event, so the heap stays small however many packets are on their way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native_uncounted as native

SOURCE_BITS = 20
MAX_SOURCES = 1 << SOURCE_BITS
NOTHING = 2**63 - 1  # the key of an empty heap
_FILL = 0
_ARITY = 4  # shallow, and the children of a node share a cache line


class Events(NamedTuple):
    """Make one with `new_events`."""

    key: npt.NDArray[np.int64]  # (capacity,): time_ns << SOURCE_BITS | source
    fill: npt.NDArray[np.int64]  # (1,)


def new_events(capacity: int) -> Events:
    """Room for `capacity` events."""
    return Events(np.full(capacity, NOTHING, np.int64), np.zeros(1, np.int64))


@native
def _key(time_ns: int, source: int) -> int:
    return int(np.int64(time_ns) << SOURCE_BITS | source)


@native
def push(events: Events, time_ns: int, source: int) -> None:
    """Something will happen to `source`. The caller sees to the room."""
    at = events.fill[_FILL]
    events.fill[_FILL] = at + 1
    key = _key(time_ns, source)
    while at > 0:
        parent = (at - 1) // _ARITY
        if events.key[parent] <= key:
            break
        events.key[at] = events.key[parent]
        at = parent
    events.key[at] = key


@native
def pop(events: Events) -> None:
    """Take the first event away; there is one."""
    last = events.fill[_FILL] - 1
    events.fill[_FILL] = last
    key = int(events.key[last])
    events.key[last] = NOTHING
    if last > 0:
        _sink(events, key)


@native
def replace(events: Events, time_ns: int, source: int) -> None:
    """`pop`, then `push`, in one go."""
    _sink(events, _key(time_ns, source))


@native
def _sink(events: Events, key: int) -> None:
    """Put `key` in the place of the first event."""
    fill = events.fill[_FILL]
    at = 0
    while True:
        first = _ARITY * at + 1
        if first >= fill:
            break
        least = first
        for child in range(first + 1, min(first + _ARITY, fill)):
            if events.key[child] < events.key[least]:
                least = child
        if key <= events.key[least]:
            break
        events.key[at] = events.key[least]
        at = least
    events.key[at] = key
