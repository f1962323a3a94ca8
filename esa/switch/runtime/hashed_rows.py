"""Rows of exact and LPM entries, which generated code finds by the hash of their key."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Sequence
from struct import Struct

import numpy as np
import numpy.typing as npt

from esa.switch.compiler.layout import TablePlace
from esa.switch.runtime.growing import ENTRY, Rank
from esa.switch.runtime.hash_index import HashIndex


class HashedRows:
    """The entries of one table in `m64`, at `place`; `prefixes`: the last word of their keys is a prefix length."""

    def __init__(self, place: TablePlace, m64: npt.NDArray[np.int64], prefixes: bool) -> None:
        self._place = place
        self._m64 = m64
        self._bytes = m64.data.cast("B")
        self._packed = Struct(f"={place.words}Q")
        slots = place.hash_mask + 1 if place.hash_mask else 0  # none where there is no key
        self._hash = HashIndex(m64[place.index : place.index + slots], place.size)
        self._prefixes = prefixes
        self._lengths: Counts[int] = Counts()  # by prefix length, how many entries have it

    def clear(self) -> None:
        """Take every entry away."""
        self._hash.clear()
        self._lengths.clear()
        self._write_lengths()

    def add(self, rank: Rank, words: Sequence[int]) -> None:
        """Put in an entry."""
        row = rank & ENTRY
        self._packed.pack_into(self._bytes, 8 * (self._place.keys + row * self._place.words), *words)
        self._hash.add(row, words)
        if self._prefixes:
            self._count_length(words[-1], 1)

    def remove(self, rank: Rank, words: Sequence[int]) -> None:
        """Take out an entry."""
        self._hash.remove(rank & ENTRY)
        if self._prefixes:
            self._count_length(words[-1], -1)

    def _count_length(self, length: int, by: int) -> None:
        self._lengths[length] += by
        if self._lengths[length] == 0:
            del self._lengths[length]
            self._write_lengths()
        elif self._lengths[length] == by:  # the first one
            self._write_lengths()

    def _write_lengths(self) -> None:
        """Tell generated code which prefix lengths to try, the longest first."""
        lengths = sorted(self._lengths, reverse=True)
        self._m64[self._place.order : self._place.order + len(lengths)] = lengths
        self._m64[self._place.count] = len(lengths)
