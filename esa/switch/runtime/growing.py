"""Containers that grow in small steps: Python's own, with a hundred thousand in it, takes milliseconds now and then."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Hashable, Iterator
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")
Rank = tuple[int, int]  # -priority, entry: the lowest goes first
_SHARDS = 256
_SMALL = 4096  # up to this many one dict will do
_CHUNK = 4096
_RANKS = 512  # of a list; a list of twice as many is halved


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

    def __iter__(self) -> Iterator[T]:
        """The values."""
        return chain.from_iterable(part.values() for part in self._dicts)

    def clear(self) -> None:
        """Forget every key."""
        for part in self._dicts:
            part.clear()


class Rows(Generic[T]):
    """What is in some of the rows 0, 1, 2 and so on; `count` of them are in use."""

    def __init__(self) -> None:
        self.count = 0
        self._chunks: list[list[T | None]] = []

    def __getitem__(self, row: int) -> T:
        found = self._chunks[row // _CHUNK][row % _CHUNK]
        if found is None:
            raise KeyError(row)
        return found

    def __setitem__(self, row: int, value: T) -> None:
        while row // _CHUNK >= len(self._chunks):
            self._chunks.append([None] * _CHUNK)
        chunk = self._chunks[row // _CHUNK]
        self.count += chunk[row % _CHUNK] is None
        chunk[row % _CHUNK] = value

    def __delitem__(self, row: int) -> None:
        self._chunks[row // _CHUNK][row % _CHUNK] = None
        self.count -= 1

    @property
    def limit(self) -> int:
        """No row from here on was ever in use."""
        return _CHUNK * len(self._chunks)

    def snapshot(self) -> list[list[T | None]]:
        """What is in all rows now, from row 0 on, in pieces."""
        return [chunk.copy() for chunk in self._chunks]

    def clear(self) -> None:
        """Empty every row."""
        self.count = 0
        self._chunks.clear()


class Ranks:
    """Ranks in order, in lists of some hundred."""

    def __init__(self) -> None:
        self.count = 0
        self._lists: list[list[Rank]] = [[]]  # none is empty, but for the only one

    def __iter__(self) -> Iterator[Rank]:
        return chain.from_iterable(self._lists)

    @property
    def first(self) -> Rank:
        """The lowest. Raises IndexError where there is none."""
        return self._lists[0][0]

    def add(self, rank: Rank) -> tuple[Rank | None, Rank | None]:
        """Put in a rank; returns the ones before and behind it."""
        at = self._list_of(rank)
        part = self._lists[at]
        position = bisect_left(part, rank)
        part.insert(position, rank)
        self.count += 1
        near = self._near(at, position)
        if len(part) > 2 * _RANKS:
            self._halve(at)
        return near

    def put(self, rank: Rank) -> None:
        """Put in a rank."""
        at = self._list_of(rank)
        insort(self._lists[at], rank)
        self.count += 1
        if len(self._lists[at]) > 2 * _RANKS:
            self._halve(at)

    def _halve(self, at: int) -> None:
        part = self._lists[at]
        self._lists.insert(at + 1, part[_RANKS:])
        del part[_RANKS:]

    def remove(self, rank: Rank) -> tuple[Rank | None, Rank | None]:
        """Take out a rank; returns the ones that were before and behind it."""
        at = self._list_of(rank)
        part = self._lists[at]
        position = bisect_left(part, rank)
        near = self._near(at, position)
        del part[position]
        self.count -= 1
        if not part and len(self._lists) > 1:
            del self._lists[at]
        return near

    def _near(self, at: int, position: int) -> tuple[Rank | None, Rank | None]:
        part, lists, following = self._lists[at], self._lists, position + 1
        before = part[position - 1] if position else lists[at - 1][-1] if at else None
        after = part[following] if following < len(part) else lists[at + 1][0] if at + 1 < len(lists) else None
        return before, after

    def _list_of(self, rank: Rank) -> int:
        if len(self._lists) == 1:
            return 0
        return max(bisect_right(self._lists, rank, key=lambda part: part[0]) - 1, 0)


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

    def free(self, number: int) -> None:
        """Take one back."""
        heapq.heappush(self._freed, number)
