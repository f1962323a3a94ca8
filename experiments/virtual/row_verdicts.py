"""What a switch did with a fragment's packet, by its row before and after: `p4src/policy.p4`'s verdicts in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from esa.report import life as words
from esa.switch import Pipeline

_AGGREGATION = "EsaIngress.aggregation"
Owner = tuple[int, int, int]
"""Job, epoch, seq, as on the wire."""


class Row(NamedTuple):
    """bitmap 0: it is free."""

    owner: Owner
    bitmap: int
    priority: int

    def holds(self, fragment: Owner) -> bool:
        return bool(self.bitmap) and self.owner == fragment


FREE = Row((0, 0, 0), 0, 0)


def read_row(pipeline: Pipeline, row: int) -> Row:
    registers = pipeline.registers
    owner, bitmap, priority = (
        int(registers[f"{_AGGREGATION}.{name}"].read(row)) for name in ("row_owner", "row_bitmap", "row_priority")
    )
    return Row((owner >> 48, owner >> 32 & 0xFFFF, owner & 0xFFFFFFFF), bitmap, priority)


class Came(NamedTuple):
    """Gradients of a fragment that met the row in one instant. who: as a person would say; full: parts of the sum."""

    who: str
    bitmap: int
    priority: int
    again: bool
    full: int


def verdict(
    came: Came, number: int, fragment: Owner, before: Row, after: Row, named: Callable[[Owner], str]
) -> tuple[str, str]:
    """Return what happened, and how. number: the row's; named: what a row's owner is called."""
    who, full, held = came.who, came.full, after.bitmap.bit_count()
    if before.holds(fragment) or (came.bitmap.bit_count() == full > 1 and not before.bitmap and not came.again):
        together = (before.bitmap if before.holds(fragment) else 0) | came.bitmap
        if not after.holds(fragment):
            if together.bit_count() < full:
                return words.PARTIAL, f"{who}: what row {number} has goes along to the PS"
            return words.COMPLETED, f"{who}: all {full} are here, row {number} is free again"
        if after.bitmap == before.bitmap:
            return words.DUPLICATE, f"{who}: is in row {number} already"
        if held < full:
            return words.ADDED, f"{who}: row {number} has {held} of {full}"
        return words.COMPLETED, f"{who}: all {full} are here; row {number} keeps the sum"
    if after.holds(fragment):
        if not before.bitmap:
            return words.SEATED, f"{who}, priority {came.priority}: in row {number}, {held} of {full}"
        taken = f"{who}, priority {came.priority}: takes row {number} from {named(before.owner)}"
        if held == full > 1:
            return words.COMPLETED, f"{taken}; all {full} are here"
        return words.PREEMPTS, f"{taken}, priority {before.priority}"
    if full == 1:
        return words.COMPLETED, f"{who}: there is nobody else"
    if came.again:
        return words.PASSES, f"{who}, sent again: past the rows, to the PS"
    if before.bitmap:
        whose = f"{named(before.owner)}, priority {before.priority}"
        return words.COLLIDES, f"{who}, priority {came.priority}: row {number} is that of {whose}"
    return words.PASSES, f"{who}: past row {number}"
