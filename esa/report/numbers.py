"""Numbers of records, which may hold anything."""

from __future__ import annotations

from typing import Any


def number(value: Any) -> float | None:
    """The value where it is a finite number of a sane size; else None."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if known else None
