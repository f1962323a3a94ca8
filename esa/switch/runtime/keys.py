"""What identifies a table's entries: matches as the control plane says them, keys, and the words that packets meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from esa.switch.compiler.program import TableKey, words_of
from esa.switch.errors import BadEntry

Match = tuple[Any, ...]
Key = tuple[int, ...]
"""Two numbers for each field of a table's key, then the priority, where entries have one.

Of an exact field they are the value and a mask of ones, of others value and prefix length, value and mask, low and
high; a value has no bits outside its prefix or mask.
"""


@dataclass(frozen=True)
class KeyField:
    """One field of a table's key; match_type is exact, lpm, ternary, range, optional or valid."""

    name: str
    match_type: str
    bits: int


class KeyForm:
    """The form of one table's keys; `owner` is what errors call the table.

    `ranked`: whether entries have a priority, as there is a ternary, range or optional field. `length`: where in a key
    the prefix length is by which the longest of several is found, None: nowhere.
    """

    def __init__(self, owner: str, key: Sequence[TableKey]) -> None:
        self.fields = tuple(KeyField(k.name, k.match_type, k.bits) for k in key)
        self.ranked = any(k.match_type in ("ternary", "range", "optional") for k in key)
        prefixes = [at for at, k in enumerate(key) if k.match_type == "lpm"]
        self.length = 2 * prefixes[0] + 1 if prefixes and not self.ranked else None
        self._owner = owner
        self._narrow = all(k.bits <= 64 for k in key)
        self._prefixed = bool(prefixes)

    def of(self, match: Sequence[Any], priority: int) -> Key:
        """The key of an entry with a match, in the form that `Table.add` takes. Raises BadEntry."""
        if len(match) != len(self.fields) or not match:
            raise BadEntry(f"{self._owner}: its key has {len(self.fields)} fields, the match {len(match)}")
        numbers: list[int] = []
        for field, item in zip(self.fields, match, strict=True):
            numbers += self._pair(field, item)
        if self.ranked:
            numbers.append(priority)
        return tuple(numbers)

    def match(self, key: Key) -> Match:
        """The match that a key is of."""
        match: list[Any] = []
        for field, first, second in zip(self.fields, key[::2], key[1::2], strict=False):
            if field.match_type in ("exact", "valid"):
                match.append(first)
            elif field.match_type == "optional":
                match.append(first if second else None)
            else:
                match.append((first, second))
        return tuple(match)

    def words(self, key: Key) -> Sequence[int]:
        """The words of a key that generated code compares, unsigned; a prefix length is the last one."""
        if self._narrow and self.ranked and not self._prefixed:
            return key[:-1]
        if self.ranked:
            words: list[int] = []
            for field, first, second in zip(self.fields, key[::2], key[1::2], strict=False):
                if field.match_type == "lpm":
                    second = (1 << field.bits) - (1 << (field.bits - second))
                words += [*words_of(first, field.bits), *words_of(second, field.bits)]
            return words
        values = key[::2]
        if not self._narrow:
            each = zip(self.fields, values, strict=True)
            values = tuple(word for field, value in each for word in words_of(value, field.bits))
        return values if self.length is None else (*values, key[self.length])

    def _pair(self, field: KeyField, item: Any) -> tuple[int, int]:
        """The two numbers of one field's match."""
        full = (1 << field.bits) - 1
        kind = field.match_type
        if item is None and kind not in ("exact", "valid"):
            return (0, full) if kind == "range" else (0, 0)
        if kind in ("exact", "valid"):
            if item is None or isinstance(item, tuple) or not 0 <= int(item) <= full:
                raise self._bad(field, item)
            return int(item), full
        if not isinstance(item, tuple):
            item = (item, field.bits) if kind == "lpm" else (item, item) if kind == "range" else (item, full)
        first, second = int(item[0]), int(item[1])
        if not 0 <= first <= full:
            raise self._bad(field, item)
        if kind == "lpm":
            if not 0 <= second <= field.bits:
                raise self._bad(field, item)
            return first & (full ^ ((1 << (field.bits - second)) - 1)), second
        if not 0 <= second <= full or (kind == "range" and first > second):
            raise self._bad(field, item)
        return (first, second) if kind == "range" else (first & second, second)

    def _bad(self, field: KeyField, item: Any) -> BadEntry:
        return BadEntry(f"{self._owner}: {item!r} is no {field.match_type} match of {field.bits} bits for {field.name}")
