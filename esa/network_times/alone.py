"""How long an iteration takes of a job that has the network to itself: about, for how long and when to look at it."""

from __future__ import annotations

from esa.network_times.component import Component, Member
from esa.network_times.load import load_of, tail_ns
from esa.network_times.network import FRAGMENT_BYTES, RING, Network
from esa.network_times.rows import rows_of
from esa.network_times.training import ready_s


def alone_s(component: Component, network: Network) -> list[float]:
    """By member, seconds."""
    slices = rows_of(component, network)
    found = []
    for number, member in enumerate(component.members):
        load = load_of(number, component, network)
        cables, trip_ns = (load.beside, load.beside_ns) if network.policy == "ps" else (load.summed, load.summed_ns)
        each_ns = max(*cables.values(), trip_ns / slices[number].window)
        tail_s = tail_ns(member, len(component.racks_of(member)), network) / 1e9
        found.append(iteration_s(member, each_ns, tail_s, by_messages=network.policy == RING))
    return found


def iteration_s(member: Member, each_ns: float, tail_s: float, *, by_messages: bool) -> float:
    """Of a job whose ranks' fragments take so long each. A sum begins when its bucket is ready and the one before it is
    sent; or, by messages, has come.
    """
    free_s = 0.0
    for ready, octets in ready_s(member):
        free_s = max(free_s, ready) + octets / FRAGMENT_BYTES * each_ns / 1e9 + (tail_s if by_messages else 0.0)
    return free_s if by_messages else free_s + tail_s
