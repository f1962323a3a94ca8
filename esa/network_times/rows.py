"""Which rows each job of a component may use, and so how many fragments it has in flight."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from esa.entries.pools import Claim, allocate
from esa.errors import BadInput
from esa.network_times.component import Component
from esa.network_times.network import FRAGMENT_BYTES, Network
from esa.network_times.training import bytes_of
from esa.policy import Policy, policy


class Slice(NamedTuple):
    """Rows base .. base + size - 1, and the window that they have room for."""

    base: int
    size: int
    window: int


def _placed(component: Component, network: Network, knobs: Policy) -> list[Slice]:
    """Where the control plane puts each as it comes, in the order of the members."""
    window = min(network.window, network.rows)
    claims: list[Claim] = []
    for number, member in enumerate(component.members):
        sending_s = bytes_of(member.model) / FRAGMENT_BYTES * network.packet_ns / 1e9
        demand = sending_s / (sending_s + member.compute_ns / 1e9)
        pool = allocate(f"{number}", knobs, window, claims, network.rows, len(component.members))
        claims.append(Claim(f"{number}", "placed", pool, demand))
    return [Slice(claim.pool.base, claim.pool.size, window) for claim in claims]


def rows_of(component: Component, network: Network) -> list[Slice]:
    """By member: all rows; or where the control plane puts it; or, where a policy wants slices, an equal part that
    nobody has whom it shares a switch with.

    BadInput where a slice would be a row.
    """
    if not network.has_rows:
        return [Slice(0, 1, network.window)] * len(component.members)
    knobs = policy(network.policy)
    if knobs.pool == "placed":
        return _placed(component, network, knobs)
    if knobs.pool != "slice":
        return [Slice(0, network.rows, min(network.window, network.rows))] * len(component.members)
    taken: dict[Hashable, set[int]] = {}
    colours = []
    for member in component.members:
        racks = component.racks_of(member)
        switches: list[Hashable] = [*racks, *(["spine"] if len(racks) > 1 else [])]
        used = set[int]().union(*(taken.get(switch, set()) for switch in switches))
        colour = next(number for number in range(len(component.members)) if number not in used)
        colours.append(colour)
        for switch in switches:
            taken.setdefault(switch, set()).add(colour)
    size = 1 << max(0, (network.rows // (max(colours) + 1)).bit_length() - 1)
    if size < 2:
        raise BadInput(f"rows: {network.rows} for {max(colours) + 1} slices on a switch; allowed: 2 or more for each")
    return [Slice(size * colour, size, min(network.window, size // 2)) for colour in colours]
