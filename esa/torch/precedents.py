"""Which earlier sum a sum repeats, and so the scales to begin with.

A collective comes without a name, but a training calls the same ones again and again: a sum is taken for the repetition
of that earlier one of its shape before which the longest row of the same calls was made. All of this depends on the
order of the calls alone, so every rank comes to the same answer. A wrong one costs a repeat, never a digit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

import numpy as np

from esa.scales import Exponents

REMEMBERED_CALLS = 512
REMEMBERED_FRAGMENTS = 2**26  # a byte each


class Precedents:
    """`recall` and `remember` in turn, once each for every sum.

    >>> precedents = Precedents()
    >>> for shape, exponent in (("a", 1), ("a", 2), ("b", 3)):
    ...     assert precedents.recall(shape) is None or shape == "a"
    ...     precedents.remember(np.array([exponent], np.int8))
    >>> precedents.recall("a").tolist()  # nothing before it is alike: the latest
    [2]
    >>> precedents.remember(np.array([4], np.int8))
    >>> precedents.recall("a").tolist()  # as behind the first "a"
    [2]
    """

    def __init__(self, calls: int = REMEMBERED_CALLS, fragments: int = REMEMBERED_FRAGMENTS) -> None:
        self._limits = calls, fragments
        self._numbers: dict[Hashable, int] = {}
        self._shapes = np.empty(0, np.int64)
        self._alike = np.empty(0, np.int64)  # calls up to this one that are as those up to the latest
        self._agreed: deque[Exponents] = deque()
        self._fragments = 0

    def recall(self, shape: Hashable) -> Exponents | None:
        """What was remembered with the precedent of this sum; None if no other of this shape is known.

        shape: equal where exponents of the one fit the other.
        """
        number = self._numbers.setdefault(shape, len(self._numbers))
        alike = np.concatenate([np.ones(1, np.int64), self._alike + 1])
        alike[:-1][self._shapes != number] = 0
        self._shapes = np.append(self._shapes, number)
        self._alike, earlier = alike, alike[:-1]
        if not earlier.any():
            return None
        latest = int(np.argmax(earlier[::-1]))
        return self._agreed[len(earlier) - 1 - latest]

    def remember(self, agreed: Exponents) -> None:
        """The exponents to begin with when this sum is repeated."""
        self._agreed.append(agreed)
        self._fragments += agreed.size
        calls, fragments = self._limits
        while len(self._agreed) > calls or (self._fragments > fragments and len(self._agreed) > 1):
            self._fragments -= self._agreed.popleft().size
            self._shapes, self._alike = self._shapes[1:], self._alike[1:]
