"""What is in the rows of one switch: whose fragment, which, at what priority. Over P4Runtime, as counters are.

The embedded switch lets registers be read, BMv2 does not (Refused). A row is three cells, which are not read at one
instant: a row that changes meanwhile may be told with its next owner's priority.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from controller.client import Switch

_REGISTERS = ("row_bitmap", "row_owner", "row_priority")


class HeldRow(NamedTuple):
    """A row that holds something. job: its id; workers: how many are in its sum."""

    row: int
    job: int
    epoch: int
    seq: int
    priority: int
    workers: int


def read_rows(switch: Switch, rows: Sequence[int]) -> list[HeldRow]:
    """Read these rows; those that are free are left out."""
    bitmaps, owners, priorities = switch.read_register_cells(_REGISTERS, rows)
    return [
        HeldRow(row, owner >> 48, owner >> 32 & 0xFFFF, owner & 0xFFFFFFFF, priority, bitmap.bit_count())
        for row, bitmap, owner, priority in zip(rows, bitmaps, owners, priorities, strict=True)
        if bitmap
    ]
