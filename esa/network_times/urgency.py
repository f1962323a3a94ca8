"""The 8-bit priority of a job's fragments, from what its scheduler knows: one priority from cluster to switch."""

from __future__ import annotations

from esa.network_times.component import Member
from esa.network_times.network import FRAGMENT_BYTES, Network
from esa.network_times.training import bytes_of, parts_of
from esa.priority import Priority, Urgency


def priorities_of(member: Member, network: Network) -> tuple[int, ...]:
    """By bucket, 1..255: more for what communicates more than it computes, for who has less left, for front layers."""
    communication_s = bytes_of(member.model) / FRAGMENT_BYTES * network.packet_ns / 1e9
    count = len(parts_of(member.model))
    return tuple(
        Priority()(Urgency(communication_s, member.compute_ns / 1e9, member.service_s, count - number))
        for number in range(count)
    )
