"""Copies of octets are NumPy's; asking for memory early changes nothing."""

from __future__ import annotations

from random import Random

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.memory import copy_octets, prefetch
from esa.native import native_uncounted as native
from tests.effort import tries

ROWS, COLUMNS = 5, 90

Octets = npt.NDArray[np.uint8]


@native
def _copy(to: Octets, to_row: int, to_at: int, source: Octets, row: int, at: int, count: int) -> None:
    prefetch(source, row)
    prefetch(to, to_row)
    copy_octets(to, to_row, to_at, source, row, at, count)


rows = st.integers(0, ROWS - 1)
columns = st.integers(0, COLUMNS)


@settings(max_examples=tries(200), deadline=None)
@given(st.randoms(use_true_random=False), rows, columns, rows, columns, columns, st.booleans())
def test_octets_are_copied_as_numpy_does(
    random: Random, to_row: int, to_at: int, row: int, at: int, count: int, part: bool
) -> None:
    """Within a row, whole ones too, and out of arrays whose rows are further apart than they are long."""
    count = min(count, COLUMNS - to_at, COLUMNS - at)
    source = np.frombuffer(random.randbytes(ROWS * COLUMNS * 2), np.uint8).reshape(ROWS, 2 * COLUMNS)
    source = source[:, :COLUMNS] if part else np.ascontiguousarray(source[:, :COLUMNS])
    to = np.frombuffer(random.randbytes(ROWS * COLUMNS), np.uint8).reshape(ROWS, COLUMNS).copy()
    expected = to.copy()
    expected[to_row, to_at : to_at + count] = source[row, at : at + count]
    plainly = to.copy()
    _copy(to, to_row, to_at, source, row, at, count)
    _copy.py_func(plainly, to_row, to_at, source, row, at, count)  # type: ignore[attr-defined]
    assert np.array_equal(to, expected)
    assert np.array_equal(plainly, expected)
