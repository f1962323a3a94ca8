"""Match-action tables as the control plane sees them; the entries lie in the words that generated code reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from esa.switch.compiler.layout import TablePlace
from esa.switch.compiler.program import Action, TableKey, TableNode
from esa.switch.errors import BadEntry, DuplicateEntry, NoSuchEntry, TableFull

MASK64 = (1 << 64) - 1
MAX_PRIORITY = (1 << 31) - 1
Match = tuple[Any, ...]


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


def word(number: int) -> int:
    """`number`'s low 64 bits as a signed word."""
    number &= MASK64
    return number - (1 << 64) if number >> 63 else number


def mix(value: int) -> int:
    """The scatter function of helpers.mix, on Python integers."""
    value = (value * 0x9E3779B97F4A7C15) & MASK64
    return value ^ (value >> 29)


def scatter(words: Sequence[int]) -> int:
    """The hash of a key, as generated code computes it."""
    value = 0
    for key in words:
        value = mix((value ^ key) & MASK64)
    return value


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
    """One table of the program. Every change is made in place: hold `Pipeline.lock` while packets may be running."""

    def __init__(
        self, node: TableNode, actions: Sequence[Action], place: TablePlace, m64: npt.NDArray[np.int64]
    ) -> None:
        self.name = node.name
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
        self._linear = any(k.match_type in ("ternary", "range", "optional") for k in node.key)
        self._lpm = next((at for at, k in enumerate(node.key) if k.match_type == "lpm"), None)
        if self._linear:
            self._lpm = None
        self._rows: dict[tuple[Any, ...], int] = {}
        self._entries: dict[int, Entry] = {}
        self._order: list[tuple[int, int, int]] = []  # (-priority, sequence number, row)
        self._sequence = 0
        self.row_resets: list[Callable[[int], None]] = []  # called with a row that gets or has lost its entry
        self._free: list[int] = list(range(place.size - 1, -1, -1)) if place.size < 1 << 16 else []
        self._next_row = 0 if not self._free else place.size
        self._deleted = 0
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
        return f"<Table {self.name} ({key}), {len(self._entries)} of {self.size} entries>"

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def default(self) -> tuple[str, tuple[int, ...]] | None:
        """The default action and its parameters; None if there is none."""
        return self._default

    @property
    def needs_priority(self) -> bool:
        """Whether entries have a priority: there is a ternary, range or optional field in the key."""
        return self._linear

    # --- the control plane's operations -----------------------------------------------------------------------

    def parameters(self, action: str) -> int:
        """How many parameters an action of this table takes."""
        return len(self._actions[action].params)

    def add(self, match: Sequence[Any], action: str, params: Sequence[int] = (), priority: int = 0) -> None:
        """Add an entry.

        `match` has one item per key field: exact: int; lpm: (value, prefix length); ternary: (value, mask); range:
        (low, high); optional: value or None. None means "any" for every field type but exact. Raises DuplicateEntry,
        TableFull, BadEntry.
        """
        if self.const:
            raise BadEntry(f"table {self.name}: its entries are const")
        self._insert(match, action, params, priority)

    def modify(self, match: Sequence[Any], action: str, params: Sequence[int] = (), priority: int = 0) -> None:
        """Change the action of an entry. Raises NoSuchEntry, BadEntry."""
        if self.const:
            raise BadEntry(f"table {self.name}: its entries are const")
        row = self._find(match, priority)
        values = self._check_action(action, params)
        old = self._entries[row]
        self._entries[row] = Entry(old.match, action, values, old.priority)
        self._write_action(row, action, values)

    def delete(self, match: Sequence[Any], priority: int = 0) -> None:
        """Remove an entry. Raises NoSuchEntry, BadEntry."""
        if self.const:
            raise BadEntry(f"table {self.name}: its entries are const")
        row = self._find(match, priority)
        entry = self._entries.pop(row)
        words, identity = self._normal(entry.match, entry.priority)
        del self._rows[identity]
        if self._linear:
            self._order = [item for item in self._order if item[2] != row]
            self._write_order()
        else:
            self._unindex(words, row)
            if self._lpm is not None:
                self._write_lengths()
        self._free.append(row)
        self._reset_counters(row)

    def entries(self) -> Iterator[Entry]:
        """The entries, in the order they were added."""
        return iter(list(self._entries.values()))

    def get(self, match: Sequence[Any], priority: int = 0) -> Entry:
        """The entry with this match. Raises NoSuchEntry."""
        return self._entries[self._find(match, priority)]

    def row(self, match: Sequence[Any], priority: int = 0) -> int:
        """The number of an entry, which indexes its direct counter. Raises NoSuchEntry."""
        return self._find(match, priority)

    def clear(self) -> None:
        """Remove every entry that the program itself does not state."""
        if self.const:
            return
        for entry in list(self._entries.values()):
            self.delete(entry.match, entry.priority)

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
        return checked_params(f"table {self.name}", self._actions, action, params)

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
        if self._linear:
            words = []
            for key, (first, second) in zip(self.key, pairs, strict=True):
                if key.match_type == "lpm":
                    full = (1 << key.bits) - 1
                    second = full ^ ((1 << (key.bits - second)) - 1)
                words += [first, second]
            return words, (tuple(words), priority)
        words = [first for first, _ in pairs]
        if self._lpm is not None:
            words.append(pairs[self._lpm][1])
        return words, tuple(words)

    def _find(self, match: Sequence[Any], priority: int) -> int:
        _, identity = self._normal(match, priority)
        if identity not in self._rows:
            raise NoSuchEntry(
                f"table {self.name}: no entry {tuple(match)!r}" + (f", priority {priority}" if self._linear else "")
            )
        return self._rows[identity]

    # --- words ------------------------------------------------------------------------------------------------

    def _insert(self, match: Sequence[Any], action: str, params: Sequence[int], priority: int) -> None:
        words, identity = self._normal(match, priority)
        values = self._check_action(action, params)
        if identity in self._rows:
            raise DuplicateEntry(f"table {self.name}: there is an entry {tuple(match)!r} already")
        if self._free:
            row = self._free.pop()
        elif self._next_row < self.size:
            row, self._next_row = self._next_row, self._next_row + 1
        else:
            raise TableFull(f"table {self.name}: all {self.size} entries are taken")
        self._write_action(row, action, values)
        self._reset_counters(row)
        self._entries[row] = Entry(tuple(match), action, values, priority)
        self._rows[identity] = row
        if self._linear:
            self._sequence += 1
            self._order.append((-priority, self._sequence, row))
            self._order.sort()
            self._write_order()
            return
        keys = self._place.keys + row * self._place.words
        self._m64[keys : keys + len(words)] = [word(w) for w in words]
        self._index(words, row)
        if self._lpm is not None:
            self._write_lengths()

    def _index(self, words: Sequence[int], row: int) -> None:
        mask, index = self._place.hash_mask, self._place.index
        slot = scatter(words) & mask
        while self._m64[index + slot] > 0:
            slot = (slot + 1) & mask
        if self._m64[index + slot] < 0:
            self._deleted -= 1
        self._m64[index + slot] = row + 1

    def _unindex(self, words: Sequence[int], row: int) -> None:
        mask, index = self._place.hash_mask, self._place.index
        slot = scatter(words) & mask
        while self._m64[index + slot] != row + 1:
            slot = (slot + 1) & mask
        self._m64[index + slot] = -1
        self._deleted += 1
        if self._deleted * 4 > mask:  # searches pass over deleted slots: clear them before they are many
            self._m64[index : index + mask + 1] = 0
            self._deleted = 0
            for entry_row, entry in self._entries.items():
                self._index(self._normal(entry.match, entry.priority)[0], entry_row)

    def _write_order(self) -> None:
        width = self._place.words + 1
        for at, (_, _, row) in enumerate(self._order):
            entry = self._entries[row]
            words, _ = self._normal(entry.match, entry.priority)
            first = self._place.order + at * width
            self._m64[first : first + width] = [row, *(word(w) for w in words)]
        self._m64[self._place.count] = len(self._order)

    def _write_lengths(self) -> None:
        assert self._lpm is not None
        lengths = sorted({identity[-1] for identity in self._rows}, reverse=True)
        self._m64[self._place.order : self._place.order + len(lengths)] = lengths
        self._m64[self._place.count] = len(lengths)

    def _write_action(self, row: int, action: str, params: Sequence[int]) -> None:
        self._m64[self._place.actions + row] = self._numbers[action]
        first = self._place.parameters + row * self._place.params
        self._m64[first : first + len(params)] = [word(value) for value in params]

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
