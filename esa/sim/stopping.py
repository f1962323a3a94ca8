"""A job that is stopped, and what it goes on from: the last round of its loop that all its ranks have finished.

That takes programs that are one loop, as a training's are; any other can only run to its end.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from esa.protocol import NEVER
from esa.sim.ranks import Ranks
from esa.workloads.program import LOOP, MARK, REDUCE


def one_loop(operations: npt.NDArray[np.void]) -> int:
    """How many rounds a program has that is a loop and nothing else; 0 if it is something else."""
    last = operations[-1]
    return int(last["times"]) if last["kind"] == LOOP and last["body"] == len(operations) - 1 else 0


def can_stop(ranks: Ranks, number: int) -> bool:
    """Whether there is a round that a job could go on from."""
    return all(one_loop(_operations(ranks, w)) for w in _ranks_of(ranks, number))


def rounds_done(ranks: Ranks, number: int) -> int:
    """Rounds of its loop that all ranks of a job have finished: computed, and their sums have come."""
    if not can_stop(ranks, number):
        return 0
    return min(_rounds(ranks, w) for w in _ranks_of(ranks, number))


def stop(ranks: Ranks, number: int, now_ns: int) -> None:
    """Let a job's ranks compute nothing any more, and forget the rounds that not all have finished."""
    done = rounds_done(ranks, number)
    for w in _ranks_of(ranks, number):
        me = ranks.rank[w]
        if me["summed"] < me["ready"]:
            me["comm_ns"] += now_ns - me["since_ns"]
        me["compute_ns"] -= max(me["until_ns"] - now_ns, 0)  # was counted in advance
        me["until_ns"] = NEVER  # what is due already finds that it is not
        me["at"], me["round"], me["rounds"] = me["first"], done, done
        me["needed"], me["through"] = NEVER, 0
        kinds = _operations(ranks, w)["kind"]
        me["marks"] = done * np.count_nonzero(kinds == MARK)
        me["ready"] = me["fed"] = me["summed"] = done * _parts(ranks, w)
        me["begun"] = done * np.count_nonzero(kinds == REDUCE)
        me["feeding"] = max(me["begun"] - 1, 0)
        if me["begun"]:  # all that were begun have come
            ranks.sum["end"][me["first_sum"] : me["first_sum"] + me["sums"]] = me["summed"]
    job = ranks.job[number]
    job["running"] = job["ranks"]


def go_on(ranks: Ranks, number: int) -> None:
    """The ranks of a job, new or stopped before, may compute."""
    ranks.rank["until_ns"][list(_ranks_of(ranks, number))] = 0


def _ranks_of(ranks: Ranks, number: int) -> range:
    job = ranks.job[number]
    return range(int(job["first_rank"]), int(job["first_rank"] + job["ranks"]))


def _operations(ranks: Ranks, w: int) -> npt.NDArray[np.void]:
    return ranks.operation[ranks.rank[w]["first"] : ranks.rank[w]["end"]]


def _parts(ranks: Ranks, w: int) -> int:
    """Parts of all sums of a round."""
    operations = _operations(ranks, w)
    size = ranks.job[ranks.rank[w]["job"]]["part_bytes"]
    return int((-(-operations["bytes"][operations["kind"] == REDUCE] // size)).sum())


def _rounds(ranks: Ranks, w: int) -> int:
    """Rounds that a rank has finished."""
    me, parts = ranks.rank[w], _parts(ranks, w)
    return int(min(me["rounds"], me["summed"] // parts) if parts else me["rounds"])
