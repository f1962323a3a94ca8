"""Entries of a large ternary, range or optional table, found by a hash for each tuple of masks that many of them have.

Tuple space search (Srinivasan, Suri, Varghese, SIGCOMM 1999), with tuples by their highest priority and a stop where
none can be better, as Open vSwitch's classifier has it (Pfaff et al., NSDI 2015, section 3.2). A range counts as the
shortest prefix around it. Entries whose masks few others have lie in `OrderedRows`, which are tried one by one: with
fewer than SAME_MASKS of them that is no slower than a hash.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from esa.switch.compiler.layout import SAME_MASKS, TablePlace
from esa.switch.compiler.program import TableKey, cells_of
from esa.switch.runtime.growing import ENTRY, RANK_BITS, Rank, Ranks, Shards
from esa.switch.runtime.hash_index import MASK64, HashIndex, word
from esa.switch.runtime.ordered_rows import OrderedRows

Words = tuple[int, ...]


class _Tuple:
    """The entries with the same masks; `place` among those with a hash: the rank of where its masks lie."""

    __slots__ = ("masks", "place", "ranks")

    def __init__(self, masks: Words) -> None:
        self.masks, self.ranks = masks, Ranks()
        self.place: Rank | None = None


def _with_priority_of(rank: Rank, number: int) -> Rank:
    return rank & ~ENTRY | number


def _around(lows: Sequence[int], highs: Sequence[int]) -> list[int]:
    """The masks of the shortest prefix that has both numbers; words, the lowest first."""
    if len(lows) == 1:
        return [MASK64 ^ ((1 << (lows[0] ^ highs[0]).bit_length()) - 1)]
    masks, differ = [], False
    for low, high in zip(reversed(lows), reversed(highs), strict=True):
        masks.append(0 if differ else MASK64 ^ ((1 << (low ^ high).bit_length()) - 1))
        differ = differ or low != high
    return masks[::-1]


class TupleSpace:
    """The entries of one table in `m64`, at `place`. `words`: of key, as `Table` has them, none negative."""

    def __init__(self, key: Sequence[TableKey], place: TablePlace, m64: npt.NDArray[np.int64]) -> None:
        assert place.tuples is not None
        self._place = tuples = place.tuples
        self._m64 = m64
        self._each = m64.data  # what moves some words is three times as fast so
        self._bytes = m64.data.cast("B")
        self._rest = OrderedRows(place, m64)
        self._fields = [(k.match_type == "range", cells_of(k.bits)) for k in key]
        self._plain = not any(ranges or cells > 1 for ranges, cells in self._fields)
        self._ranges = any(ranges for ranges, _ in self._fields)
        # A row: where its masks lie, masked words, priority; where there are ranges, the next one's number and these.
        self._packed = struct.Struct(f"={1 + tuples.cells}Qq{tuples.width - tuples.next}Q")
        self._hash = HashIndex(m64[tuples.index :][: tuples.hash_mask + 1], place.size)
        self._many = SAME_MASKS
        self._few = SAME_MASKS // 2  # so `limit` tuples are enough
        self._tuples: Shards[_Tuple] = Shards(place.size)  # by masks
        self._same: Shards[Rank | Ranks] = Shards(place.size)  # by where masks lie, and masked words
        self._begin()

    def _begin(self) -> None:
        self._free = list(range(self._place.limit - 1, -1, -1))
        self._order: list[Rank] = []  # tuples with a hash: of where their masks lie, with their highest priority
        self._m64[self._place.count] = 0

    def clear(self) -> None:
        """Take every entry away."""
        self._rest.clear()
        self._hash.clear()
        self._tuples.clear()
        self._same.clear()
        self._begin()

    def add(self, rank: Rank, words: Sequence[int]) -> None:
        """Put in an entry."""
        masks, masked, ranges = self._split(words)
        group = self._tuples.get(masks)
        if group is None:
            group = self._tuples[masks] = _Tuple(masks)
        at = 0 if group.place is None else group.place & ENTRY
        self._packed.pack_into(self._bytes, 8 * self._row(rank & ENTRY), at, *masked, -(rank >> RANK_BITS), *ranges)
        group.ranks.put(rank)
        if at:
            self._put(rank, (at, *masked))
            self._move(group)
        else:
            self._rest.add(rank, words)
            if group.ranks.count >= self._many:
                self._promote(group)

    def remove(self, rank: Rank, words: Sequence[int]) -> None:
        """Take out an entry."""
        masks, masked, _ = self._split(words)
        group = self._tuples[masks]
        group.ranks.remove(rank)
        if group.place is None:
            self._rest.remove(rank, words)
        else:
            self._take(rank, (group.place & ENTRY, *masked))
            if group.ranks.count < self._few:
                self._demote(group, group.place)
            else:
                self._move(group)
        if not group.ranks.count:
            del self._tuples[masks]

    # --- which tuples have a hash --------------------------------------------------------------------------------

    def _promote(self, group: _Tuple) -> None:
        """Give a tuple a hash; its entries lie in rows until now."""
        at = self._place.masks + self._free.pop() * self._place.cells
        self._m64[at : at + self._place.cells] = [word(mask) for mask in group.masks]
        group.place = _with_priority_of(group.ranks.first, at)
        self._order_changes(None, group.place)
        for rank in group.ranks:
            entry = rank & ENTRY
            self._rest.remove(rank, ())
            self._m64[self._row(entry)] = at
            self._put(rank, (at, *self._masked(entry)))

    def _demote(self, group: _Tuple, place: Rank) -> None:
        """Take a tuple's hash away: there are few entries left, which go to rows."""
        at = place & ENTRY
        for rank in group.ranks:
            masked = self._masked(rank & ENTRY)
            self._take(rank, (at, *masked))
            self._rest.add(rank, self._words(rank & ENTRY, group.masks, masked))
        self._order_changes(place, None)
        self._free.append((at - self._place.masks) // self._place.cells)
        group.place = None

    def _move(self, group: _Tuple) -> None:
        """Let a tuple with a hash stand where its highest priority says."""
        assert group.place is not None
        first = group.ranks.first
        if first >> RANK_BITS != group.place >> RANK_BITS:
            now = _with_priority_of(first, group.place & ENTRY)
            self._order_changes(group.place, now)
            group.place = now

    def _order_changes(self, old: Rank | None, new: Rank | None) -> None:
        """Tell generated code that a tuple comes, goes or stands elsewhere."""
        order, each = self._order, self._each
        at = len(order) if old is None else bisect_left(order, old)
        if old is not None:
            del order[at]
        to = len(order) if new is None else bisect_left(order, new)
        if new is not None:
            order.insert(to, new)
        start, end = self._place.order + 2 * min(at, to), self._place.order + 2 * max(at, to)
        if to < at:
            each[start + 2 : end + 2] = each[start:end]
        elif at < to:
            each[start:end] = each[start + 2 : end + 2]
        if new is not None:
            here = self._place.order + 2 * to
            each[here], each[here + 1] = -(new >> RANK_BITS), new & ENTRY
        each[self._place.count] = len(order)

    # --- entries with the same masks and masked words: the best is in the hash, with ranges the others behind it ------
    # `key`: where the masks lie, and the masked words

    def _put(self, rank: Rank, key: Words) -> None:
        part = self._same.part(key)
        same = part.get(key)
        if same is None:
            part[key] = rank
            self._hash.add(rank & ENTRY, key)
            return
        if not isinstance(same, Ranks):
            first, same = same, Ranks()
            same.add(first)
            part[key] = same
        before, after = same.add(rank)
        self._link(rank, after)
        if before is not None:
            self._link(before, rank)
        elif after is not None:
            self._hash.replace(after & ENTRY, rank & ENTRY)

    def _take(self, rank: Rank, key: Words) -> None:
        part = self._same.part(key)
        same, before, after = part[key], None, None
        if isinstance(same, Ranks):
            before, after = same.remove(rank)
        if before is not None:
            self._link(before, after)
        elif after is not None:
            self._hash.replace(rank & ENTRY, after & ENTRY)
        else:
            del part[key]
            self._hash.remove(rank & ENTRY)

    def _link(self, rank: Rank, after: Rank | None) -> None:
        if self._ranges:
            self._each[self._row(rank & ENTRY) + self._place.next] = 0 if after is None else (after & ENTRY) + 1

    # --- words --------------------------------------------------------------------------------------------------------

    def _row(self, entry: int) -> int:
        return self._place.rows + entry * self._place.width

    def _split(self, words: Sequence[int]) -> tuple[Words, Words, Words]:
        """Masks, masked words, and with ranges 0 and their lows and highs, of an entry's words."""
        if self._plain:
            return tuple(words[1::2]), tuple(words[::2]), ()
        masks: list[int] = []
        masked: list[int] = []
        ranges = [0] if self._ranges else []
        at = 0
        for is_range, cells in self._fields:
            lows, highs = words[at : at + cells], words[at + cells : at + 2 * cells]
            at += 2 * cells
            if is_range:
                ranges += [*lows, *highs]
                highs = _around(lows, highs)
                lows = [low & mask for low, mask in zip(lows, highs, strict=True)]
            masked += lows
            masks += highs
        return tuple(masks), tuple(masked), tuple(ranges)

    def _read(self, entry: int, first: int, count: int) -> list[int]:
        at = self._row(entry) + first
        return [number & MASK64 for number in self._m64[at : at + count].tolist()]

    def _masked(self, entry: int) -> Words:
        return tuple(self._read(entry, 1, self._place.cells))

    def _words(self, entry: int, masks: Words, masked: Words) -> list[int]:
        """An entry's words again."""
        ranges = self._read(entry, self._place.next + 1, self._place.width - self._place.next - 1)
        words: list[int] = []
        at = at_range = 0
        for is_range, cells in self._fields:
            if is_range:
                words += ranges[at_range : at_range + 2 * cells]
                at_range += 2 * cells
            else:
                words += [*masked[at : at + cells], *masks[at : at + cells]]
            at += cells
        return words
