"""The hash index that generated code searches for exact and LPM entries: open addressing, nothing left of the deleted.

What stands behind a deleted slot moves up (Knuth, The Art of Computer Programming, vol. 3, 6.4, algorithm R). So a
search passes over no more than it must, and no change takes longer than a row of full slots is long.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MASK64 = (1 << 64) - 1


def word(number: int) -> int:
    """`number`'s low 64 bits as a signed word."""
    number &= MASK64
    return number - (1 << 64) if number >> 63 else number


def scatter(words: Sequence[int]) -> int:
    """The hash of a key, as generated code computes it (helpers.mix)."""
    value = 0
    for key in words:
        value = ((value ^ key) * 0x9E3779B97F4A7C15) & MASK64
        value ^= value >> 29
    return value


class HashIndex:
    """`slots`: int64 words, a power of two of them and more than the `rows`; each is a row + 1, or 0: empty."""

    def __init__(self, slots: npt.NDArray[np.int64], rows: int) -> None:
        self._all = slots
        self._slots = slots.data  # what reads and writes one word at a time is three times as fast so
        self._mask = len(slots) - 1
        self._home = np.zeros(rows, np.int64).data  # the slot that a row's key asks for

    def add(self, row: int, words: Sequence[int]) -> None:
        """Take up a row; the caller has written its key."""
        mask, slots = self._mask, self._slots
        self._home[row] = slot = scatter(words) & mask
        while slots[slot]:
            slot = (slot + 1) & mask
        slots[slot] = row + 1

    def remove(self, row: int) -> None:
        """Let go of a row."""
        mask, slots, homes = self._mask, self._slots, self._home
        hole = homes[row]
        while slots[hole] != row + 1:
            hole = (hole + 1) & mask
        slot = (hole + 1) & mask
        while number := slots[slot]:
            # May it stand in the hole? Yes, unless a search for it would begin behind that.
            if (slot - homes[number - 1]) & mask >= (slot - hole) & mask:
                slots[hole] = number
                hole = slot
            slot = (slot + 1) & mask
        slots[hole] = 0

    def replace(self, old: int, new: int) -> None:
        """Let a row with the same key take another's place."""
        mask, slots = self._mask, self._slots
        slot = self._home[new] = self._home[old]
        while slots[slot] != old + 1:
            slot = (slot + 1) & mask
        slots[slot] = new + 1

    def clear(self) -> None:
        """Let go of every row."""
        self._all[:] = 0
