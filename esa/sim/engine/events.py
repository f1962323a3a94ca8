"""What happens next: a heap of (time, source).

A source is whatever can have something happen to it: a line whose first packet arrives, an endpoint whose timer runs
out, a worker that has finished computing, a packet that a fault holds back. Every source but the endpoints' timers has
at most one event, so the heap stays small however many packets are on their way.

Time and source share one 64-bit key. In it the source is scrambled, with the time and the simulation's seed for a key:
what happens in one nanosecond happens in an order that favours nobody, and a run repeats bit for bit. Scrambling maps
the sources' numbers one to one onto themselves, so the key says which source it was.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native_uncounted as native

SOURCE_BITS = 20
MAX_SOURCES = 1 << SOURCE_BITS
EMPTY_KEY = 2**63 - 1  # the key of an empty heap
_SIZE = 0
_MASK = MAX_SOURCES - 1
_HALF = SOURCE_BITS // 2  # so x ^= x >> _HALF undoes itself
_ODD = 0x9E375  # of SOURCE_BITS bits, as all numbers here: products fit in 64
_INVERSE = pow(_ODD, -1, MAX_SOURCES)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ARITY = 4  # shallow, and the children of a node share a cache line


class Events(NamedTuple):
    """Make one with `new_events`."""

    key: npt.NDArray[np.int64]  # (capacity,): time_ns << SOURCE_BITS | the source, scrambled
    size: npt.NDArray[np.int64]  # (1,)
    seed: npt.NDArray[np.uint64]  # (1,): of the order within a nanosecond


def new_events(capacity: int, seed: int = 0) -> Events:
    """Room for `capacity` events; behind them there are always empty places for a node's other children."""
    key = np.full(capacity + _ARITY - 1, EMPTY_KEY, np.int64)
    return Events(key, np.zeros(1, np.int64), np.full(1, seed, np.uint64))


@native
def _salt(time_ns: int, seed: int) -> int:
    """SOURCE_BITS bits that depend on all of time and seed: half a splitmix64 step (Steele, Lea, Flood 2014)."""
    z = (np.uint64(time_ns) + np.uint64(seed) * _GOLDEN) * _MIX_1
    z = (z ^ (z >> np.uint64(29))) * _MIX_2
    return int(np.int64(z >> np.uint64(64 - SOURCE_BITS)))


@native
def _key(events: Events, time_ns: int, source: int) -> int:
    x = np.int64(source) ^ _salt(time_ns, events.seed[0])
    x = x * _ODD & _MASK
    x ^= x >> _HALF
    x = x * _ODD & _MASK
    return int(np.int64(time_ns) << SOURCE_BITS | x)


@native
def source_of(events: Events, key: int) -> int:
    """The source in a key: what `_key` did, backwards."""
    x = key & _MASK
    x = x * _INVERSE & _MASK
    x ^= x >> _HALF
    x = x * _INVERSE & _MASK
    return int(x ^ _salt(key >> SOURCE_BITS, events.seed[0]))


@native
def push(events: Events, time_ns: int, source: int) -> None:
    """Something will happen to `source`. The caller sees to the room."""
    at = events.size[_SIZE]
    events.size[_SIZE] = at + 1
    key = _key(events, time_ns, source)
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
    last = events.size[_SIZE] - 1
    events.size[_SIZE] = last
    key = int(events.key[last])
    events.key[last] = EMPTY_KEY
    if last > 0:
        _sift_down(events, key)


@native
def replace_top(events: Events, time_ns: int, source: int) -> None:
    """`pop`, then `push`, in one go."""
    _sift_down(events, _key(events, time_ns, source))


@native
def _sift_down(events: Events, key: int) -> None:
    """Put `key` in the place of the first event."""
    fill = events.size[_SIZE]
    at = 0
    while True:
        first = _ARITY * at + 1
        if first >= fill:
            break
        # All four, as what is behind the last event is EMPTY_KEY; no branch depends on which is the least.
        left = first + (events.key[first + 1] < events.key[first])
        right = first + 2 + (events.key[first + 3] < events.key[first + 2])
        least = left + (right - left) * (events.key[right] < events.key[left])
        if key <= events.key[least]:
            break
        events.key[at] = events.key[least]
        at = least
    events.key[at] = key
