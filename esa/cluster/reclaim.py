"""Which lent hosts to give back, and which jobs have to stop for it.

    found = reclaim(cluster.lent, jobs, 3, "preemption_cost")
    found.hosts, found.victims

Hosts without a job go first, then hosts of flexible workers alone, who leave without a stop. Then, host by host, the
cheapest one's jobs are stopped, everywhere, until enough hosts are empty; the costs of the others fall by it. What a
host costs is said by one of

    preemption_cost  for each job on it, the part of the job that is there: stopping a job costs 1 in all, however wide
    count            the number of jobs on it
    priority         the job on it that came first: the host whose first came last
    optimal          is no greedy rule: as few jobs as can be, by integer programming

A tie goes to the lowest number. Server preemption cost is Aryl's (arXiv 2202.07896): its abstract says that the number
of preempted jobs is to be small, that this is combinatorial, and that a greedy rule by that cost solves it; whether the
part of a job is counted in GPUs or in servers it does not say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from esa.errors import BadInput

VICTIMS = ("preemption_cost", "count", "priority", "optimal")
SHARES = ("gpus", "servers")


class Occupant(NamedTuple):
    """A job with GPUs on lent hosts. base: workers that it needs, by host, lent or not; flexible: the others.

    submit_ns: who came first counts for more.
    """

    base: Mapping[int, int]
    flexible: Mapping[int, int]
    submit_ns: int = 0

    def share(self, host: int, share: str) -> Fraction:
        """The part of the job that is on a host."""
        if share == "servers":
            return Fraction(1, len(self.base))
        return Fraction(self.base[host], sum(self.base.values()))


class Reclaimed(NamedTuple):
    """hosts: to be given back, as many as were asked for, or all. victims: jobs to be stopped."""

    hosts: frozenset[int]
    victims: frozenset[int]


def reclaim(
    lent: Collection[int],
    jobs: Mapping[int, Occupant],
    count: int,
    victims: str = "preemption_cost",
    *,
    share: str = "gpus",
    trim: bool = False,
) -> Reclaimed:
    """Choose `count` of the lent hosts. share: by which a job's part is counted, of `SHARES`. trim: who turns out not
    to be in the way is not stopped. BadInput for an unknown rule.
    """
    for name, value, allowed in (("victims", victims, VICTIMS), ("share", share, SHARES)):
        if value not in allowed:
            raise BadInput(f"{name}: unknown rule '{value}'; allowed: {', '.join(allowed)}")
    count = min(count, len(lent))
    if len(_vacant(lent, jobs, ())) >= count:
        stopped: set[int] = set()
    elif victims == "optimal":
        stopped = _fewest(lent, jobs, count)
    else:
        stopped = _greedy(lent, jobs, count, _cost_of(victims, share))
    if trim:
        for number in sorted(stopped):
            if len(_vacant(lent, jobs, stopped - {number})) >= count:
                stopped.remove(number)
    left = [job for number, job in jobs.items() if number not in stopped]
    empty = _vacant(lent, jobs, stopped)
    chosen = sorted(empty, key=lambda host: (sum(job.flexible.get(host, 0) for job in left), host))[:count]
    return Reclaimed(frozenset(chosen), frozenset(stopped))


def _vacant(lent: Collection[int], jobs: Mapping[int, Occupant], stopped: Collection[int]) -> set[int]:
    """Lent hosts that nobody needs."""
    needed = {host for number, job in jobs.items() if number not in stopped for host in job.base}
    return {host for host in lent if host not in needed}


Cost = Callable[[int, Collection[Occupant]], Any]


def _cost_of(victims: str, share: str) -> Cost:
    if victims == "count":
        return lambda host, there: len(there)
    if victims == "priority":
        return lambda host, there: (-min(job.submit_ns for job in there), len(there))
    return lambda host, there: sum(job.share(host, share) for job in there)


def _greedy(lent: Collection[int], jobs: Mapping[int, Occupant], count: int, cost: Cost) -> set[int]:
    on: dict[int, set[int]] = {host: set() for host in lent}
    for number, job in jobs.items():
        for host in job.base:
            if host in on:
                on[host].add(number)
    stopped: set[int] = set()
    while sum(not there for there in on.values()) < count:
        occupied = [host for host, there in on.items() if there]
        cheapest = min(occupied, key=lambda host: (cost(host, [jobs[number] for number in on[host]]), host))
        gone = set(on[cheapest])
        stopped |= gone
        for there in on.values():
            there -= gone
    return stopped


def _fewest(lent: Collection[int], jobs: Mapping[int, Occupant], count: int) -> set[int]:
    """As few jobs as can be: a host is empty only if all its jobs are stopped."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array

    hosts = sorted(lent)
    at = {host: k for k, host in enumerate(hosts)}
    numbers = sorted(number for number, job in jobs.items() if any(host in at for host in job.base))
    pairs = [(at[host], k) for k, number in enumerate(numbers) for host in jobs[number].base if host in at]
    lines = [*range(len(pairs))] * 2
    columns = [host for host, _ in pairs] + [len(hosts) + job for _, job in pairs]
    signs = [1.0] * len(pairs) + [-1.0] * len(pairs)
    width = len(hosts) + len(numbers)
    implied = LinearConstraint(coo_array((signs, (lines, columns)), shape=(len(pairs), width)).tocsr(), ub=0)
    are_empty = np.array([1.0] * len(hosts) + [0.0] * len(numbers))
    found = milp(
        1 - are_empty,
        integrality=np.ones(width),
        bounds=Bounds(0, 1),
        constraints=[implied, LinearConstraint(are_empty, lb=count)],
    )
    if not found.success:
        raise BadInput(f"victims: no optimum for {count} of {len(hosts)} hosts: {found.message}")
    return {number for k, number in enumerate(numbers) if found.x[len(hosts) + k] > 0.5}
