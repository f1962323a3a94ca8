"""ATP: who finds no row in the switches, and what that costs. The constants are from the packet simulator.

A job has a row for each fragment in flight, from the first rank's packet to the PS's answer, in every switch that adds
for it. Where those that send want more rows than a switch has, part of the fragments finds none, and goes to the PS
packet by packet; as each slot of a window looks for another row after a collision, that is about the square of what
there is too little of, which begins before all are taken. What is added in part waits for a RESEND, and as ATP's window
is as long as what is in flight, all of it waits. Over several racks one switch has added it and another has not; that
happens less where jobs meet in all their racks: who wins a row in one wins it in the others. In one rack some ranks
find the row taken and later ones find it free, where others' packets on a host's cable keep the ranks apart.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from esa.network_times.component import Component
from esa.network_times.network import Network

NEAR = 1.3  # times as many rows as are wanted, so that everybody finds one
STALL = 2.4  # round trips until a RESEND has helped, where jobs meet in some of their racks
ALIKE_STALL = 0.8  # where they meet in all, or all is in one rack
_UNLIKE = 0.3  # part of the others met in some racks alone that makes it the former


def part_beside(
    component: Component, network: Network, windows: Sequence[int], sends: Mapping[int, float]
) -> dict[int, float]:
    """By job that sends: the part of its fragments that the PS adds. sends: in which part of the time each does."""
    if network.policy != "atp":
        return dict.fromkeys(sends, float(network.policy == "ps"))
    wanted: dict[Hashable, float] = {}
    for job, part in sends.items():
        for switch in switches_of(component, job):
            wanted[switch] = wanted.get(switch, 0.0) + windows[job] * part
    missing = {switch: max(0.0, 1 - network.rows / (NEAR * rows)) ** 2 for switch, rows in wanted.items() if rows > 0}
    found = {}
    for job in sends:
        there = 1.0
        for switch in switches_of(component, job):
            there *= 1 - missing.get(switch, 0.0)
        found[job] = 1 - there
    return found


def switches_of(component: Component, job: int) -> tuple[Hashable, ...]:
    """Those that add for a job."""
    racks = component.racks_of(component.members[job])
    return racks if len(racks) == 1 else (*racks, "spine")


def round_trip_factor(
    component: Component, network: Network, job: int, window: int, beside: float, sends: Mapping[int, float]
) -> float:
    """How many times as long a window takes because of what waits for a RESEND."""
    if network.policy != "atp":
        return 1.0
    one_rack = len(switches_of(component, job)) == 1
    stall = _stall_in_a_rack(component, job, sends) if one_rack else _stall(component, job, sends)
    return 1 + stall * (1 - (1 - beside) ** window)


def _stall_in_a_rack(component: Component, job: int, sends: Mapping[int, float]) -> float:
    """Round trips, by how much else sends from a job's hosts: where it has them for itself, its ranks keep together."""
    mine = {host for host, _ in component.members[job].hosts}
    beside_it = sum(
        part
        for other, part in sends.items()
        if other != job and any(host in mine for host, _ in component.members[other].hosts)
    )
    return ALIKE_STALL * min(1.0, beside_it)


def _stall(component: Component, job: int, sends: Mapping[int, float]) -> float:
    """Round trips, by how much of what else sends in a job's racks is in some of them alone."""
    mine = {*component.racks_of(component.members[job])}
    alike = unlike = 0.0
    for other, part in sends.items():
        theirs = {*component.racks_of(component.members[other])}
        if other == job or not mine & theirs:
            continue
        if mine <= theirs:
            alike += part
        else:
            unlike += part
    if not alike + unlike:
        return 0.0
    return ALIKE_STALL + (STALL - ALIKE_STALL) * min(1.0, unlike / (alike + unlike) / _UNLIKE)
