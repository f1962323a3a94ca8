"""The network that replicas and training jobs share: frozen values, and the simulator's fabric of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from esa.errors import BadInput
from esa.fabric import Link
from esa.fabric.shapes import leaf_spine
from esa.policy import policy
from esa.program import program
from esa.sim.plan import Fabric
from esa.sim.transport.steps import TRANSPORTS as BY_MESSAGES
from esa.wire import WIRE_OVERHEAD_BYTES, packet_bytes

CARRIERS = ("esa", "atp", "switchml", "ps", *BY_MESSAGES)
PRIORITIES = ("class", "formula")
QUEUE_PACKETS = 4096
LANES = (64, 256)


@dataclass(frozen=True)
class SharedNetwork:
    """Hosts in racks of equal size, each on a cable to its rack's switch, racks on one each to a spine.

    carrier: how sums are made: a policy of switches, or messages in a `ring` or by `halving-doubling`
    rows, window: of each switch, a power of two; fragments in flight of a rank
    lanes: of a fragment, 4 bytes each. packed: a lane has two half-precision values, as integers of 16 bits less those
    that a sum over the ranks needs; else one
    priorities: "class": decode before prompts before gradients; "formula": `esa.priority.Priority`, for all alike

    BadInput, one line.
    """

    hosts: int = 8
    racks: int = 1
    carrier: str = "esa"
    rows: int = 1024
    window: int = 128
    lanes: int = 256
    packed: bool = False
    rate_bps: float = 100e9
    spine_bps: float = 400e9
    delay_ns: int = 1000
    switch_ns: int = 400
    priorities: str = "class"

    def __post_init__(self) -> None:
        most = program(0).aggregators
        for name, allowed in (("carrier", CARRIERS), ("priorities", PRIORITIES)):
            if getattr(self, name) not in allowed:
                raise BadInput(f"{name}: unknown '{getattr(self, name)}'; allowed: {', '.join(allowed)}")
        if self.lanes not in LANES:
            raise BadInput(f"lanes: {self.lanes}; allowed: {', '.join(map(str, LANES))}")
        if not 2 <= self.rows <= most or self.rows & (self.rows - 1):
            raise BadInput(f"rows: {self.rows}; allowed: powers of two, 2 to {most}")
        if not 1 <= self.racks <= self.hosts or self.hosts % self.racks:
            raise BadInput(f"racks: {self.racks} of {self.hosts} hosts; allowed: racks of equal size")
        for name, least, highest in (
            ("window", 1, 16384),
            ("rate_bps", 1e6, 1e13),
            ("spine_bps", 1e6, 1e13),
            ("delay_ns", 0, 10**9),
            ("switch_ns", 0, 10**9),
        ):
            if not least <= getattr(self, name) <= highest:
                raise BadInput(f"{name}: {getattr(self, name):g}; allowed: {least:g} to {highest:g}")

    @property
    def in_network(self) -> bool:
        """Whether sums are a policy's, with PSs, and not messages."""
        return self.carrier not in BY_MESSAGES

    @property
    def policy(self) -> str:
        """Of the simulator's jobs; without a meaning where sums are messages."""
        return self.carrier if self.in_network else "esa"

    @property
    def has_rows(self) -> bool:
        return self.in_network and policy(self.carrier).pool != "none"

    @property
    def round_trip_ns(self) -> int:
        """Between the hosts that are furthest apart, where nothing else is under way."""
        octets = 8e9 * (packet_bytes(self.lanes) + WIRE_OVERHEAD_BYTES)
        way = 2 * (octets / self.rate_bps + self.delay_ns) + self.switch_ns
        if self.racks > 1:
            way += 2 * (octets / self.spine_bps + self.delay_ns) + 2 * self.switch_ns
        return round(2 * way)

    def sum_bytes(self, octets: int) -> int:
        """What half-precision values of so many bytes are to what sums them: switches add integers of 32 bits."""
        return 2 * octets if self.in_network and not self.packed else octets

    def fabric(self, members: Iterable[int]) -> Fabric:
        """members: the hosts of all ranks, as often as they have one. BadInput for a host that there is not."""
        count = [0] * self.hosts
        for host in members:
            if not 0 <= host < self.hosts:
                raise BadInput(f"hosts: {host}; allowed: 0 to {self.hosts - 1}")
            count[host] += 1
        link, up = (Link(rate, self.delay_ns, QUEUE_PACKETS) for rate in (self.rate_bps, self.spine_bps))
        graph = leaf_spine([self.hosts // self.racks] * self.racks, link, up)
        return Fabric(graph, switch_ns=self.switch_ns, gpus=max(1, *count))
