"""Racks under spines in one process: compiled programs, the controller's entries, frames carried between switches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address
from typing import NamedTuple

import numpy as np

from esa import wire
from esa.entries import job_entries as entries
from esa.entries.direct import apply
from esa.entries.tiers import LeafSpine, forwarding_items, job_items
from esa.fabric import Cable, End, Graph, Link, Node
from esa.job import Job, Member, Pool, Rack, Run
from esa.policy import policy
from esa.program import program
from esa.switch import Pipeline
from tests.p4.rack import Seen, dissect
from tests.p4.traffic import ip, mac

HOSTS = 5  # of a rack, on ports 0 .. 4
FIRST_UPLINK = 40


def host_number(rack: int, port: int) -> int:
    return 1 + 10 * rack + port


def leaf_spine(racks: int, spines: int) -> LeafSpine:
    """Hosts `host_number(rack, port)`, whose frames take spines in turn; rack switch r is 10.0.0.200 + r."""
    places = [(r, port) for r in range(racks) for port in range(HOSTS)]
    first_rack, first_spine = len(places), len(places) + racks
    nodes = [_node(host_number(r, port), 0, r + port) for r, port in places]
    nodes += [_node(200 + r, 1, r) for r in range(racks)] + [_node(220 + s, 2) for s in range(spines)]
    cables = [(End(h, 0), End(first_rack + r, port)) for h, (r, port) in enumerate(places)]
    cables += [
        (End(first_rack + r, FIRST_UPLINK + s), End(first_spine + s, r)) for r in range(racks) for s in range(spines)
    ]
    return LeafSpine(Graph(tuple(nodes), tuple(Cable(*ends, Link(1e9)) for ends in cables)))


def _node(number: int, tier: int, spread: int = 0) -> Node:
    return Node(f"node-{number}", mac(number), IPv4Address(ip(number)), tier, spread)


def spread(
    network: LeafSpine,
    number: int,
    policy_name: str,
    workers: dict[int, Sequence[int]],
    server: tuple[int, int],
    *,
    pool: Pool | None = None,
    window: int = 4,
    ttl_us: int = 0,
    lanes: int = 64,
) -> Run:
    """A run of job `number`: workers by rack switch, each rack's as ports; server (rack, port)."""

    def member(rack: int, port: int, udp_port: int) -> Member:
        host = host_number(rack, port)
        return Member(ip=IPv4Address(ip(host)), mac=mac(host), udp_port=udp_port, switch_port=port)

    slices = policy(policy_name).pool == "slice"
    members = [member(rack, port, 5000 + number) for rack, ports in workers.items() for port in ports]
    root = network.spines[network.host[mac(host_number(*server))].spine].ip if len(workers) > 1 else None
    return Job(
        name=f"job{number}",
        job=number,
        policy=policy_name,
        lanes=lanes,
        workers=tuple(members),
        racks=tuple(Rack(workers=len(ports), switch_ip=network.racks[r].ip) for r, ports in workers.items())
        if len(workers) > 1
        else (),
        server=member(*server, wire.ESA_PORT),
        switch_ip=root or network.racks[next(iter(workers))].ip,
        pool=pool or (Pool(base=64 * number, size=2 * window) if slices else Pool(base=0, size=8)),
        window=window,
        ttl_us=ttl_us,
    ).run(epoch=number * 3)


@lru_cache
def _loaded(lanes: int, number: int) -> Pipeline:
    """Switch `number` of a process; `Tree` empties it."""
    return Pipeline.load(program(lanes).json.read_text())


class Hop(NamedTuple):
    """A frame that a switch sent out."""

    switch: IPv4Address
    port: int
    frame: bytes


class Tree:
    """The switches of `network` with `jobs` added, each under its index from 1."""

    def __init__(self, network: LeafSpine, jobs: Sequence[Run], lanes: int = 64):
        self.network, self.jobs = network, list(jobs)
        switches = [*network.racks, *network.spines]
        self.pipelines = {switch.ip: _loaded(lanes, n) for n, switch in enumerate(switches)}
        for pipeline in self.pipelines.values():
            pipeline.reset()
        for address, items in forwarding_items(network.graph).items():
            apply(items, self.pipelines[address])
        for n, job in enumerate(jobs):
            for address, items in job_items(network, job, n + 1).items():
                apply([entries.run_entry(job.job, job.epoch), *items], self.pipelines[address])
        self.now_us = 0
        self.hops: list[Hop] = []  # of the last frame
        self._host_at = {(network.racks[h.rack].ip, h.port): h.mac for h in network.hosts}
        self._rack_at = {switch.ip: rack for rack, switch in enumerate(network.racks)}
        self._spine_at = {switch.ip: spine for spine, switch in enumerate(network.spines)}

    def entrance(self, source_mac: str) -> tuple[IPv4Address, int]:
        """Where a host's frames come in."""
        host = self.network.host[source_mac]
        return self.network.racks[host.rack].ip, host.port

    def beyond(self, switch: IPv4Address, port: int) -> tuple[IPv4Address, int] | str:
        """What a port leads to: another switch's port, or a host."""
        if switch in self._spine_at:
            return self.network.racks[port].ip, self.network.uplink(port, self._spine_at[switch])
        if (switch, port) in self._host_at:
            return self._host_at[switch, port]
        return self.network.spines[port - FIRST_UPLINK].ip, self._rack_at[switch]

    def process(self, switch: IPv4Address, port: int, frame: bytes, at_us: int) -> list[Hop]:
        return [Hop(switch, *out) for out in self.pipelines[switch].process(port, frame, at_us)]

    def carry(self, frame: bytes, at: tuple[IPv4Address, int] | None = None) -> list[tuple[str, Hop]]:
        """Carry a frame until it, and what became of it, is with hosts: each host, by MAC address, and its last hop.

        at: the switch and port where it comes in, if not its source's.
        """
        self.now_us += 1
        self.hops = []
        arrived = []
        waiting = deque([(at or self.entrance(frame[6:12].hex(":")), frame)])
        while waiting:
            (switch, port), frame = waiting.popleft()
            for hop in self.process(switch, port, frame, self.now_us):
                self.hops.append(hop)
                assert len(self.hops) < 1000, "a frame goes round in circles"
                there = self.beyond(switch, hop.port)
                if isinstance(there, str):
                    arrived.append((there, hop))
                else:
                    waiting.append((there, hop.frame))
        return arrived

    def send(self, frame: bytes, at: tuple[IPv4Address, int] | None = None) -> dict[str, list[Seen]]:
        """As `carry`, an ESA packet: what each host got, by MAC address."""
        arrived: dict[str, list[Seen]] = {}
        for host, hop in self.carry(frame, at):
            arrived.setdefault(host, []).append(dissect(hop.port, hop.frame))
        return arrived

    def counted(self, counter: str, job: Run, switch: IPv4Address) -> int:
        cells = self.pipelines[switch].counters[entries.COUNTERS[counter]]
        return int(cells.packets[self.jobs.index(job) + 1])

    def denied(self) -> Iterator[tuple[IPv4Address, str, int]]:
        """(switch, reason, packets) where any were denied."""
        for switch, pipeline in self.pipelines.items():
            for reason, packets in zip(
                entries.DENY_REASONS, pipeline.counters[entries.DENIED_BY_REASON].packets, strict=False
            ):
                if packets:
                    yield switch, reason, int(packets)

    def held(self) -> dict[IPv4Address, int]:
        """Rows taken, where there are any."""
        rows = {
            switch: int(np.count_nonzero(pipeline.registers["EsaIngress.aggregation.row_bitmap"].read_all()))
            for switch, pipeline in self.pipelines.items()
        }
        return {switch: count for switch, count in rows.items() if count}
