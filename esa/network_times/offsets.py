"""When the jobs of a component begin, and how long they are looked at, at levels 2 and 3 alike."""

from __future__ import annotations

import math

MEASURED = 3  # iterations of the slowest job, after a first one that is not counted
_GOLDEN = (math.sqrt(5) - 1) / 2


def offset_part(number: int) -> float:
    """Which part of its own iteration a component's job begins late by: as even as can be for any number of jobs."""
    return number * _GOLDEN % 1.0
