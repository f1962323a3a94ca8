"""Match-action tables as the control plane sees them; the entries lie in the words that generated code reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt

from esa.switch.compiler.layout import TablePlace
from esa.switch.compiler.program import Action, TableNode, words_of
from esa.switch.errors import BadEntry, DuplicateEntry, NoSuchEntry, TableFull
from esa.switch.runtime.growing import Numbers, Shards, rank_of
from esa.switch.runtime.hashed_rows import HashedRows
from esa.switch.runtime.keys import Key, KeyForm, Match
from esa.switch.runtime.ordered_rows import OrderedRows
from esa.switch.runtime.tuple_space import TupleSpace

MAX_PRIORITY = (1 << 31) - 1
# Key, match (None: the one that the key says), action, parameters, priority, number in the order of adding.
Stored = tuple[Key, Match | None, Any, tuple[int, ...], int, int]
FREE = nullcontext()


@dataclass(frozen=True)
class Entry:
    """One entry: what it matches, its action, the action's parameters, its priority (the highest number wins).

    `key`: what identifies it in its table.
    """

    match: Match
    action: Any
    params: tuple[int, ...]
    priority: int = 0
    key: Key = field(default=(), compare=False, repr=False)


def checked_params(owner: str, actions: Mapping[str, Action], action: str, params: Sequence[int]) -> tuple[int, ...]:
    """The parameters of one of the `actions` that `owner` has, as integers. Raises BadEntry where they do not fit."""
    if action not in actions:
        raise BadEntry(f"{owner}: no action {action!r}; it has {', '.join(actions)}")
    wanted = actions[action].params
    if len(params) != len(wanted):
        raise BadEntry(f"{owner}: action {action} takes {len(wanted)} parameters, {len(params)} given")
    values = tuple(map(int, params))
    for (name, bits), value in zip(wanted, values, strict=True):
        if value >> bits:
            raise BadEntry(f"{owner}: {action}({name}={value}) does not fit {bits} bits")
    return values


class Table:
    """One table of the program. Every change is made in place: hold `Pipeline.lock` while packets may be running.

    Or give `insert`, `change` and `remove` a `guard` that keeps packets away: they enter it for no longer than packets
    could see half of a change.
    """

    def __init__(
        self, node: TableNode, actions: Sequence[Action], place: TablePlace, m64: npt.NDArray[np.int64]
    ) -> None:
        self.name = node.name
        self._owner = f"table {node.name}"
        self._form = KeyForm(self._owner, node.key)
        self.key = self._form.fields
        self.needs_priority = self._form.ranked
        self.actions = tuple(action.name for action in actions)
        self.size = place.size
        self.const = node.entries is not None
        self.const_default = node.const_default
        self.match_type = node.match_type
        self._actions = {action.name: action for action in actions}
        self._packed = {action.name: (at, Struct(f"={action.words}Q")) for at, action in enumerate(actions)}
        self._place = place
        self._m64 = m64
        self._each = m64.data  # one word at a time
        self._bytes = self._each.cast("B")
        self.row_resets: list[Callable[[int], None]] = []  # called with a row that gets or has lost its entry
        self._rows: Shards[int] = Shards(place.size)
        self._entries: list[Stored | None] = []  # by row
        self._added = 0
        # What generated code finds entries by.
        self._index: HashedRows | TupleSpace | OrderedRows
        if not self.needs_priority:
            self._index = HashedRows(place, m64, self._form.length is not None)
        elif place.tuples is not None:
            self._index = TupleSpace(node.key, place, m64)
        else:
            self._index = OrderedRows(place, m64)
        self._free = Numbers(place.size)  # as BMv2 gives them out: of two with one priority the lower one wins
        self._program_default: tuple[str, tuple[int, ...]] | None = None
        if node.default_action is not None:
            name = next(a.name for a in actions if a.id == node.default_action)
            self._program_default = (name, node.default_params)
        self._default = self._program_default
        self._write_default()
        for entry in node.entries or ():
            self._put(entry.match, entry.action, entry.params, MAX_PRIORITY - entry.priority)

    def __repr__(self) -> str:
        key = ", ".join(f"{k.name}: {k.match_type}" for k in self.key)
        return f"<Table {self.name} ({key}), {len(self)} of {self.size} entries>"

    def __len__(self) -> int:
        return self._free.used

    @property
    def row_limit(self) -> int:
        """A row number that no entry reaches."""
        return len(self._entries)

    @property
    def default(self) -> tuple[str, tuple[int, ...]] | None:
        """The default action and its parameters; None if there is none."""
        return self._default

    @property
    def default_is_set(self) -> bool:
        """Whether the default action is the control plane's, not the program's."""
        return self._default is not self._program_default

    # --- the control plane's operations -----------------------------------------------------------------------

    def parameters(self, action: str) -> int:
        """How many parameters an action of this table takes."""
        return len(self._actions[action].params)

    def add(self, match: Sequence[Any], action: Any, params: Sequence[int] = (), priority: int = 0) -> int:
        """Add an entry; returns the row that it has got.

        `match` has one item per key field: exact: int; lpm: (value, prefix length); ternary: (value, mask); range:
        (low, high); optional: value or None. None means "any" for every field type but exact. Raises DuplicateEntry,
        TableFull, BadEntry.
        """
        self._refuse_const()
        return self._put(match, action, params, priority)

    def _put(self, match: Sequence[Any], action: Any, params: Sequence[int], priority: int) -> int:
        priority = int(priority)
        return self.insert(self.key_of(match, priority), action, params, priority, match=tuple(match))

    def modify(self, match: Sequence[Any], action: Any, params: Sequence[int] = (), priority: int = 0) -> int:
        """Change the action of an entry; returns the row that it has. Raises NoSuchEntry, BadEntry."""
        self._refuse_const()
        row = self.row(match, priority)
        self.change(row, action, params)
        return row

    def delete(self, match: Sequence[Any], priority: int = 0) -> None:
        """Remove an entry. Raises NoSuchEntry, BadEntry."""
        self._refuse_const()
        self.remove(self.row(match, priority))

    def _refuse_const(self) -> None:
        if self.const:
            raise BadEntry(f"{self._owner}: its entries are const")

    def entries(self) -> Iterator[Entry]:
        """The entries there are now, in the order they were added."""
        return (entry for _, entry in self.snapshot())

    def snapshot(self) -> Iterator[tuple[int, Entry]]:
        """(row, entry) of the entries there are now, in the order they were added, whatever changes from here on.

        It takes a fraction of a millisecond, and the time for each entry only when that is taken from the iterator.
        """
        return self._in_order(self._entries.copy())

    def _in_order(self, entries: list[Stored | None]) -> Iterator[tuple[int, Entry]]:
        found = [(stored[5], row, stored) for row, stored in enumerate(entries) if stored is not None]
        for _, row, stored in sorted(found):
            yield row, self._as_entry(stored)

    def _as_entry(self, stored: Stored) -> Entry:
        key, match, action, params, priority, _ = stored
        return Entry(self._form.match(key) if match is None else match, action, params, priority, key)

    def get(self, match: Sequence[Any], priority: int = 0) -> Entry:
        """The entry with this match. Raises NoSuchEntry."""
        return self.entry(self.row(match, priority))

    def entry(self, row: int) -> Entry:
        """The entry in a row."""
        return self._as_entry(self._stored(row))

    def row(self, match: Sequence[Any], priority: int = 0) -> int:
        """The number of an entry, which indexes its direct counter. Raises NoSuchEntry."""
        return self.find(self.key_of(match, priority), tuple(match))

    def key_of(self, match: Sequence[Any], priority: int = 0) -> Key:
        """What identifies an entry with this match. Raises BadEntry."""
        return self._form.of(match, priority)

    def clear(self) -> None:
        """Remove every entry that the program itself does not state."""
        if self.const:
            return
        for row, stored in enumerate(self._entries):
            if stored is not None:
                self._reset_counters(row)
        self._free = Numbers(self.size)
        self._rows.clear()
        self._entries.clear()
        self._index.clear()

    def set_default(self, action: str, params: Sequence[int] = ()) -> None:
        """Set the default action. Raises BadEntry where the program fixes it."""
        values = self._check_action(action, params)
        if self.const_default and (action, values) != self._program_default:
            raise BadEntry(f"{self._owner}: its default action is const")
        self._default = (action, values)
        self._write_default()

    def reset_default(self) -> None:
        """Back to the default action of the program."""
        self._default = self._program_default
        self._write_default()

    # --- by key: what is known to fit the table ------------------------------------------------------------------

    def find(self, key: Key, match: Match | None = None) -> int:
        """The row of an entry. Raises NoSuchEntry, with the match as the key says or as given."""
        row = self._rows.get(key)
        if row is None:
            if not self.key:
                raise BadEntry(f"{self._owner}: its key has 0 fields, the match 0")
            priority = f", priority {key[-1]}" if self.needs_priority else ""
            raise NoSuchEntry(f"{self._owner}: no entry {match or self._form.match(key)!r}{priority}")
        return row

    def insert(
        self,
        key: Key,
        action: Any,
        params: Sequence[int],
        priority: int,
        guard: AbstractContextManager[object] = FREE,
        match: Match | None = None,
    ) -> int:
        """Add an entry; returns the row that it has got. Raises DuplicateEntry, TableFull, BadEntry.

        `match`: how its readers are to see what it matches, None: as the key says.
        """
        values = self._check_action(action, params)
        rows = self._rows.part(key)
        if key in rows:
            raise DuplicateEntry(f"{self._owner}: there is an entry {match or self._form.match(key)!r} already")
        row = self._free.lowest()
        if row is None:
            raise TableFull(f"{self._owner}: all {self.size} entries are taken")
        self._free.take()
        self._write_action(row, action, values)
        self._reset_counters(row)
        self._added += 1
        rows[key] = row
        stored = (key, match, action, values, priority, self._added)
        if row == len(self._entries):
            self._entries.append(stored)
        else:
            self._entries[row] = stored
        # Until here no packet finds the row.
        with guard:
            self._index.add(rank_of(priority, row), self._form.words(key))
        return row

    def change(
        self, row: int, action: Any, params: Sequence[int], guard: AbstractContextManager[object] = FREE
    ) -> None:
        """Change the action of the entry in a row. Raises BadEntry."""
        key, match, _, _, priority, added = self._stored(row)
        values = self._check_action(action, params)
        with guard:
            self._write_action(row, action, values)
        self._entries[row] = (key, match, action, values, priority, added)

    def remove(self, row: int, guard: AbstractContextManager[object] = FREE) -> None:
        """Remove the entry in a row."""
        key, _, _, _, priority, _ = self._stored(row)
        del self._rows[key]
        self._entries[row] = None
        with guard:
            self._index.remove(rank_of(priority, row), self._form.words(key))
        self._free.free(row)
        self._reset_counters(row)

    def _stored(self, row: int) -> Stored:
        stored = self._entries[row]
        if stored is None:
            raise KeyError(row)
        return stored

    # --- words ------------------------------------------------------------------------------------------------

    def _check_action(self, action: Any, params: Sequence[int]) -> tuple[int, ...]:
        return checked_params(self._owner, self._actions, action, params)

    def _write_action(self, row: int, action: Any, params: Sequence[int]) -> None:
        number, packed = self._packed[action]
        self._each[self._place.actions + row] = number
        if packed.size > 8 * len(params):
            each = zip(self._actions[action].params, params, strict=True)
            params = [word for (_, bits), value in each for word in words_of(value, bits)]
        packed.pack_into(self._bytes, 8 * (self._place.parameters + row * self._place.params), *params)

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


class Tables(Mapping[str, Table]):
    """A program's tables by name, each made when it is first asked for: most programs have many that nobody changes."""

    def __init__(self) -> None:
        self._make: dict[str, Callable[[], Table]] = {}
        self._made: dict[str, Table] = {}

    def add(self, name: str, make: Callable[[], Table]) -> None:
        """Have a table."""
        self._make[name] = make

    def make_all(self) -> None:
        """Make those that nobody has asked for."""
        for name in self._make:
            self[name]

    def __getitem__(self, name: str) -> Table:
        table = self._made.get(name)
        if table is None:
            table = self._made[name] = self._make[name]()
        return table

    def __iter__(self) -> Iterator[str]:
        return iter(self._make)

    def __len__(self) -> int:
        return len(self._make)
