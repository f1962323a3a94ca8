"""An all-reduce without a sum, told to a person."""

from __future__ import annotations

from esa.errors import AllReduceError
from esa.job import Job


def no_sum(job: Job, rank: int, seq: int, missing: tuple[int, ...]) -> AllReduceError:
    """The error of worker `rank` that gave up fragment `seq`; `missing`: who was not heard from, if the PS said so."""
    if missing:
        names = ", ".join(f"rank {other} ({job.workers[other].ip})" for other in missing)
        whom = f"nothing was heard from {names}; look whether {'they still run' if missing[1:] else 'it still runs'}"
    else:
        whom = (
            f"neither a result nor a word from the PS ({job.server.ip}) came;"
            " look whether the PS runs and can be reached"
        )
    text = f"job {job.name}, rank {rank}: no sum of fragment {seq} for {job.give_up_s:g} s: {whom}"
    return AllReduceError(text, job=job.name, rank=rank, seq=seq, missing=missing)
