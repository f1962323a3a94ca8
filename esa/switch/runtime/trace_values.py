"""Values in a trace: fields in the cells of a packet's vector, matches of table entries, bytes of packets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from esa.switch.compiler import describe
from esa.switch.compiler.lanes import leaves_of
from esa.switch.compiler.layout import Layout
from esa.switch.compiler.program import ConditionNode, Field, Primitive, Program, cells_of
from esa.switch.runtime.keys import KeyField

_SHOWN_BYTES = 64


class Cells:
    """Which fields lie in which cells of a packet's vector (int64), and what they hold."""

    def __init__(self, program: Program, layout: Layout) -> None:
        self._program = program
        self._cells = layout.cells
        self._halves = layout.halves
        self.count = layout.n_cells + layout.passing
        self.hidden = {name: cell for cell, name in layout.cell_names.items()}
        self._owner: list[Field | None] = [None] * (2 * self.count)  # of each half of a cell
        for field, cell in layout.cells.items():
            for at in range(2 * program.field_type(field).words):
                self._owner[2 * cell + at] = field
        for field, half in layout.halves.items():
            self._owner[half.at] = field

    def changed(self, before: npt.NDArray[np.int64], now: npt.NDArray[np.int64]) -> list[Field]:
        """The fields that differ between two vectors, in the order of their cells."""
        halves = np.flatnonzero(before[: self.count].view(np.int32) != now[: self.count].view(np.int32))
        return list(dict.fromkeys(field for half in halves if (field := self._owner[half]) is not None))

    def words(self, f: Any, cell: int, bits: int) -> int:
        """The unsigned number of `bits` bits in the words from `cell` on."""
        words = np.asarray(f[cell : cell + cells_of(bits)])
        return int.from_bytes(words.astype("<i8").tobytes(), "little") & ((1 << bits) - 1)

    def text(self, f: Any, field: Field) -> str:
        """What a field holds."""
        kind = self._program.field_type(field)
        if (half := self._halves.get(field)) is not None:
            words = f.view(np.int32 if half.signed else np.uint32)
            return describe.value_text(int(words[half.at]), kind)
        cell = self._cells[field]
        if kind.signed:
            words = np.asarray(f[cell : cell + cells_of(kind.bits, True)])
            return describe.value_text(int.from_bytes(words.astype("<i8").tobytes(), "little", signed=True), kind)
        width = int(f[cell + kind.words - 1]) if kind.varbit else None
        return describe.value_text(self.words(f, cell, kind.bits), kind, width)

    def label(self, field: Field) -> str:
        """What a field is called where its value changes."""
        return field.header if field.name == "$valid$" else describe.field_name(field)

    def named(self, f: Any, field: Field) -> str:
        """A field and what it holds."""
        return f"{describe.field_name(field)} = {self.text(f, field)}"

    def named_leaves(self, f: Any, node: Primitive | ConditionNode) -> list[str]:
        """The fields that a condition asks about, and what they hold."""
        expr = node.args[0] if isinstance(node, Primitive) else node.expression
        fields = [leaf for leaf in leaves_of(expr) if isinstance(leaf, Field) and leaf.name != "$valid$"]
        return [self.named(f, field) for field in dict.fromkeys(fields)]


def match_text(key: Sequence[KeyField], match: Sequence[Any]) -> str:
    """What an entry matches, field by field, as P4 writes it in an entries list."""
    texts = []
    for field, item in zip(key, match, strict=True):
        full = (1 << field.bits) - 1
        if item is None:
            texts.append("_")
        elif not isinstance(item, tuple):
            texts.append(describe.number(int(item)))
        elif field.match_type == "lpm":
            texts.append(f"{describe.number(int(item[0]))}/{item[1]}")
        elif field.match_type == "range":
            texts.append(f"{describe.number(int(item[0]))}..{describe.number(int(item[1]))}")
        elif item[1] == full:
            texts.append(describe.number(int(item[0])))
        else:
            texts.append(f"{describe.number(int(item[0]))} &&& {describe.number(int(item[1]))}" if item[1] else "_")
    return f"({', '.join(texts)})"


def shown_bytes(data: Any, length: Any) -> str:
    """The first bytes of a packet in hexadecimal."""
    count = int(length)
    shown = bytes(np.asarray(data[: min(count, _SHOWN_BYTES)], np.uint8)).hex()
    return shown + (f" .. {count - _SHOWN_BYTES} more" if count > _SHOWN_BYTES else "")
