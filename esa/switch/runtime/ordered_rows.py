"""Rows of ternary, range and optional entries in the order in which generated code tries them: by priority.

Each is (entry, key words). A large table has them in blocks that are tried one after another, so that an entry that
comes or goes moves no more than a block. Neighbours that fit into one block become one: two have more than one holds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from esa.switch.compiler.layout import TablePlace
from esa.switch.runtime.growing import ENTRY, Rank
from esa.switch.runtime.hash_index import word


class OrderedRows:
    """The rows of one table in `m64`, at `place`."""

    def __init__(self, place: TablePlace, m64: npt.NDArray[np.int64]) -> None:
        self._m64 = m64
        self._place = place
        self._width = place.words + 1
        self._block = place.block or place.size
        self.clear()

    def clear(self) -> None:
        """Take every row away."""
        blocks = self._place.n_blocks or 1
        self._free = list(range(blocks - 1, 0, -1))
        # By place in the order: its ranks, and which block holds them. There is always one.
        self._lists: list[list[Rank]] = [[]]
        self._numbers = [0]
        self._note_blocks(0)

    def add(self, rank: Rank, words: Sequence[int]) -> None:
        """Put in an entry's row."""
        at = full = self._block_of(rank)
        splits = len(self._lists[at]) == self._block
        if splits:
            self._split(at)
            at = self._block_of(rank)
        ranks = self._lists[at]
        position = bisect_left(ranks, rank)
        first, width = self._first(at), self._width
        here, end = first + position * width, first + len(ranks) * width
        self._m64[here + width : end + width] = self._m64[here:end]
        self._m64[here] = rank & ENTRY
        self._m64[here + 1 : here + width] = [word(w) for w in words]
        ranks.insert(position, rank)
        self._note(at)
        if splits:  # not before: the two halves and the row are more than a block holds, and stay apart
            self._merge(full + 1)
            self._merge(full - 1)

    def remove(self, rank: Rank, _: Sequence[int]) -> None:
        """Take away an entry's row."""
        at = self._block_of(rank)
        ranks = self._lists[at]
        position = bisect_left(ranks, rank)
        first, width = self._first(at), self._width
        here, end = first + position * width, first + len(ranks) * width
        self._m64[here : end - width] = self._m64[here + width : end]
        del ranks[position]
        self._note(at)
        self._merge(at)
        self._merge(at - 1)

    def _block_of(self, rank: Rank) -> int:
        """The last block that begins with no higher rank."""
        low, high = 0, len(self._lists) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self._lists[middle][0] <= rank:
                low = middle
            else:
                high = middle - 1
        return low

    def _first(self, at: int) -> int:
        return self._place.order + self._numbers[at] * self._block * self._width

    def _split(self, at: int) -> None:
        """Move a full block's second half to a block of its own."""
        ranks, half = self._lists[at], self._block // 2
        number = self._free.pop()
        source = self._first(at) + half * self._width
        self._lists.insert(at + 1, ranks[half:])
        self._numbers.insert(at + 1, number)
        words = (len(ranks) - half) * self._width
        target = self._first(at + 1)
        self._m64[target : target + words] = self._m64[source : source + words]
        del ranks[half:]
        self._note_blocks(at)

    def _merge(self, at: int) -> None:
        """Make a block and the next one, if they fit into one."""
        if not 0 <= at < len(self._lists) - 1 or len(self._lists[at]) + len(self._lists[at + 1]) > self._block:
            return
        words = len(self._lists[at + 1]) * self._width
        source, target = self._first(at + 1), self._first(at) + len(self._lists[at]) * self._width
        self._m64[target : target + words] = self._m64[source : source + words]
        self._lists[at] += self._lists.pop(at + 1)
        self._free.append(self._numbers.pop(at + 1))
        self._note_blocks(at)

    def _note(self, at: int) -> None:
        """Tell generated code how much a block holds."""
        rows = len(self._lists[at])
        if self._place.block:
            self._m64[self._place.blocks + 2 * at + 1] = rows
        else:
            self._m64[self._place.count] = rows

    def _note_blocks(self, first: int) -> None:
        """Tell generated code of the blocks from place `first` of the order on."""
        if self._place.block:
            table = [word for at in range(first, len(self._lists)) for word in (self._first(at), len(self._lists[at]))]
            start = self._place.blocks + 2 * first
            self._m64[start : start + len(table)] = table
            self._m64[self._place.count] = len(self._lists)
        else:
            self._note(0)
