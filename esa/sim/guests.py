"""Jobs whose programs are written while they run: somebody outside decides what their ranks do next.

    class Server:                                   # a Guest
        def happen(self, sim, now_ns):              # called at 0, and whenever `next_ns` has come
            rewrite(sim, number, ...); again(sim, number, now_ns)
            return []                               # jobs that end now
        def stays(self, sim, number, now_ns):       # all ranks of the job are through
            return True

The ranks of such a job run the operations that they were planned with, whose times and bytes are rewritten before each
pass; what they sum is the job's next fragments, so nothing of its state in switches, workers and PS begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from esa.sim.loop import SimState, begin
from esa.workloads.program import COMPUTE, REDUCE, SEND


class Guest(Protocol):
    """Decides what the ranks of some jobs of a simulation do next."""

    @property
    def jobs(self) -> Sequence[int]:
        """Whose, by number: they have nothing to do at first."""
        ...

    @property
    def next_ns(self) -> int:
        """When to call `happen` at the latest; `esa.protocol.NEVER`."""
        ...

    def happen(self, sim: SimState, now_ns: int) -> Sequence[int]:
        """Called often; returns jobs, its own or others, that end now."""
        ...

    def stays(self, sim: SimState, number: int, now_ns: int) -> bool:
        """All ranks of a job are through; perhaps they were before. Whether it is kept."""
        ...


def park(sim: SimState, number: int) -> None:
    """A job that has not started has nothing to do when it does."""
    for w in _ranks_of(sim, number):
        sim.ranks.rank[w]["at"] = sim.ranks.rank[w]["end"]


def rewrite(
    sim: SimState, number: int, *, ns: Sequence[int] = (), octets: int | None = None, priority: int | None = None
) -> None:
    """What the operations of a job say from its next pass on. ns: of its COMPUTEs, in order; octets: of its REDUCEs and
    SENDs; priority: of its REDUCEs.
    """
    operations = sim.ranks.operation
    for w in _ranks_of(sim, number):
        mine = operations[sim.ranks.rank[w]["first"] : sim.ranks.rank[w]["end"]]
        kinds = mine["kind"]
        if len(ns):
            mine["ns"][kinds == COMPUTE] = ns
        if octets is not None:
            mine["bytes"][(kinds == REDUCE) | (kinds == SEND)] = octets
        if priority is not None:
            mine["priority"][kinds == REDUCE] = priority


def again(sim: SimState, number: int, now_ns: int) -> None:
    """All ranks of a job, which are through, begin another pass of their programs."""
    ranks = _ranks_of(sim, number)
    for w in ranks:
        me = sim.ranks.rank[w]
        me["at"], me["round"], me["through"] = me["first"], 0, 0
    sim.ranks.job[number]["running"] = len(ranks)
    for w in ranks:
        begin(sim, w, now_ns)


def _ranks_of(sim: SimState, number: int) -> range:
    job = sim.ranks.job[number]
    return range(int(job["first_rank"]), int(job["first_rank"] + job["ranks"]))
