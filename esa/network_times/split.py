"""ESA: which fragments are split for want of rows, and what that costs. The constants are from the packet simulator.

A row is taken from the first rank's packet to the last one's. Ranks that get on alike hardly hold any; where one of
them has a fuller cable than another, what the others sent waits in the switch for what is queued there. Who meets a row
of a job that is as urgent or more has its fragment split: its parts meet at the PS, a few of them by way of the cables
that the sum would have had to itself, and its window shrinks (`esa/protocol/aggregator_window.py`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from esa.network_times.component import Component
from esa.network_times.load import Load
from esa.network_times.memory import switches_of
from esa.network_times.rates import Share, max_min, mixed
from esa.network_times.rows import Slice

LEAST_PART = 0.3  # of a window, however scarce rows are
SPLIT_AT_REST = 6.0  # fragments of a window that are split where it neither grows nor shrinks
WAIT, WAIT_OVER_RACKS = 1.8, 3.0  # round trips that a split fragment takes longer
PACKETS = 0.5  # part of its packets that reach the PS by themselves
QUEUED, UNEVEN = 1.3, 0.7  # part of a rank's queue that others' rows wait for: by the root of how uneven cables are
ALWAYS = 0.002  # of a round trip, that a row is taken at least
LESS_URGENT = 0.1  # of the rows of those who are less urgent that are not taken from them at once
_STEPS = 6


def split_shares(
    active: Sequence[int],
    component: Component,
    loads: Sequence[Load],
    slices: Sequence[Slice],
    urgency: Sequence[int],
    weights: Sequence[float],
) -> dict[int, Share]:
    """By job that sends. urgency: by job, its priority; weights: what it gets of a full cable goes by."""
    switches = {job: {*switches_of(component, job)} for job in active}
    split = dict.fromkeys(active, 0.0)
    for _ in range(_STEPS):
        windows = {job: _window(slices[job].window, split[job]) for job in active}
        trips = {job: loads[job].summed_ns * _longer(len(switches[job]), split[job]) for job in active}
        rates = max_min(
            {job: mixed(loads[job], PACKETS * split[job]) for job in active},
            {job: windows[job] / trips[job] for job in active},
            {job: weights[job] for job in active},
        )
        rows = _rows(active, component, loads, windows, rates)
        if not any(_shared(slices[job], slices[other]) for job in active for other in active if other != job):
            break
        for job in active:
            alone = 1.0
            for switch in switches[job]:
                others = [other for other in active if other != job and switch in switches[other]]
                taken = sum(
                    rows[other]
                    * _shared(slices[other], slices[job])
                    * (1.0 if urgency[other] >= urgency[job] else LESS_URGENT)
                    for other in others
                )
                alone *= 1 - min(0.9, taken / slices[job].size)
            split[job] = (split[job] + 1 - alone) / 2
    return {job: Share(rates[job], PACKETS * split[job], rows[job]) for job in active}


def _window(window: int, split: float) -> float:
    return max(LEAST_PART * window, min(window, SPLIT_AT_REST / split)) if split > 0 else float(window)


def _longer(switches: int, split: float) -> float:
    return 1 + (WAIT if switches == 1 else WAIT_OVER_RACKS) * split


def _rows(
    active: Sequence[int],
    component: Component,
    loads: Sequence[Load],
    windows: Mapping[int, float],
    rates: Mapping[int, float],
) -> dict[int, float]:
    """Of a switch, by job: what it sends in the time that a row is taken."""
    busy: dict[Hashable, float] = {}
    for job in active:
        for cable, each_ns in loads[job].summed.items():
            busy[cable] = busy.get(cable, 0.0) + rates[job] * each_ns
    rows = {}
    for job in active:
        racks = component.racks
        ways = [max(busy["up", host], busy.get(("rack-up", racks[host]), 0.0)) for host, _ in _hosts(component, job)]
        trip_ns = loads[job].summed_ns
        queued_ns = max(0.0, windows[job] / rates[job] - trip_ns)
        taken_ns = ALWAYS * trip_ns + QUEUED * max(0.0, max(ways) - min(ways)) ** UNEVEN * queued_ns
        rows[job] = min(windows[job], rates[job] * taken_ns)
    return rows


def _hosts(component: Component, job: int) -> Sequence[tuple[int, int]]:
    return component.members[job].hosts


def _shared(one: Slice, other: Slice) -> float:
    """The part of one's rows that is the other's, too."""
    return max(0, min(one.base + one.size, other.base + other.size) - max(one.base, other.base)) / one.size
