"""What can go wrong with an all-reduce, told to a person."""

from __future__ import annotations


class AllReduceError(Exception):
    """An all-reduce ended without a sum: `job` by name, `seq` of the fragment, the ranks not heard from (if known)."""

    def __init__(self, job: str, rank: int, seq: int, missing: tuple[int, ...], give_up_s: float):
        self.job = job
        self.rank = rank
        self.seq = seq
        self.missing = missing
        if missing:
            whom = f"nothing was heard from rank{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing))}"
            advice = "look whether they still run"
        else:
            whom = "neither a result nor a word from the PS came"
            advice = "look whether the PS runs and can be reached"
        super().__init__(f"job {job}, rank {rank}: no sum of fragment {seq} for {give_up_s:g} s: {whom}; {advice}")
