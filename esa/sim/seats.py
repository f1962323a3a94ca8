"""Which jobs of a simulation have rows: decided when one starts, and for its life. Who has none is a ring.

A scenario knows its jobs, as it does where it places their rows: so a job that starts is held against those that run,
and against those that come before it can be over; `esa.entries.admission` has the rule. Where all jobs together have
what they need there is nothing to decide, and no flow for sums that will never be messages.
"""

from __future__ import annotations

from collections.abc import Iterable

from esa.entries.admission import Applicant, admitted, enough, gain
from esa.policy import policy
from esa.program import program
from esa.sim.plan import Plan
from esa.sim.ranks import Ranks
from esa.sim.transport.steps import RING

_LANE_BYTES = 4


def may_lack_rows(plan: Plan) -> frozenset[int]:
    """The jobs that may get none, by number."""
    wanting = [number for number, job in enumerate(plan.jobs) if job.sums_in_network and job.needs > 0]
    if enough([_applicant(plan, number) for number in wanting], _rows(plan)):
        return frozenset()
    return frozenset(wanting)


def transports_of(plan: Plan) -> list[str | None]:
    """By job, what sums it may need messages for; None: none."""
    lacking = may_lack_rows(plan)
    each = enumerate(plan.jobs)
    return [RING if k in lacking else None if job.sums_in_network else job.transport for k, job in each]


def part_bytes(plan: Plan, messages: bool) -> int:
    """Of gradients: what sums are counted by."""
    return 1 if messages else _LANE_BYTES * (plan.lanes or plan.wire_lanes)


class Seats:
    """Who has rows, of the jobs that may have none; `sim.ranks` is told."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._lacking = may_lack_rows(plan)
        self._rows = _rows(plan)
        self._seated: dict[int, bool] = {}  # by job that has started

    def is_open(self, number: int) -> bool:
        """Whether it is to be decided."""
        return number in self._lacking and number not in self._seated

    def seated(self, number: int) -> bool:
        """Whether a job that might have got none has rows."""
        return self._seated.get(number, False)

    def unseated(self, number: int) -> bool:
        """Whether a job that wanted rows has none."""
        return not self._seated.get(number, True)

    def decide(self, ranks: Ranks, number: int, running: Iterable[int], expected: Iterable[int]) -> None:
        """A job starts. running: those that do; expected: those that will, while it does."""
        holding = [_applicant(self._plan, other) for other in running if self.seated(other)]
        coming = [_applicant(self._plan, k) for k in (number, *expected) if self.is_open(k)]
        seated = self._plan.jobs[number].name in admitted(coming, holding, self._rows)
        self._seated[number] = seated
        ranks.job[number]["exchanges"] = not seated
        ranks.job[number]["part_bytes"] = part_bytes(self._plan, not seated)


def _applicant(plan: Plan, number: int) -> Applicant:
    job = plan.jobs[number]
    return Applicant(job.name, job.needs, gain(job.demand, job.workers))


def _rows(plan: Plan) -> int:
    """Of a switch, without those that are slices."""
    rows = program(plan.lanes).aggregators if plan.rows is None else plan.rows
    summed = (job for job in plan.jobs if job.sums_in_network and policy(job.policy).pool == "slice")
    return rows - sum(job.pool.size for job in summed if job.pool is not None)
