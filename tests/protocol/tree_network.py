"""Racks under spines in virtual time: as `network`, with more switches and a faulty link between any two of them."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

import numpy as np

from esa.entries.tiers import LeafSpine
from esa.job import Job
from esa.protocol import MULTICAST, NEVER, server_send
from tests.p4.tree import Tree
from tests.protocol.network import Faults, Network, Server, frame_of


class TreeNetwork(Network):
    """Faulty links, a tree of switches and a clock."""

    def __init__(self, topology: LeafSpine, jobs: Sequence[Job], faults: Faults, rng: np.random.Generator):
        super().__init__(list(jobs)[:0], faults, rng)
        self.tree = Tree(topology, jobs)

    def send(self, port: int, frame: bytes) -> None:
        """A host sends; which one its frame says."""
        at = self.tree.entrance(frame[6:12].hex(":"))
        self._link(lambda f: self._through(at, f), frame)

    def _through(self, at: tuple[IPv4Address, int], frame: bytes) -> None:
        for hop in self.tree.process(*at, frame, self.now_ns // 1000):
            there = self.tree.beyond(hop.switch, hop.port)
            if isinstance(there, str):
                address = hop.frame[30:34], int.from_bytes(hop.frame[36:38], "big")
                receiver = self.hosts.get(address)
                if receiver is not None:
                    self._link(receiver, hop.frame)
            else:
                self._link(lambda f, there=there: self._through(there, f), hop.frame)


class TreeServer(Server):
    """As `Server`; it reminds as many switches as the job has."""

    def __post_init__(self) -> None:
        super().__post_init__()
        job = self.job
        topology = self.network.tree.network
        macs = {switch.ip: switch.mac for switch in (*topology.racks, *topology.spines)}
        here = [job.server.model_copy(update={"ip": ip, "mac": macs[ip]}) for ip in job.switches]
        self.receivers = [*job.workers, *here]
        self.members = {(m.ip.packed, m.udp_port): n for n, m in enumerate(self.receivers)}

    def pump(self) -> None:
        more = True
        while more:
            count, wake_ns = server_send(self.state, self.out, self.destination, self.network.now_ns)
            for i in range(count):
                to = self.receivers[0 if self.destination[i] == MULTICAST else self.destination[i]]
                self.network.send(0, frame_of(self.job.server, to, self.out[i].tobytes()))
            more = wake_ns <= self.network.now_ns
        if wake_ns < NEVER:
            self.timer.set(wake_ns)
