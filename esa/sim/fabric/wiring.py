"""The network of a simulation and its control plane: the controller's own entries, applied to the pipelines directly.

Port k of a rack's switch is its k-th host, behind them the spines; port r of a spine is rack r.
"""

from __future__ import annotations

from collections.abc import Sequence

from esa.entries import job_entries as entries
from esa.entries.direct import apply, remove
from esa.entries.tiers import Host, LeafSpine, RackSwitch, Switch, forwarding_items, job_items
from esa.job import Job, Member, Rack, Run
from esa.sim.fabric.addresses import encapsulation, ip_of, mac_of, member
from esa.sim.plan import Fabric, Plan
from esa.switch.runtime.pipeline import Pipeline


def rack_of(fabric: Fabric) -> list[int]:
    """The rack of each host."""
    return [rack for rack, size in enumerate(fabric.racks) for _ in range(size)]


def network_of(fabric: Fabric) -> LeafSpine:
    """Hosts and switches with their addresses. Frames to host h take spine h modulo the spines."""
    spines = fabric.spines if len(fabric.racks) > 1 else 0
    first_spine = fabric.hosts + len(fabric.racks)
    racks = [
        RackSwitch(ip_of(fabric.hosts + rack), mac_of(fabric.hosts + rack), first_uplink=size)
        for rack, size in enumerate(fabric.racks)
    ]
    hosts = [
        Host(mac_of(host), rack, host - sum(fabric.racks[:rack]), host % max(spines, 1))
        for host, rack in enumerate(rack_of(fabric))
    ]
    return LeafSpine(
        racks=tuple(racks),
        spines=tuple(Switch(ip_of(first_spine + k), mac_of(first_spine + k)) for k in range(spines)),
        hosts=tuple(hosts),
    )


class Control:
    """Adds jobs to switches and removes them. Jobs count from 0 in the plan's order, and from 1 on the switches."""

    def __init__(self, plan: Plan, pipelines: list[Pipeline]) -> None:
        self._plan = plan
        self._network = network_of(plan.fabric)
        self._rack_of = rack_of(plan.fabric)
        self._switches = [*self._network.racks, *self._network.spines]
        self._pipelines = {switch.ip: pipeline for switch, pipeline in zip(self._switches, pipelines, strict=True)}
        self._jobs: dict[int, Run] = {}
        for ip, items in forwarding_items(self._network).items():
            apply(items, self._pipelines[ip])
        if plan.fabric.ecn_packets is not None:
            for pipeline in pipelines:
                apply([entries.ecn_entry(plan.fabric.ecn_packets)], pipeline)

    def add(self, number: int, hosts: Sequence[int]) -> Run:
        """Add a job whose workers, rack by rack, then PS, are on `hosts`; return it as the end hosts know it."""
        spec = self._plan.jobs[number]
        network = self._network
        racks = [self._rack_of[host] for host in hosts[:-1]]
        places = [network.hosts[host] for host in hosts]
        members = [
            member(host, place.port, server=k == len(hosts) - 1)
            for k, (host, place) in enumerate(zip(hosts, places, strict=True))
        ]
        several = sorted(set(racks), key=racks.index) if len(set(racks)) > 1 else []
        root = network.spines[places[-1].spine] if several else network.racks[racks[0]]
        job = Job(
            name=spec.name,
            job=number + 1,
            policy=spec.policy,
            lanes=self._plan.lanes,
            workers=tuple(members[:-1]),
            racks=tuple(Rack(workers=racks.count(rack), switch_ip=network.racks[rack].ip) for rack in several),
            server=members[-1],
            switch_ip=root.ip,
            pool=spec.pool,
            window=spec.window,
            ttl_us=spec.ttl_us,
            give_up_s=self._plan.give_up_s,
            wait_limit_s=self._plan.wait_limit_s,
        ).run(epoch=0)
        for ip, items in job_items(network, job, number + 1).items():
            apply(items, self._pipelines[ip])
        self._jobs[number] = job
        return job

    def remove(self, number: int) -> None:
        """Take a job's entries away; what its rows still hold goes with whoever takes them."""
        for ip, items in job_items(self._network, self._jobs[number], number + 1).items():
            remove(items, self._pipelines[ip])

    def server_templates(self, number: int) -> list[bytes]:
        """What precedes the ESA header in a PS's packets to each member: workers in order, then switches."""
        job = self._jobs[number]
        switches = [self._member_of(node) for node in self.switch_nodes(number)]
        return [encapsulation(job.server, to, job.lanes) for to in (*job.workers, *switches)]

    def switch_nodes(self, number: int) -> list[int]:
        """Nodes of the switches that are members of the job, in the order of the members."""
        node_of = {switch.ip: self._plan.fabric.hosts + k for k, switch in enumerate(self._switches)}
        return [node_of[ip] for ip in self._jobs[number].switches]

    def _member_of(self, node: int) -> Member:
        return member(node, 0, server=True)

    def complete_bitmap(self, number: int, which: int) -> int:
        """The bitmap of a complete row of a job on a switch; 0 where it has no rows, or is not running yet."""
        job = self._jobs.get(number)
        if job is None:
            return 0
        ip = self._switches[which].ip
        if not job.racks:
            return entries.full_bitmap(job.fan_in) if ip == job.switch_ip else 0
        below = {rack.switch_ip: rack.workers for rack in job.racks} | {job.switch_ip: len(job.racks)}
        return entries.full_bitmap(below.get(ip, 0))

    def counters(self) -> dict[str, dict[str, int]]:
        """By job and counter, over all switches."""
        return {
            job.name: {
                name: sum(int(pipeline.counters[full].packets[number + 1]) for pipeline in self._pipelines.values())
                for name, full in entries.COUNTERS.items()
            }
            for number, job in enumerate(self._plan.jobs)
        }
