"""Containers that grow in small steps: Python's own, with a hundred thousand in it, takes milliseconds now and then."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Hashable, Iterator
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")
Rank = int  # of an entry: the lowest goes first, which is that of the highest priority, of several the lowest number
RANK_BITS = 32
ENTRY = (1 << RANK_BITS) - 1  # what of a rank is the entry's number
_SHARDS = 256
_SMALL = 4096  # up to this many one dict will do
_RANKS = 512  # of a list; a list of twice as many is halved


def rank_of(priority: int, entry: int) -> Rank:
    """The rank of an entry with a priority; `rank & ENTRY` and `-(rank >> RANK_BITS)` are these again."""
    return entry - (priority << RANK_BITS)


class Shards(Generic[T]):
    """What a dict has, in dicts of a share each; `size`: how many there may be."""

    def __init__(self, size: int) -> None:
        self._dicts: list[dict[Hashable, T]] = [{} for _ in range(_SHARDS if size > _SMALL else 1)]
        self._mask = len(self._dicts) - 1

    def part(self, key: Hashable) -> dict[Hashable, T]:
        """The dict that has a key, if any has: who does several things with one key finds it once."""
        return self._dicts[hash(key) & self._mask]

    def __getitem__(self, key: Hashable) -> T:
        return self._dicts[hash(key) & self._mask][key]

    def get(self, key: Hashable) -> T | None:
        """The value of a key; None if it has none."""
        return self._dicts[hash(key) & self._mask].get(key)

    def __setitem__(self, key: Hashable, value: T) -> None:
        self._dicts[hash(key) & self._mask][key] = value

    def __delitem__(self, key: Hashable) -> None:
        del self._dicts[hash(key) & self._mask][key]

    def clear(self) -> None:
        """Forget every key."""
        for part in self._dicts:
            part.clear()


class Ranks:
    """Ranks in order, in lists of some hundred."""

    def __init__(self) -> None:
        self.count = 0
        self._lists: list[list[Rank]] = [[]]  # none is empty, but for the only one
        self._bounds: list[Rank] = []  # list i + 1 has no rank below bound i, list i none that is not

    def __iter__(self) -> Iterator[Rank]:
        return chain.from_iterable(self._lists)

    @property
    def first(self) -> Rank:
        """The lowest. Raises IndexError where there is none."""
        return self._lists[0][0]

    def add(self, rank: Rank) -> tuple[Rank | None, Rank | None]:
        """Put in a rank; returns the ones before and behind it."""
        at = bisect_right(self._bounds, rank)
        part = self._lists[at]
        position = bisect_left(part, rank)
        part.insert(position, rank)
        near = self._near(at, position)
        self._added(at)
        return near

    def put(self, rank: Rank) -> None:
        """Put in a rank."""
        at = bisect_right(self._bounds, rank)
        insort(self._lists[at], rank)
        self._added(at)

    def _added(self, at: int) -> None:
        """Count one more rank, which list `at` has."""
        self.count += 1
        part = self._lists[at]
        if len(part) > 2 * _RANKS:
            self._lists.insert(at + 1, part[_RANKS:])
            self._bounds.insert(at, part[_RANKS])
            del part[_RANKS:]

    def remove(self, rank: Rank) -> tuple[Rank | None, Rank | None]:
        """Take out a rank; returns the ones that were before and behind it."""
        at = bisect_right(self._bounds, rank)
        part = self._lists[at]
        position = bisect_left(part, rank)
        near = self._near(at, position)
        del part[position]
        self.count -= 1
        if not part and len(self._lists) > 1:
            del self._lists[at], self._bounds[max(at - 1, 0)]
        return near

    def _near(self, at: int, position: int) -> tuple[Rank | None, Rank | None]:
        part, lists, following = self._lists[at], self._lists, position + 1
        before = part[position - 1] if position else lists[at - 1][-1] if at else None
        after = part[following] if following < len(part) else lists[at + 1][0] if at + 1 < len(lists) else None
        return before, after


class Numbers:
    """Numbers below `limit`; the lowest that is free is given out."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._next = 0
        self._freed: list[int] = []

    def lowest(self) -> int | None:
        """The number that the next `take` takes; None if all are taken."""
        if self._freed:
            return self._freed[0]
        return self._next if self._next < self.limit else None

    def take(self) -> None:
        """Give out the lowest."""
        if self._freed:
            heapq.heappop(self._freed)
        else:
            self._next += 1

    @property
    def used(self) -> int:
        """How many are given out."""
        return self._next - len(self._freed)

    def free(self, number: int) -> None:
        """Take one back."""
        heapq.heappush(self._freed, number)
