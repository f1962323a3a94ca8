"""ATP: windows that stand still for a fragment of which a row has one part and the PS another.

ATP's windows are as long as what is in flight, so all of one waits for its oldest fragment. Its parts are apart where
one rack's switch has a row for it and another's none, or where some ranks of a rack find the row taken and later
ones find it free. They meet after a RESEND: a reordering window after a later sum has overtaken it (RFC 8985), and
a round trip more. From one window that stands still to the next one there are a window and 1 / split fragments, so

    stalled        = split * window / (1 + split * window)       part of the windows
    window's time  = (1 + stalled) * round trip + stalled * reordering window
    round trip     = idle one + queue + stalled * window * narrowest cable / 2

for what has stood still leaves at once, and waits for half of itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from esa.network_times.component import Component
from esa.network_times.load import Cables, Load
from esa.network_times.memory import without_row
from esa.network_times.network import Network
from esa.network_times.rates import mixed

# From the packet simulator. Over racks: of the fragments that would be split if each rack's rows were given away by
# themselves. In a rack: of those that would be if each packet's were, by rank of a host; these come one after another.
SPLIT, SPLIT_IN_A_RACK = 1 / 3, 0.03
# Round trips. A quarter of one, times 1 to 6: less after a RESEND that was needed, more after one in vain. Of two ranks
# both are needed, of more the later ones come in vain; packets have 1.2 to 2.5 times, and 3 to 4.6.
REORDERING_OF_TWO, REORDERING = 1.5 / 4, 3.75 / 4


class Cycle(NamedTuple):
    """A window that is as fast as the job's without queues: fragments, round trip, what one takes of each cable."""

    window: float
    trip_ns: float
    cables: Cables


def cycle_of(
    job: int,
    component: Component,
    network: Network,
    load: Load,
    windows: Sequence[int],
    beside: float,
    sends: Mapping[int, float],
) -> Cycle:
    """Of a job that sends. beside: the part of its packets that the PS adds; sends: by job, in which part of the time.

    (1 + stalled) is in the window, so that a queue counts as often as the round trip.
    """
    trip_ns = (1 - beside) * load.summed_ns + beside * load.beside_ns
    cables = mixed(load, beside)
    if network.policy != "atp":
        return Cycle(windows[job], trip_ns, cables)
    split = _split(job, component, network, windows, sends)
    stalled = split * windows[job] / (1 + split * windows[job])
    cables = {cable: each + split * load.beside.get(cable, 0.0) for cable, each in cables.items()}  # RESENDs
    burst_ns = windows[job] * max(cables.values()) / 2
    reordering_ns = trip_ns * (REORDERING_OF_TWO if component.members[job].ranks == 2 else REORDERING)
    return Cycle(windows[job] / (1 + stalled), trip_ns + stalled * (burst_ns + reordering_ns / (1 + stalled)), cables)


def _split(
    job: int, component: Component, network: Network, windows: Sequence[int], sends: Mapping[int, float]
) -> float:
    """The part of a job's fragments that has a row for some of its packets and none for others."""
    without = [*without_row(component, network, windows, job, sends).values()]
    strangers = _strangers(job, component, sends)
    if len(without) > 1:
        return SPLIT * strangers * (1 - math.prod(without) - math.prod(1 - part for part in without))
    most = max(ranks for _, ranks in component.members[job].hosts)
    return SPLIT_IN_A_RACK * most * strangers * _kept_apart(job, component, sends) * without[0] * (1 - without[0])


def _strangers(job: int, component: Component, sends: Mapping[int, float]) -> float:
    """The chance that who has a job's row in one rack is another one than in the next.

    One neighbour that is in all its racks wins a row in all of them or in none.
    """
    mine = {*component.racks_of(component.members[job])}
    everywhere = every = 0.0
    for other, part in sends.items():
        theirs = {*component.racks_of(component.members[other])}
        if other != job and mine & theirs:
            every += part
            everywhere += part**2 if mine <= theirs else 0.0
    return 1 - everywhere / every**2 if every else 0.0


def _kept_apart(job: int, component: Component, sends: Mapping[int, float]) -> float:
    """In which part of the time others' packets are on its hosts' cables: else its ranks keep together."""
    mine = {host for host, _ in component.members[job].hosts}
    beside_it = sum(
        part
        for other, part in sends.items()
        if other != job and any(host in mine for host, _ in component.members[other].hosts)
    )
    return min(1.0, beside_it)
