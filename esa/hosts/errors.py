"""What can go wrong with an all-reduce, told to a person."""

from __future__ import annotations

from esa.job import Job


class AllReduceError(Exception):
    """An all-reduce ended without a sum: `job` by name, `seq` of the fragment, the ranks not heard from (if known)."""

    def __init__(self, job: Job, rank: int, seq: int, missing: tuple[int, ...]):
        self.job = job.name
        self.rank = rank
        self.seq = seq
        self.missing = missing
        if missing:
            names = ", ".join(f"rank {other} ({job.workers[other].ip})" for other in missing)
            whom = (
                f"nothing was heard from {names}; look whether {'they still run' if missing[1:] else 'it still runs'}"
            )
        else:
            whom = (
                f"neither a result nor a word from the PS ({job.server.ip}) came;"
                " look whether the PS runs and can be reached"
            )
        super().__init__(f"job {job.name}, rank {rank}: no sum of fragment {seq} for {job.give_up_s:g} s: {whom}")
