"""What a job asks of the network for a fragment of each rank: which cables, for how long, and its round trip."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from esa.network_times.component import Component, Member
from esa.network_times.network import FRAGMENT_BYTES, PACKET_BYTES, RING, Network
from esa.network_times.training import bytes_of
from esa.sim.transport.flow import HEADER_BYTES

MTU_BYTES = 9000  # of a ring's packets
_MESSAGE_PACKET_BYTES = MTU_BYTES + 14 + 24
_ACK_BYTES = HEADER_BYTES + 14 + 24
_HOPS = {"atp": 3.0, "ps": 4.0, RING: 3.0}

Cables = Mapping[Hashable, float]  # nanoseconds of each that a fragment takes


class Load(NamedTuple):
    """summed: cables that a fragment takes which switches add, or a ring; beside: one which the PS adds.

    summed_ns, beside_ns: its round trip where nothing else is under way.
    """

    summed: Cables
    beside: Cables
    summed_ns: float
    beside_ns: float


def load_of(number: int, component: Component, network: Network) -> Load:
    """Of a member, by its number."""
    member = component.members[number]
    racks = component.racks_of(member)
    inside, between = network.packet_ns, network.spine_packet_ns
    if network.policy == RING:
        return _ring(member, component, network)
    hosts: dict[Hashable, float] = {}
    for host, ranks in member.hosts:
        for way in ("up", "down"):
            hosts[way, host] = ranks * inside
    summed, beside = dict(hosts), dict(hosts)
    if len(racks) > 1:
        for rack in racks:
            ranks = sum(some for host, some in member.hosts if component.racks[host] == rack)
            summed["rack-up", rack] = summed["rack-down", rack] = beside["rack-down", rack] = between
            beside["rack-up", rack] = ranks * between
    beside["server-in", number], beside["server-out", number] = member.ranks * inside, inside
    way_ns = network.way_ns(len(racks))
    if network.policy == "atp":
        summed["server-in", number] = summed["server-out", number] = inside
    summed_ns = 2 * way_ns if network.policy == "atp" else way_ns
    return Load(summed, beside, summed_ns, 2 * way_ns + (member.ranks - 1) * inside)


def _ring(member: Member, component: Component, network: Network) -> Load:
    """Every rank sends to the next, and the last to the first; of what it gets it acknowledges every other packet."""
    part = 2 * (member.ranks - 1) / member.ranks
    payload = MTU_BYTES - HEADER_BYTES
    wire_bytes = FRAGMENT_BYTES * (_MESSAGE_PACKET_BYTES + _ACK_BYTES / 2) / payload
    inside, between = (8e9 * part * wire_bytes / rate for rate in (network.rate_bps, network.spine_bps))
    cables: dict[Hashable, float] = {}
    for host, ranks in member.hosts:
        cables["up", host] = cables["down", host] = ranks * inside
    order = [component.racks[host] for host, ranks in member.hosts for _ in range(ranks)]
    for here, there in zip(order, [*order[1:], order[0]], strict=True):
        if here != there:
            for cable in (("rack-up", here), ("rack-down", there)):
                cables[cable] = cables.get(cable, 0.0) + between
    return Load(cables, cables, 0.0, 0.0)


def round_trip_ns(component: Component, network: Network) -> int:
    """To a PS and back through an idle network, of the job whose way is the longest: what timers go by."""
    return round(2 * network.way_ns(max(len(component.racks_of(member)) for member in component.members)))


def step_ns(racks: int, network: Network) -> float:
    """How much later than it was sent the last packet of a ring's step has come."""
    more_ns = 8e9 * (_MESSAGE_PACKET_BYTES - PACKET_BYTES) * (1 / network.rate_bps)
    if racks > 1:
        more_ns += 2 * 8e9 * (_MESSAGE_PACKET_BYTES - PACKET_BYTES) / network.spine_bps
    return network.way_ns(racks) + more_ns


def tail_ns(member: Member, racks: int, network: Network) -> float:
    """From when a sum's last byte is sent until the sum is there: of messages, the steps' ways."""
    if network.policy == RING:
        return 2 * (member.ranks - 1) * step_ns(racks, network)
    return network.way_ns(racks) * (2 if network.policy in ("atp", "ps") else 1)


def episode_hops(component: Component, network: Network, horizon_s: float, expected_s: Sequence[float]) -> float:
    """Packet hops of all jobs in that time, of whole models, about."""
    hops = 0.0
    for member, each_s in zip(component.members, expected_s, strict=True):
        packets = bytes_of(member.model) / FRAGMENT_BYTES
        if network.policy == RING:
            packets = 2 * bytes_of(member.model) / (MTU_BYTES - HEADER_BYTES)
        per_packet = _HOPS.get(network.policy, 2.2) * (2.0 if len(component.racks_of(member)) > 1 else 1.0)
        hops += packets * member.ranks * per_packet * (horizon_s / each_s + 1)
    return hops
