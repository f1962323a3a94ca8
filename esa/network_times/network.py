"""The network that jobs of a cluster share, and how its switches add: frozen values.

Hosts have a cable each to their rack's switch, racks one each to a spine. A PS has a host of its own: in the job's
rack, or, where the job is in several, in a rack of PSs whose cable to the spine is as wide as its hosts' together.
"""

from __future__ import annotations

from dataclasses import dataclass

from esa.errors import BadInput
from esa.policy import policy
from esa.program import program
from esa.wire import WIRE_OVERHEAD_BYTES, packet_bytes

RING = "ring"
SWITCH_POLICIES = ("esa", "atp", "switchml", "ps", RING)
LANES = 64
FRAGMENT_BYTES = 4 * LANES
PACKET_BYTES = packet_bytes(LANES) + WIRE_OVERHEAD_BYTES  # of a cable
MAX_BPS = 1e13


@dataclass(frozen=True)
class Network:
    """policy: of `SWITCH_POLICIES`; "ring": sums are made by messages, and switches only forward. rows: of each switch,
    a power of two; window: fragments in flight of a rank. rate_bps, spine_bps: of a host's cable and of a rack's.
    delay_ns: of a cable; switch_ns: a packet's way through a switch. local_sums: a host adds its GPUs' gradients before
    it sends, so that it is one rank; else each GPU is one, and all of a host share its cable. BadInput, one line.
    """

    policy: str = "esa"
    rows: int = 1024
    window: int = 128
    rate_bps: float = 100e9
    spine_bps: float = 400e9
    delay_ns: int = 1000
    switch_ns: int = 400
    local_sums: bool = False

    def __post_init__(self) -> None:
        if self.policy not in SWITCH_POLICIES:
            raise BadInput(f"policy: unknown policy '{self.policy}'; allowed: {', '.join(SWITCH_POLICIES)}")
        most = program(0).aggregators
        if not 2 <= self.rows <= most or self.rows & (self.rows - 1):
            raise BadInput(f"rows: {self.rows}; allowed: powers of two, 2 to {most}")
        if not 1 <= self.window <= 16384:
            raise BadInput(f"window: {self.window}; allowed: 1 to 16384")
        for name in ("rate_bps", "spine_bps"):
            if not 1e6 <= getattr(self, name) <= MAX_BPS:
                raise BadInput(f"{name}: {getattr(self, name):g}; allowed: 1e6 to {MAX_BPS:g}")
        for name in ("delay_ns", "switch_ns"):
            if not 0 <= getattr(self, name) <= 10**9:
                raise BadInput(f"{name}: {getattr(self, name)}; allowed: 0 to {10**9}")

    @property
    def has_rows(self) -> bool:
        """Whether switches add."""
        return self.policy != RING and policy(self.policy).pool != "none"

    @property
    def packet_ns(self) -> float:
        """What a host's cable needs for a packet with a fragment."""
        return 8e9 * PACKET_BYTES / self.rate_bps

    @property
    def spine_packet_ns(self) -> float:
        """What a rack's cable needs for it."""
        return 8e9 * PACKET_BYTES / self.spine_bps

    def way_ns(self, racks: int) -> float:
        """From a host to another one of a job in so many racks, where nothing else is under way."""
        if racks == 1:
            return 2 * (self.packet_ns + self.delay_ns) + self.switch_ns
        between = 2 * (self.spine_packet_ns + self.delay_ns) + 2 * self.switch_ns
        return 2 * (self.packet_ns + self.delay_ns) + self.switch_ns + between
