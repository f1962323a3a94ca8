"""An all-reduce without a sum, told to a person."""

from __future__ import annotations

from esa.errors import AllReduceError
from esa.hosts.waiting import ranks_of, what_is_waited_for
from esa.job import Job
from esa.protocol import Waiting


def no_sum(job: Job, rank: int, waiting: Waiting, reason: str | None = None) -> AllReduceError:
    """Return the error of worker `rank` that gave up what it was `waiting` for.

    `missing` are the ranks that had not sent it, as far as known: silent for `give_up_s`; or, `computing`, alive for as
    long as `wait_limit_s`. reason: what else is known, by whoever knows it.
    """
    computing = bool(waiting.computing[0])
    limit_s = job.wait_limit_s if computing else job.give_up_s
    what = what_is_waited_for(job, waiting, reason)
    return AllReduceError(
        f"job {job.name}, rank {rank}: no sum of fragment {waiting.seq} for {limit_s:g} s: {what}",
        job=job.name,
        rank=rank,
        seq=waiting.seq,
        missing=ranks_of(job, waiting.silent) or ranks_of(job, waiting.computing),
        computing=computing,
    )
