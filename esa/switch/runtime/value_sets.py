"""Parser value sets as the control plane sees them; their members lie in words of generated code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from esa.switch.errors import BadEntry, DuplicateEntry, TableFull
from esa.switch.runtime.hash_index import word

Member = tuple[tuple[int, int], ...]


class ValueSet:
    """Values of a parser's select that the control plane says: `size` at most, each of fields `bits` wide.

    A member is a (value, mask) per field; of BMv2's, which has no masks, all bits of each.
    """

    def __init__(self, name: str, size: int, bits: tuple[int, ...], words: npt.NDArray[np.int64]) -> None:
        """`words`: int64 (1 + 2 * len(bits) * size,), a live view."""
        self.name = name
        self.size = size
        self.bits = bits
        self._words = words
        self._members: tuple[Member, ...] = ()

    def set(self, members: Sequence[Member]) -> None:
        """Replace all members. Raises BadEntry, DuplicateEntry, TableFull."""
        normal = [self._normal(member) for member in members]
        if len(normal) > self.size:
            raise TableFull(f"value set {self.name}: {len(normal)} members; it has room for {self.size}")
        if len(set(normal)) != len(normal):
            raise DuplicateEntry(f"value set {self.name}: a member is there twice")
        self._members = tuple(normal)
        numbers = [word(number) for member in normal for pair in member for number in pair]
        self._words[1 : 1 + len(numbers)] = numbers
        self._words[0] = len(normal)

    def members(self) -> tuple[Member, ...]:
        """The members, values outside the masks zero."""
        return self._members

    def clear(self) -> None:
        """Remove all members."""
        self.set(())

    def _normal(self, member: Member) -> Member:
        if len(member) != len(self.bits):
            raise BadEntry(f"value set {self.name}: a member has {len(self.bits)} fields, {len(member)} given")
        for (value, mask), bits in zip(member, self.bits, strict=True):
            if not (0 <= value < 1 << bits and 0 <= mask < 1 << bits):
                raise BadEntry(f"value set {self.name}: ({value}, {mask}) does not fit {bits} bits")
        return tuple((value & mask, mask) for value, mask in member)
