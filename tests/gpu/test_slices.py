"""Time slices of a holder that somebody else simulates: to the device's rule, and by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.errors import BadInput
from esa.gpu import share, time_slice
from esa.gpu.slices import Slices
from tests.effort import tries
from tests.gpu.tasks import task

pytestmark = pytest.mark.timeout(300)  # the first one compiles the device

UNIT = 10  # ns, of the holder's kernels
bursts = st.lists(st.tuples(st.integers(0, 900), st.integers(1, 40)), min_size=1, max_size=5)  # a gap, kernels


@settings(max_examples=tries(60), deadline=None)
@given(bursts, st.lists(st.integers(1, 500), min_size=1, max_size=4), st.integers(1, 30), st.integers(0, 60))
def test_a_holder_waits_as_on_the_device(
    crowd: list[tuple[int, int]], kernels: list[int], slices: int, switch_ns: int
) -> None:
    """Bursts of short kernels with gaps before them, beside a task whose launches all wait already."""
    crowd[0] = (0, crowd[0][1])
    issue = [gap if place == 0 else 0 for gap, count in crowd for place in range(count)]
    waits = [place == 0 for _, count in crowd for place in range(count)]
    holder = task("holder", 0, [UNIT] * len(issue), issue, waits)
    other = replace(task("other", 0, kernels, [0] * len(kernels), [False] * len(kernels)), background=True)
    found = share([holder, other], time_slice(UNIT * slices, switch_ns))

    turns = Slices(kernels, UNIT * slices, switch_ns)
    took = 0
    for gap, count in crowd:
        took += gap + turns.rest(gap) + turns.compute(UNIT * count)
    assert found.task("holder").jct_ns.tolist() == [took]
    assert found.task("other").busy_ns == turns.filled_ns


def test_turns_by_hand() -> None:
    turns = Slices([40], slice_ns=70, switch_ns=5)
    assert turns.compute(70) == 70
    assert turns.compute(1) == 5 + 80 + 5 + 1  # two kernels: the second one begins before the turn is over
    assert turns.compute(69) == 69
    assert turns.rest(100) == 5 + 160 + 5 - 100  # a turn of two kernels, and another one that began at 85
    assert turns.rest(85) == 5  # the turn ends as the holder comes
    assert turns.rest(0) == 0
    assert (turns.kernels, turns.filled_ns) == (8, 320)


def test_what_cannot_take_turns_is_refused() -> None:
    with pytest.raises(BadInput, match="filler: 0 kernels; allowed: at least one"):
        Slices([], 1, 0)
    with pytest.raises(BadInput, match="slice_ns: 0, switch_ns: -1; allowed: from 1, from 0"):
        Slices([1], 0, -1)
