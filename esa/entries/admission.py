"""Who gets rows where they are too few for all jobs: as many as have a share that is of use, the others none.

    admitted([Applicant("a", needed_rows(128, 4), gain(0.6, 4)), ...], seated=[], rows=128)      # {"a", ...}

A job whose part of the memory is small against its window has most of its fragments split, and then sums slower than by
messages between its workers, a ring, which needs no rows: with an eighth of its window it is faster still, with a
sixteenth it is not (docs/protocol.md has what was measured). So where not all can have an eighth, some have it and the
others sum by a ring. Who gains most goes first; who has rows keeps them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from esa.errors import BadInput

SHARE = 8  # of a window, one part in so many


class Applicant(NamedTuple):
    """A job that comes, or has rows. needs: rows without which it is better off with none; gain: who goes first."""

    name: str
    needs: int
    gain: float = 1.0


def needed_rows(window: int, workers: int) -> int:
    """The share of a job's window that it has to have. Who is alone sums nothing."""
    return -(-window // SHARE) if workers > 1 else 0


def gain(demand: float, workers: int) -> float:
    """What rows save a job, of its time: in a ring each worker would send 2 (p - 1) / p of its gradients, not these.

    demand: the part of its time that it takes to send these once.
    """
    return demand * (1 - 2 / workers)


def enough(applicants: Iterable[Applicant], rows: int) -> bool:
    """Whether all have what they need."""
    return sum(one.needs for one in applicants) <= rows


def check_share(coming: Applicant, seated: Sequence[Applicant], rows: int) -> None:
    """BadInput, one line, unless a job that comes finds what it needs beside those that have rows."""
    if coming.name in admitted([coming], seated, rows):
        return
    left = max(0, rows - sum(one.needs for one in seated))
    raise BadInput(
        f"pool: job {coming.name}: other jobs' shares leave {left} of {rows} rows, and an eighth of its window is"
        f" {coming.needs}: a ring is faster; allowed: a smaller window, a policy that shares rows or uses none"
    )


def admitted(coming: Sequence[Applicant], seated: Sequence[Applicant], rows: int) -> frozenset[str]:
    """Which of the jobs that come get rows of a switch, by name, beside those that have them.

    All, if all find what they need. Else those whose gain is larger, of several that before the others in the order
    given, as long as they find it. Where nobody has any row the first gets rows, however few there are.
    """
    if enough([*seated, *coming], rows):
        return frozenset(one.name for one in coming)
    free = rows - sum(one.needs for one in seated)
    none_taken = not any(one.needs for one in seated)
    found = []
    for one in sorted(coming, key=lambda one: -one.gain):
        if one.needs == 0 or one.needs <= free or (none_taken and rows > 0):
            found.append(one.name)
            free -= one.needs
            none_taken = none_taken and one.needs == 0
    return frozenset(found)
