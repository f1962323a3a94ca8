"""A dict and a list that grow in small steps: Python's own, with a hundred thousand in it, takes milliseconds."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")
_SHARDS = 256
_SMALL = 4096  # up to this many one dict will do
_CHUNK = 4096


class Shards:
    """Numbers by key, as a dict has them, in dicts of a share each; `size`: how many there may be."""

    def __init__(self, size: int) -> None:
        self._dicts: list[dict[Hashable, int]] = [{} for _ in range(_SHARDS if size > _SMALL else 1)]
        self._mask = len(self._dicts) - 1

    def __contains__(self, key: Hashable) -> bool:
        return key in self._dicts[hash(key) & self._mask]

    def __getitem__(self, key: Hashable) -> int:
        return self._dicts[hash(key) & self._mask][key]

    def get(self, key: Hashable) -> int | None:
        """The number of a key; None if it has none."""
        return self._dicts[hash(key) & self._mask].get(key)

    def __setitem__(self, key: Hashable, value: int) -> None:
        self._dicts[hash(key) & self._mask][key] = value

    def __delitem__(self, key: Hashable) -> None:
        del self._dicts[hash(key) & self._mask][key]

    def __iter__(self) -> Iterator[int]:
        """The numbers."""
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
