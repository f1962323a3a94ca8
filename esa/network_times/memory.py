"""ATP: who finds no row in the switches. The constant is from the packet simulator.

A job has a row for each fragment in flight, from the first rank's packet to the PS's answer, in every switch that adds
for it. A slot of a window that collides looks for another row, in each of the job's once. So which slots share a row
with another job's is settled among all jobs of a switch, whether they send at the moment or not: about the square of
what there is too little of, which begins before all are taken. Of those whose jobs send one has the row; the others'
fragments go to the PS packet by packet.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from esa.network_times.component import Component
from esa.network_times.network import Network

NEAR = 1.3  # times as many rows as are wanted, so that everybody finds one


def part_beside(
    component: Component, network: Network, windows: Sequence[int], sends: Mapping[int, float]
) -> dict[int, float]:
    """By job that sends: the part of its packets that the PS adds. sends: in which part of the time each does."""
    if network.policy != "atp":
        return dict.fromkeys(sends, float(network.policy == "ps"))
    found = {}
    for job in sends:
        member = component.members[job]
        without = without_row(component, network, windows, job, sends)
        found[job] = sum(without[component.racks[host]] * ranks for host, ranks in member.hosts) / member.ranks
    return found


def without_row(
    component: Component, network: Network, windows: Sequence[int], job: int, sends: Mapping[int, float]
) -> dict[int, float]:
    """By rack of a job: the part of its fragments that finds no row in the rack's switch."""
    found = {}
    for rack in component.racks_of(component.members[job]):
        there = [other for other, member in enumerate(component.members) if rack in component.racks_of(member)]
        wanted = sum(windows[other] for other in there)
        if there == [job]:
            found[rack] = 0.0
            continue
        missing = max(0.0, 1 - network.rows / (NEAR * wanted)) ** 2
        sending = sum(windows[other] * sends.get(other, 0.0) for other in there if other != job)
        rivals = missing / (1 - missing) * sending / (wanted - windows[job])  # in the row of a slot
        found[rack] = rivals / (1 + rivals)
    return found


def switches_of(component: Component, job: int) -> tuple[Hashable, ...]:
    """Those that add for a job."""
    racks = component.racks_of(component.members[job])
    return racks if len(racks) == 1 else (*racks, "spine")
