"""Groups with several GPUs on a host: sums go over NVLink inside the hosts first, then from host to host.

    port = HostsFirst(TablePort("a100-dgx"), SimulatedPort(SharedNetwork(hosts=2)))
    port.collective(Group(8, 4), "all-reduce", 2**20)      # four GPUs on each of two hosts

Inside a host a sum takes what an all-reduce of its GPUs was measured to: its first half leaves each GPU a part of the
host's sum, its second spreads the result. Between the two the host's sum goes out by the host's one cable, as one
rank's. The parts follow one another; none begins before the one before is over. A message leaves a host once.
"""

from __future__ import annotations

from dataclasses import dataclass

from esa.errors import BadInput
from esa.serving.network import Group, Port


@dataclass(frozen=True)
class HostsFirst:
    """A `Port` of two: inside hosts, and between them, where a host is a rank."""

    inside: Port
    between: Port

    def collective(self, group: Group, kind: str, octets: int) -> int:
        """BadInput for hosts that have unequal parts of the group, and what either port refuses."""
        if group.workers % group.per_host:
            raise BadInput(f"group: {group.workers} GPUs, {group.per_host} on a host; allowed: as many on each")
        hosts = Group(group.workers // group.per_host, 1)
        mine = self.inside.collective(Group(group.per_host, group.per_host), kind, octets)
        return mine + self.between.collective(hosts, kind, octets)

    def flow(self, *, same_host: bool, octets: int) -> int:
        return (self.inside if same_host else self.between).flow(same_host=same_host, octets=octets)
