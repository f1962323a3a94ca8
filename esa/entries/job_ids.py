"""Job ids of one network, from a pool: no more than 255 jobs at a time, however many there are in a lifetime.

A job's id is its number on the wire, and what switches count by. Who gets an id that another job had gets a new epoch
with it: to the switches it is another run, so the rows that the old one left are free for anybody, and its late
packets are refused.
"""

from __future__ import annotations

from esa.entries.job_entries import MAX_JOB_INDEX
from esa.errors import BadInput
from esa.job import MAX_EPOCH


class JobIds:
    """The ids 1..`limit`, which are taken and given back."""

    def __init__(self, limit: int = MAX_JOB_INDEX) -> None:
        self._taken: set[int] = set()
        self._next_epoch = dict.fromkeys(range(1, limit + 1), 0)

    def take(self, wish: int) -> tuple[int, int]:
        """The id that is wished for if it can be had, else the lowest; and an epoch that it never had.

        BadInput if there is none: all are taken, or have used up their epochs.
        """
        free = [job for job in self._next_epoch if job not in self._taken and self._next_epoch[job] <= MAX_EPOCH]
        if not free:
            raise BadInput(f"job: {len(self._taken)} of {len(self._next_epoch)} ids are taken; none has an epoch left")
        job = wish if wish in free else free[0]
        epoch = self._next_epoch[job]
        self._taken.add(job)
        self._next_epoch[job] += 1
        return job, epoch

    def give_back(self, job: int) -> None:
        """Nobody has the id any more."""
        self._taken.remove(job)
