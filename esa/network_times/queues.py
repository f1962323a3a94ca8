"""Rates of jobs that have windows: who shares a full cable waits in one queue there.

A window comes back after its round trip and what it waits, so a job sends window / (trip + wait). Of the cables on its
way the one with the longest queue says how long, for all ranks of a job wait for the last of them. On a full cable all
wait alike; where there is room nobody waits.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple

from esa.network_times.load import Cables

_NEAR = 1e-6  # of a wait: cables whose queues are so much alike fill together
_LEAST = 1e-9  # of a cable, that is left for those who are not yet known, whatever rounding says
_MOST_STEPS = 50


class Queued(NamedTuple):
    """rates: by job, units in a nanosecond; waits_ns: of the cables that have a queue."""

    rates: dict[int, float]
    waits_ns: dict[Hashable, float]


def queued(cables: Mapping[int, Cables], trips_ns: Mapping[int, float], windows: Mapping[int, float]) -> Queued:
    """cables: by job, what a unit takes of each cable, of which there is 1; windows: units under way.

    Cable by cable, the longest queue first: whoever waits there has its rate, and the others what that leaves.
    """
    users: dict[Hashable, dict[int, float]] = {}
    for job, mine in cables.items():
        for cable, each in mine.items():
            if each > 0:
                users.setdefault(cable, {})[job] = each
    left = dict.fromkeys(users, 1.0)

    def wait_ns(cable: Hashable) -> float:
        there = [(each, windows[job], trips_ns[job]) for job, each in users[cable].items() if job in going]
        return _wait_ns(there, left[cable])

    going = {*cables}
    waits = {cable: wait_ns(cable) for cable in users}
    rates: dict[int, float] = {}
    found: dict[Hashable, float] = {}
    while going:
        fullest = max(waits, key=waits.__getitem__)
        longest_ns = waits[fullest]
        if longest_ns <= 0:
            rates.update({job: windows[job] / trips_ns[job] for job in going})
            break
        found.update({cable: wait for cable, wait in waits.items() if wait >= longest_ns * (1 - _NEAR)})
        changed: set[Hashable] = set()
        for job in [job for job in users[fullest] if job in going]:
            rates[job] = windows[job] / (trips_ns[job] + longest_ns)
            going.remove(job)
            for cable, each in cables[job].items():
                if each > 0:
                    left[cable] = max(_LEAST, left[cable] - each * rates[job])
                    changed.add(cable)
        waits.update({cable: wait_ns(cable) for cable in changed - {fullest}})
        waits[fullest] = 0.0
    return Queued(rates, found)


def _wait_ns(there: Iterable[tuple[float, float, float]], room: float) -> float:
    """How long all have to wait so that they fill no more than that. there: what each takes, its window, its trip.

    What they send falls with the wait, and less and less, so Newton's steps come up to it from below.
    """
    there = list(there)
    if not there or sum(each * window / trip for each, window, trip in there) <= room * (1 + _NEAR):
        return 0.0
    wait = 0.0
    for _ in range(_MOST_STEPS):
        sent = [(each * window / (trip + wait), trip + wait) for each, window, trip in there]
        step = (sum(rate for rate, _ in sent) - room) / sum(rate / long for rate, long in sent)
        wait += step
        if step <= _NEAR * wait:
            break
    return wait
