"""One gap, filled: to the device's rule where both can say, and what a prediction is for."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.errors import BadInput
from esa.gpu import fikit, share
from esa.gpu.gap import Filled, Filler, fill
from tests.gpu.tasks import believing, task

pytestmark = pytest.mark.timeout(300)  # the first one compiles the device

QUICK = settings(max_examples=40, deadline=None)
ns = st.integers(500, 60_000)


@QUICK
@given(st.integers(10, 60_000), ns, st.lists(st.lists(ns, min_size=1, max_size=4), min_size=1, max_size=3))
def test_a_gap_is_filled_as_on_the_device(gap_ns: int, expected_ns: int, kernels: list[list[int]]) -> None:
    """A holder with two kernels and a gap between them, beside tasks whose launches all wait already."""
    holder = believing(task("holder", 0, [100, 100], [1, gap_ns]), [100, 100], [expected_ns, 0])
    others = [
        replace(task(f"filler-{k}", 5, mine, [0] * len(mine), [False] * len(mine), 500), start_ns=2)
        for k, mine in enumerate(kernels)
    ]
    others = [replace(each, background=True) for each in others]
    found = share([holder, *others], fikit(epsilon_ns=0))
    ours = fill(gap_ns, expected_ns, [Filler(mine, exact=True) for mine in kernels])
    assert found.tasks[0].worst_delay_ns == ours.late_ns
    filled = sum(each.filled for each in found.tasks[1:])
    assert filled == ours.kernels


@QUICK
@given(ns, st.lists(ns, min_size=1, max_size=4))
def test_exact_predictions_are_never_late(gap_ns: int, kernels: list[int]) -> None:
    found = fill(gap_ns, gap_ns, [Filler(kernels, exact=True)])
    assert found.late_ns == 0
    assert found.filled_ns <= gap_ns


@QUICK
@given(ns, ns, st.lists(ns, min_size=1, max_size=4))
def test_nobody_is_later_than_the_longest_kernel(gap_ns: int, expected_ns: int, kernels: list[int]) -> None:
    for expected in (expected_ns, math.inf):
        assert fill(gap_ns, expected, [Filler(kernels)]).late_ns < max(kernels)


def test_a_gap_by_hand() -> None:
    assert fill(100, math.inf, [Filler([30])]) == Filled(4, 120, 20)
    assert fill(100, 100, [Filler([30])]) == Filled(3, 90, 0)
    assert fill(100, 200, [Filler([30])]) == Filled(4, 120, 20)
    assert fill(100, 100, [Filler([30]), Filler([60])]) == Filled(2, 90, 0)  # the longest first
    assert fill(100, 100, [Filler([30])], epsilon_ns=100) == Filled(0, 0, 0)
    queue = [Filler([30, 50])]  # 40 in the mean, which is what is expected of both
    assert fill(100, 100, queue) == Filled(2, 80, 0)
    assert fill(100, 100, queue) == Filled(2, 80, 0)


def test_fillers_without_kernels_are_refused() -> None:
    with pytest.raises(BadInput, match="filler: 0 kernels; allowed: at least one"):
        Filler([])
