"""Small tasks for tests, written and drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from esa.gpu.kernels import Kernels
from esa.gpu.task import Launches, Profile, Task


def task(
    name: str, priority: int, durations: list[int], issue: list[int], waits: list[bool] | None = None, requests: int = 1
) -> Task:
    """Kernels of these ns, each its own identity; the host waits before each launch unless `waits` says otherwise."""
    count = len(durations)
    kernels = Kernels.of([f"{name}-{place}" for place in range(count)], [-1] * count, [1] * count, durations)
    waiting = np.ones(count, np.bool_) if waits is None else np.asarray(waits, np.bool_)
    return Task(name, priority, Launches(kernels, np.asarray(issue, np.int64), waiting), requests)


def believing(one: Task, expected: list[int], gaps: list[int]) -> Task:
    return replace(one, profile=Profile(np.asarray(expected, np.int64), np.asarray(gaps, np.int64)))


@st.composite
def tasks(draw: st.DrawFn, priority: int | None = None, name: str = "task", most: int = 60_000) -> Task:
    """A task whose host waits or not, with requests one after the other, or due at times of their own."""
    count = draw(st.integers(1, 6))
    times = st.lists(st.integers(1, most), min_size=count, max_size=count)
    waits = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    one = task(
        name,
        draw(st.integers(0, 9)) if priority is None else priority,
        draw(times),
        draw(times),
        waits,
        draw(st.integers(1, 4)),
    )
    one = replace(one, think_ns=draw(st.integers(0, most)), start_ns=draw(st.integers(0, most)))
    if draw(st.booleans()):
        due = sorted(draw(st.lists(st.integers(0, 10 * most), min_size=one.requests, max_size=one.requests)))
        one = replace(one, arrivals_ns=tuple(due))
    return one


@st.composite
def crowds(draw: st.DrawFn, holder: int | None = None) -> list[Task]:
    """Two to four tasks; holder: the first one's priority, above all others'."""
    first = draw(tasks(holder, "task-0"))
    others = [
        draw(tasks(None if holder is None else draw(st.integers(holder + 1, 9)), f"task-{number}"))
        for number in range(1, draw(st.integers(2, 4)))
    ]
    return [first, *others]
