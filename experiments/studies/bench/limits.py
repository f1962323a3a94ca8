"""What this machine does at best: the limits that the other rows are held against.

The null forwarder, the limit of switches over veth, is measured beside them (`gradients`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from esa.native import native_uncounted as native
from esa.sim.engine.events import SOURCE_BITS, Events, new_events, push, replace_top, source_of
from experiments.studies.bench.row import Row, row

COPIED_BYTES = 64 << 20
EVENTS, SOURCES = 10_000_000, 128  # as many sources as have something to happen in the bench of the simulator
REPEATS = 9


@native
def _turn_over(events: Events, count: int) -> int:
    """Take the first event and put one of its source some time later, so many times."""
    seen = 0
    for step in range(count):
        key = events.key[0]
        source = source_of(events, key)
        seen += source
        replace_top(events, (key >> SOURCE_BITS) + 1 + (step * 7919 & 1023), source)
    return seen


def _heap() -> list[float]:
    """Million events/s, each taken and replaced, of the simulator's own heap, with nothing else to do."""
    rates = []
    for _ in range(REPEATS):
        events = new_events(SOURCES)
        for source in range(SOURCES):
            push(events, source, source)
        _turn_over(events, 1)
        start = time.perf_counter()
        _turn_over(events, EVENTS)
        rates.append(EVENTS / (time.perf_counter() - start) / 1e6)
    return rates


def _copy() -> list[float]:
    """GB/s read and as many written, of memory that no cache holds."""
    source, copy = np.ones(COPIED_BYTES, np.uint8), np.zeros(COPIED_BYTES, np.uint8)
    rates = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        np.copyto(copy, source)
        rates.append(COPIED_BYTES / (time.perf_counter() - start) / 1e9)
    return rates


def measure(say: Callable[[str], None]) -> Iterator[Row]:
    """Rows without a peer."""
    say("limits")
    yield row("memory copy, 64 MiB", "GB/s", _copy())
    yield row(f"event heap alone, {SOURCES} sources", "million events/s", _heap())
