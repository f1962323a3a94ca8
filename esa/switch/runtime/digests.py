"""Digests that packets have left for the control plane."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.switch.compiler.layout import DigestPlace
from esa.switch.compiler.program import Program


class DigestRecord(NamedTuple):
    """One digest: its name, and the values of its fields, unsigned."""

    name: str
    values: tuple[int, ...]


class Digests:
    """The digests of a program. `bits`: the widths of each one's fields, by name."""

    def __init__(self, program: Program, place: DigestPlace, m64: npt.NDArray[np.int64]) -> None:
        self.bits = {
            digest.name: tuple(program.field_type(field).bits for field in digest.fields)
            for digest in program.digests.values()
        }
        self._names = {digest.number: digest.name for digest in program.digests.values()}
        self._place = place
        self._m64 = m64

    @property
    def lost(self) -> int:
        """How many found no room, because those that wait were not taken."""
        return int(self._m64[self._place.lost])

    def take(self) -> list[DigestRecord]:
        """Take what waits, in the order of the packets."""
        count, width = int(self._m64[self._place.count]), self._place.width
        first = self._place.records
        rows = self._m64[first : first + count * width].view(np.uint64).reshape(count, width).tolist()
        self._m64[self._place.count] = 0
        names = (self._names[row[0]] for row in rows)
        return [
            DigestRecord(name, tuple(row[1 : 1 + len(self.bits[name])])) for name, row in zip(names, rows, strict=True)
        ]
