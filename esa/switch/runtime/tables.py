"""Match-action tables as the control plane sees them; the entries lie in the words that generated code reads."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from esa.switch.compiler.layout import TablePlace
from esa.switch.compiler.program import Action, TableKey, TableNode, words_of
from esa.switch.errors import BadEntry, DuplicateEntry, NoSuchEntry, TableFull
from esa.switch.runtime.growing import Numbers, Rows, Shards
from esa.switch.runtime.hash_index import HashIndex, word
from esa.switch.runtime.ordered_rows import OrderedRows
from esa.switch.runtime.tuple_space import TupleSpace

MAX_PRIORITY = (1 << 31) - 1
Match = tuple[Any, ...]
Stored = tuple[Match, str, tuple[int, ...], int, int]  # what `Entry` has, and its number in the order of adding


@dataclass(frozen=True)
class KeyField:
    """One field of a table's key; match_type is exact, lpm, ternary, range, optional or valid."""

    name: str
    match_type: str
    bits: int


@dataclass(frozen=True)
class Entry:
    """One entry: what it matches, its action, the action's parameters, its priority (the highest number wins)."""

    match: Match
    action: str
    params: tuple[int, ...]
    priority: int = 0


def _in_order(snapshot: list[list[Stored | None]]) -> Iterator[tuple[int, Entry]]:
    rows = enumerate(chain.from_iterable(snapshot))
    found = [(stored[4], row, stored) for row, stored in rows if stored is not None]
    for _, row, stored in sorted(found):
        yield row, Entry(*stored[:4])


def checked_params(owner: str, actions: Mapping[str, Action], action: str, params: Sequence[int]) -> tuple[int, ...]:
    """The parameters of one of the `actions` that `owner` has, as integers. Raises BadEntry where they do not fit."""
    if action not in actions:
        raise BadEntry(f"{owner}: no action {action!r}; it has {', '.join(actions)}")
    wanted = actions[action].params
    if len(params) != len(wanted):
        raise BadEntry(f"{owner}: action {action} takes {len(wanted)} parameters, {len(params)} given")
    for (name, bits), value in zip(wanted, params, strict=True):
        if not 0 <= int(value) < 1 << bits:
            raise BadEntry(f"{owner}: {action}({name}={value}) does not fit {bits} bits")
    return tuple(int(value) for value in params)


class Table:
    """One table of the program. Every change is made in place: hold `Pipeline.lock` while packets may be running.

    Or give it a `guard` that keeps packets away: it is entered for no longer than they could see half of a change.
    """

    def __init__(
        self, node: TableNode, actions: Sequence[Action], place: TablePlace, m64: npt.NDArray[np.int64]
    ) -> None:
        self.name = node.name
        self._owner = f"table {node.name}"
        self.key = tuple(KeyField(k.name, k.match_type, k.bits) for k in node.key)
        self.actions = tuple(action.name for action in actions)
        self.size = place.size
        self.const = node.entries is not None
        self.const_default = node.const_default
        self.match_type = node.match_type
        self._actions = {action.name: action for action in actions}
        self._numbers = {name: at for at, name in enumerate(self.actions)}
        self._keys: tuple[TableKey, ...] = node.key
        self._place = place
        self._m64 = m64
        self._each = m64.data  # one word at a time
        self._linear = any(k.match_type in ("ternary", "range", "optional") for k in node.key)
        self._wide = any(k.bits > 64 for k in node.key)
        self._plain = self._linear and not self._wide and not any(k.match_type == "lpm" for k in node.key)
        self._lpm = next((at for at, k in enumerate(node.key) if k.match_type == "lpm"), None)
        if self._linear:
            self._lpm = None
        self.guard: AbstractContextManager[object] = nullcontext()
        self.row_resets: list[Callable[[int], None]] = []  # called with a row that gets or has lost its entry
        self._rows: Shards[int] = Shards(place.size)
        self._entries = Rows[Stored]()
        self._added = 0
        # Generated code finds entries by one of these; by the number of entries of each prefix length, which to try.
        self._tuples = TupleSpace(node.key, place, m64) if place.tuples is not None else None
        self._order = OrderedRows(place, m64) if self._linear and self._tuples is None else None
        self._hash = HashIndex(m64[place.index :][: place.hash_mask + 1], place.size) if place.hash_mask else None
        self._lengths: Counts[int] = Counts()
        self._free = Numbers(place.size)  # as BMv2 gives them out: of two with one priority the lower one wins
        self._program_default: tuple[str, tuple[int, ...]] | None = None
        if node.default_action is not None:
            name = next(a.name for a in actions if a.id == node.default_action)
            self._program_default = (name, node.default_params)
        self._default = self._program_default
        self._write_default()
        for entry in node.entries or ():
            self._insert(entry.match, entry.action, entry.params, MAX_PRIORITY - entry.priority)

    def __repr__(self) -> str:
        key = ", ".join(f"{k.name}: {k.match_type}" for k in self.key)
        return f"<Table {self.name} ({key}), {len(self)} of {self.size} entries>"

    def __len__(self) -> int:
        return self._entries.count

    @property
    def row_limit(self) -> int:
        """A row number that no entry reaches, not far above the highest."""
        return min(self._entries.limit, self.size)

    @property
    def default(self) -> tuple[str, tuple[int, ...]] | None:
        """The default action and its parameters; None if there is none."""
        return self._default

    @property
    def default_is_set(self) -> bool:
        """Whether the default action is the control plane's, not the program's."""
        return self._default is not self._program_default

    @property
    def needs_priority(self) -> bool:
        """Whether entries have a priority: there is a ternary, range or optional field in the key."""
        return self._linear

    # --- the control plane's operations -----------------------------------------------------------------------

    def parameters(self, action: str) -> int:
        """How many parameters an action of this table takes."""
        return len(self._actions[action].params)

    def add(self, match: Sequence[Any], action: str, params: Sequence[int] = (), priority: int = 0) -> int:
        """Add an entry; returns the row that it has got.

        `match` has one item per key field: exact: int; lpm: (value, prefix length); ternary: (value, mask); range:
        (low, high); optional: value or None. None means "any" for every field type but exact. Raises DuplicateEntry,
        TableFull, BadEntry.
        """
        if self.const:
            raise BadEntry(f"table {self.name}: its entries are const")
        return self._insert(match, action, params, priority)

    def modify(self, match: Sequence[Any], action: str, params: Sequence[int] = (), priority: int = 0) -> int:
        """Change the action of an entry; returns the row that it has. Raises NoSuchEntry, BadEntry."""
        if self.const:
            raise BadEntry(f"table {self.name}: its entries are const")
        row = self._find(match, priority)
        values = self._check_action(action, params)
        old = self._entries[row]
        with self.guard:
            self._write_action(row, action, values)
        self._entries[row] = (old[0], action, values, old[3], old[4])
        return row

    def delete(self, match: Sequence[Any], priority: int = 0) -> None:
        """Remove an entry. Raises NoSuchEntry, BadEntry."""
        if self.const:
            raise BadEntry(f"table {self.name}: its entries are const")
        row, words, identity = self._search(match, priority)
        del self._rows[identity], self._entries[row]
        with self.guard:
            if self._tuples is not None:
                self._tuples.remove(row, priority, words)
            elif self._order is not None:
                self._order.remove(row, priority)
            elif self._hash is not None:
                self._hash.remove(row)
                if self._lpm is not None:
                    self._count_length(words[-1], -1)
        self._free.free(row)
        self._reset_counters(row)

    def entries(self) -> Iterator[Entry]:
        """The entries there are now, in the order they were added."""
        return (entry for _, entry in self.snapshot())

    def snapshot(self) -> Iterator[tuple[int, Entry]]:
        """(row, entry) of the entries there are now, in the order they were added, whatever changes from here on.

        It takes a fraction of a millisecond, and the time for each entry only when that is taken from the iterator.
        """
        return _in_order(self._entries.snapshot())

    def get(self, match: Sequence[Any], priority: int = 0) -> Entry:
        """The entry with this match. Raises NoSuchEntry."""
        return Entry(*self._entries[self._find(match, priority)][:4])

    def entry(self, row: int) -> Entry:
        """The entry in a row."""
        return Entry(*self._entries[row][:4])

    def row(self, match: Sequence[Any], priority: int = 0) -> int:
        """The number of an entry, which indexes its direct counter. Raises NoSuchEntry."""
        return self._find(match, priority)

    def clear(self) -> None:
        """Remove every entry that the program itself does not state."""
        if self.const:
            return
        for row in self._rows:
            self._reset_counters(row)
        self._free = Numbers(self.size)
        self._rows.clear()
        self._entries.clear()
        if self._tuples is not None:
            self._tuples.clear()
        if self._order is not None:
            self._order.clear()
        if self._hash is not None:
            self._hash.clear()
            self._lengths.clear()
            if self._lpm is not None:
                self._write_lengths()

    def set_default(self, action: str, params: Sequence[int] = ()) -> None:
        """Set the default action. Raises BadEntry where the program fixes it."""
        values = self._check_action(action, params)
        if self.const_default and (action, values) != self._program_default:
            raise BadEntry(f"table {self.name}: its default action is const")
        self._default = (action, values)
        self._write_default()

    def reset_default(self) -> None:
        """Back to the default action of the program."""
        self._default = self._program_default
        self._write_default()

    # --- checks -----------------------------------------------------------------------------------------------

    def _check_action(self, action: str, params: Sequence[int]) -> tuple[int, ...]:
        return checked_params(self._owner, self._actions, action, params)

    def _bad(self, key: KeyField, item: Any) -> BadEntry:
        return BadEntry(f"table {self.name}: {item!r} is no {key.match_type} match of {key.bits} bits for {key.name}")

    def _normal_field(self, key: KeyField, item: Any) -> tuple[int, int]:
        """(value, mask), (value, prefix length) or (low, high) of one field's match."""
        full = (1 << key.bits) - 1
        kind = key.match_type
        if item is None and kind not in ("exact", "valid"):
            return (0, full) if kind == "range" else (0, 0)
        if kind in ("exact", "valid"):
            if item is None or isinstance(item, tuple) or not 0 <= int(item) <= full:
                raise self._bad(key, item)
            return int(item), full
        if not isinstance(item, tuple):
            item = (item, key.bits) if kind == "lpm" else (item, item) if kind == "range" else (item, full)
        first, second = int(item[0]), int(item[1])
        if not 0 <= first <= full:
            raise self._bad(key, item)
        if kind == "lpm":
            if not 0 <= second <= key.bits:
                raise self._bad(key, item)
            return first & (full ^ ((1 << (key.bits - second)) - 1)), second
        if not 0 <= second <= full or (kind == "range" and first > second):
            raise self._bad(key, item)
        return (first, second) if kind == "range" else (first & second, second)

    def _normal(self, match: Sequence[Any], priority: int) -> tuple[list[int], tuple[Any, ...]]:
        """The words of key that generated code compares, and what identifies the entry."""
        if len(match) != len(self.key) or not self.key:
            raise BadEntry(f"table {self.name}: its key has {len(self.key)} fields, the match {len(match)}")
        pairs = [self._normal_field(key, item) for key, item in zip(self.key, match, strict=True)]
        if self._plain:
            words = [word for pair in pairs for word in pair]
            return words, (*words, priority)
        if self._linear:
            words = []
            for key, (first, second) in zip(self.key, pairs, strict=True):
                if key.match_type == "lpm":
                    full = (1 << key.bits) - 1
                    second = full ^ ((1 << (key.bits - second)) - 1)
                words += [first, second] if key.bits <= 64 else words_of(first, key.bits) + words_of(second, key.bits)
            return words, (*words, priority)
        if self._wide:
            words = [
                word for key, (first, _) in zip(self.key, pairs, strict=True) for word in words_of(first, key.bits)
            ]
        else:
            words = [first for first, _ in pairs]
        if self._lpm is not None:
            words.append(pairs[self._lpm][1])
        return words, tuple(words)

    def _search(self, match: Sequence[Any], priority: int) -> tuple[int, list[int], tuple[Any, ...]]:
        """The row, the words and what identifies an entry."""
        words, identity = self._normal(match, priority)
        row = self._rows.get(identity)
        if row is None:
            raise NoSuchEntry(
                f"table {self.name}: no entry {tuple(match)!r}" + (f", priority {priority}" if self._linear else "")
            )
        return row, words, identity

    def _find(self, match: Sequence[Any], priority: int) -> int:
        return self._search(match, priority)[0]

    # --- words ------------------------------------------------------------------------------------------------

    def _insert(self, match: Sequence[Any], action: str, params: Sequence[int], priority: int) -> int:
        words, identity = self._normal(match, priority)
        values = self._check_action(action, params)
        rows = self._rows.part(identity)
        if identity in rows:
            raise DuplicateEntry(f"table {self.name}: there is an entry {tuple(match)!r} already")
        row = self._free.lowest()
        if row is None:
            raise TableFull(f"table {self.name}: all {self.size} entries are taken")
        self._free.take()
        self._write_action(row, action, values)
        self._reset_counters(row)
        self._added += 1
        self._entries[row] = (tuple(match), action, values, priority, self._added)
        rows[identity] = row
        if not self._linear:
            for at, w in enumerate(words, self._place.keys + row * self._place.words):
                self._each[at] = word(w)
        # Until here no packet finds the row.
        with self.guard:
            if self._tuples is not None:
                self._tuples.add(row, priority, words)
            elif self._order is not None:
                self._order.add(row, priority, words)
            elif self._hash is not None:
                self._hash.add(row, words)
                if self._lpm is not None:
                    self._count_length(words[-1], 1)
        return row

    def _count_length(self, length: int, by: int) -> None:
        self._lengths[length] += by
        if self._lengths[length] == 0:
            del self._lengths[length]
            self._write_lengths()
        elif self._lengths[length] == by:  # the first one
            self._write_lengths()

    def _write_lengths(self) -> None:
        lengths = sorted(self._lengths, reverse=True)
        self._m64[self._place.order : self._place.order + len(lengths)] = lengths
        self._m64[self._place.count] = len(lengths)

    def _write_action(self, row: int, action: str, params: Sequence[int]) -> None:
        self._each[self._place.actions + row] = self._numbers[action]
        first = self._place.parameters + row * self._place.params
        wanted = self._actions[action]
        if wanted.words > len(params):
            each = zip(wanted.params, params, strict=True)
            params = [number for (_, bits), value in each for number in words_of(value, bits)]
        for at, value in enumerate(params, first):
            self._each[at] = word(value)

    def _write_default(self) -> None:
        if self._default is None:
            self._m64[self._place.actions + self.size] = -1
        else:
            self._write_action(self.size, *self._default)

    def _reset_counters(self, row: int) -> None:
        for reset in self.row_resets:
            reset(row)
        if self._place.packets != self._place.bytes:
            self._m64[self._place.packets + row] = 0
            self._m64[self._place.bytes + row] = 0
