"""The network of a simulation, and its control plane: the controller's own entries, applied to pipelines directly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from esa.cluster.inventory import Gpu
from esa.entries import job_entries as entries
from esa.entries.direct import apply, remove
from esa.entries.job_ids import JobIds
from esa.entries.pools import Claim, allocate
from esa.entries.replacing import Tenant, re_place
from esa.entries.tiers import LeafSpine, SentUp, forwarding_items, job_items, sent_up, spread
from esa.fabric import Graph
from esa.job import Job, Pool, Run
from esa.policy import policy
from esa.program import program
from esa.sim.engine.lines import byte_time, new_lines
from esa.sim.fabric.addresses import addresses_of, encapsulation, member
from esa.sim.plan import Fabric, Plan, SimulatedJob
from esa.switch.runtime.pipeline import Pipeline

_UNLIMITED = 2**40
GAP = 1 / 16  # of a window: a job that has no more in rows is moved; what it has goes by its PS

_Counted: TypeAlias = dict[IPv4Address, dict[str, int]]
"""By switch and counter."""


def rack_of(fabric: Fabric) -> list[int]:
    """The rack of each host."""
    rack = {switch: number for number, switch in enumerate(fabric.graph.hosts_of)}
    return [rack[switch] for switch in fabric.graph.switch_of]


def network_of(fabric: Fabric) -> LeafSpine:
    """The network as entries of jobs over several racks see it; BadInput if it is no leaf-spine."""
    return LeafSpine(fabric.graph)


def wire(graph: Graph, line_of_port: npt.NDArray[np.int64], processors: int, usual_bytes: int) -> npt.NDArray[np.void]:
    """Lines 2 c and 2 c + 1 of the c-th cable, up and down, those of host h's cable at 2 h; then hosts' processors.

    line_of_port (switches, ports) is filled in. usual_bytes: of a packet whose time is exact to the picosecond.
    """
    cables = sorted(graph.cables)
    lines = new_lines(2 * len(cables) + processors)
    lines["capacity"] = _UNLIMITED
    for number, cable in enumerate(cables):
        for line, (start, end) in enumerate(((cable.lower, cable.upper), (cable.upper, cable.lower)), 2 * number):
            record = lines[line]
            record["byte_time"] = byte_time(cable.link.rate_bps, usual_bytes)
            record["propagation_ns"] = cable.link.delay_ns
            if start.node >= graph.hosts:
                record["capacity"] = cable.link.queue_packets
                record["from_switch"], record["from_port"] = start.node - graph.hosts, start.port
                line_of_port[start.node - graph.hosts, start.port] = line
            if end.node < graph.hosts:
                record["host"] = end.node
            else:
                record["switch"], record["port"] = end.node - graph.hosts, end.port
    lines["host"][2 * len(cables) :] = np.arange(processors) % graph.hosts
    return lines


class Control:
    """Adds jobs to switches and removes them.

    Jobs are numbered from 0 in the plan's order. On the switches number k has the id k + 1 while there are no more than
    ids; beyond that ids are used again, in a new epoch, and so they are when a job comes a second time.
    """

    def __init__(self, plan: Plan, pipelines: list[Pipeline]) -> None:
        self._plan = plan
        self._graph = graph = plan.fabric.graph
        self._pipelines = {graph.nodes[k].ip: pipeline for k, pipeline in zip(graph.switches, pipelines, strict=True)}
        self._ids = JobIds()
        self.epochs = np.zeros(entries.MAX_JOB_INDEX + 1, np.uint64)  # of the newest run, by id
        self._jobs: dict[int, Run] = {}  # the newest run of each
        self._newest: dict[int, Run] = {}  # by id
        self._counted_before: dict[int, _Counted] = {}  # by number: what its id had counted when it came
        self._counted = [dict.fromkeys(entries.COUNTERS, 0) for _ in plan.jobs]  # in runs that are over
        self._vanished: dict[int, int] = {}  # by number: rows that it had on switches that failed
        self.unsettled = False  # whether jobs should have other rows that they have not yet
        self._sent_up: dict[int, SentUp] = {}  # by number, in runs over several racks that are over
        self._networks: dict[int, LeafSpine] = {}  # by job: the part of the network that it is on
        self._down: dict[IPv4Address, int] = {}  # switches that hold nothing now: of how many failures
        # What switches had counted that hold nothing any more, by switch, counter and id.
        self._lost = {
            ip: {name: np.zeros(len(self.epochs), np.int64) for name in entries.COUNTERS} for ip in self._pipelines
        }
        self._rows = program(plan.lanes).aggregators if plan.rows is None else plan.rows
        self._placed = sum(job.pool is None for job in plan.jobs)
        for ip, items in forwarding_items(graph).items():
            apply(items, self._pipelines[ip])
        if plan.fabric.ecn_packets is not None:
            for pipeline in pipelines:
                apply([entries.ecn_entry(plan.fabric.ecn_packets)], pipeline)

    def add(self, number: int, gpus: Sequence[Gpu]) -> Run:
        """Add a job whose workers, rack by rack, then own PSs, are on `gpus`; return it as the end hosts know it."""
        spec = self._plan.jobs[number]
        places = addresses_of(self._plan.fabric, spec, gpus)
        hosts = [host for host, _ in places]
        switches = {self._graph.switch_of[host] for host in hosts}
        network = LeafSpine(self._graph if len(switches) > 1 else self._graph.under(switches.pop()))
        nodes = [self._graph.nodes[host] for host in hosts]
        there = spread(network, [node.mac for node in nodes], spec.servers)
        members = [
            member(node, port, server=k >= spec.workers, ip=self._graph.nodes[0].ip + address)
            for k, (node, port, (_, address)) in enumerate(zip(nodes, there.ports, places, strict=True))
        ]
        workers, (server, *more_servers) = members[: spec.workers], members[spec.workers :]
        wanted = self._wanted(number)
        job_id, epoch = self._ids.take(number % entries.MAX_JOB_INDEX + 1)
        job = Job(
            name=spec.name,
            job=job_id,
            policy=spec.policy,
            lanes=self._plan.lanes,
            workers=tuple(workers),
            racks=there.racks,
            server=server,
            more_servers=tuple(more_servers),
            switch_ip=there.switch_ip,
            pool=wanted[spec.name] if spec.name in wanted else self._pool(spec),
            window=spec.window,
            span=spec.reach,
            least_window=spec.least_window,
            congestion=spec.congestion,
            ttl_us=spec.ttl_us,
            give_up_s=self._plan.give_up_s,
            wait_limit_s=self._plan.wait_limit_s,
        ).run(epoch)
        for ip, items in job_items(network, job, job_id).items():
            if ip not in self._down:
                apply(items, self._pipelines[ip])
        self._jobs[number], self._networks[number] = job, network
        self._newest[job_id] = job
        self.epochs[job_id] = epoch
        self._counted_before[number] = self._counts(job_id)
        self._vanished[number] = 0
        self._move(wanted)
        return job

    def _pool(self, spec: SimulatedJob) -> Pool:
        """A job's own, or what the jobs that run now, and slices of those that are to come, leave it."""
        if spec.pool is not None:
            return spec.pool
        running = [(self._plan.jobs[number], self._jobs[number]) for number in self._counted_before]
        claims = [Claim(job.name, policy(job.policy).pool, job.pool, other.demand) for other, job in running]
        claims += self._slices_to_come()
        return allocate(spec.name, policy(spec.policy), spec.window, claims, self._rows, self._placed)

    def _slices_to_come(self) -> list[Claim]:
        return [
            Claim(other.name, "slice", other.pool)
            for number, other in enumerate(self._plan.jobs)
            if number not in self._jobs and other.pool is not None and policy(other.policy).pool == "slice"
        ]

    def remove(self, number: int) -> None:
        """Take a job's entries away; what its rows still hold goes with whoever takes them."""
        job = self._jobs[number]
        for ip, items in job_items(self._networks[number], job, job.job).items():
            if ip not in self._down:
                remove(items, self._pipelines[ip])
        self._counted[number] = self._counts_of(number)
        sent = self._sent_up_of(number)
        if sent is not None:
            self._sent_up[number] = sent
        del self._counted_before[number]
        self._ids.give_back(job.job)
        self._move(self._wanted())

    def _wanted(self, coming: int | None = None) -> dict[str, Pool]:
        """Where the jobs that run should be, and one that comes, by name."""
        if not self._plan.re_place:
            return {}
        tenants = [Tenant.fixed(claim) for claim in self._slices_to_come()]
        for number in [*self._counted_before, *([] if coming is None else [coming])]:
            spec, pool = self._plan.jobs[number], None if number == coming else self._jobs[number].pool
            if spec.pool is not None:
                tenants.append(Tenant.fixed(Claim(spec.name, policy(spec.policy).pool, spec.pool, spec.demand)))
            else:
                knobs = policy(spec.policy)
                tenants.append(Tenant.placed(spec.name, knobs, pool, spec.window, spec.span, self._rows, spec.demand))
        return re_place(tenants, self._rows)

    def look(self) -> None:
        """Move the jobs that should have other rows, and could not be moved before."""
        if self.unsettled:
            self._move(self._wanted())

    def _move(self, wanted: Mapping[str, Pool]) -> None:
        """Put jobs that run onto the rows where they should be; what they have in the old ones stays there.

        One that has much there waits for a gap: between two iterations a move costs nothing.
        """
        self.unsettled = False
        for number in self._counted_before:
            job = self._jobs[number]
            pool = wanted.get(job.name, job.pool)
            if pool == job.pool:
                continue
            if self._held(number) > job.window * GAP:
                self.unsettled = True
                continue
            job = job.model_copy(update={"pool": pool})
            self._jobs[number] = self._newest[job.job] = job
            for ip, items in job_items(self._networks[number], job, job.job).items():
                if ip in self._down:
                    continue
                table = self._pipelines[ip].tables[entries.POLICY]
                for item in items:
                    if isinstance(item, entries.Entry) and item.table == entries.POLICY:
                        table.modify(item.match, item.action, item.params)

    def fail(self, which: int) -> None:
        """A switch, by its number in the graph's order, loses its tables, rows and counters, and forwards nothing."""
        ip = self._ip_of(which)
        self._down[ip] = self._down.get(ip, 0) + 1
        if self._down[ip] == 1:
            for name, full in entries.COUNTERS.items():
                self._lost[ip][name] += self._pipelines[ip].counters[full].packets[: len(self.epochs)].astype(np.int64)
            for number in self._counted_before:
                self._vanished[number] += self._taken(self._pipelines[ip], self._jobs[number].job)
            self._pipelines[ip].reset()

    def put_back(self, which: int) -> None:
        """One of a switch's failures is over; after the last it gets what a supervisor puts on one that is empty."""
        ip = self._ip_of(which)
        self._down[ip] -= 1
        if self._down[ip] > 0:
            return
        del self._down[ip]
        apply(forwarding_items(self._graph)[ip], self._pipelines[ip])
        if self._plan.fabric.ecn_packets is not None:
            apply([entries.ecn_entry(self._plan.fabric.ecn_packets)], self._pipelines[ip])
        for number in self._counted_before:
            job = self._jobs[number]
            apply(job_items(self._networks[number], job, job.job).get(ip, ()), self._pipelines[ip])

    def _ip_of(self, which: int) -> IPv4Address:
        return self._graph.nodes[self._graph.switches[which]].ip

    def runs(self) -> dict[int, Run]:
        """The newest run of each job that was ever added, by number."""
        return dict(self._jobs)

    def pipeline(self, which: int) -> Pipeline:
        """A switch, by its number in the graph's order."""
        return self._pipelines[self._ip_of(which)]

    def run_of(self, number: int) -> Run:
        """A job's newest run, which was added."""
        return self._jobs[number]

    def server_templates(self, number: int, which: int) -> list[bytes]:
        """What precedes the ESA header in a PS's packets to each member: workers in order, then switches.

        which: of the job's PSs.
        """
        job = self._jobs[number]
        switches = [member(self._graph.nodes[node], 0, server=True) for node in self.switch_nodes(number)]
        return [encapsulation(job.servers[which], to, job.lanes) for to in (*job.workers, *switches)]

    def switch_nodes(self, number: int) -> list[int]:
        """Nodes of the switches that are members of the job, in the order of the members."""
        node_of = {self._graph.nodes[switch].ip: switch for switch in self._graph.switches}
        return [node_of[ip] for ip in self._jobs[number].switches]

    def complete_bitmaps(self, which: int) -> npt.NDArray[np.uint64]:
        """By id, the bitmap of a complete row of its newest run on a switch; 0 where it has no rows there."""
        bitmaps = np.zeros(len(self.epochs), np.uint64)
        ip = self._graph.nodes[self._graph.switches[which]].ip
        for job_id, job in self._newest.items():
            below = {rack.switch_ip: rack.workers for rack in job.racks} | {job.switch_ip: len(job.racks) or job.fan_in}
            bitmaps[job_id] = entries.full_bitmap(below.get(ip, 0))
        return bitmaps

    def counters(self) -> dict[str, dict[str, int]]:
        """By job and counter, over all switches and all its runs."""
        return {job.name: self._counts_of(number) for number, job in enumerate(self._plan.jobs)}

    def sent_up(self) -> dict[str, SentUp]:
        """By job that was over several racks: what went to its racks' switches, and on to its root, in all its runs."""
        found = {job.name: self._sent_up_of(number) for number, job in enumerate(self._plan.jobs)}
        return {name: sent for name, sent in found.items() if sent is not None}

    def _held(self, number: int) -> int:
        """How many rows a job that runs has something in."""
        since = self._since(number).values()
        return sum(counted["seated"] - counted["released"] for counted in since) - self._vanished[number]

    @staticmethod
    def _taken(pipeline: Pipeline, job_id: int) -> int:
        """Rows of one switch that an id has taken and not given back."""
        seated, released = (
            int(pipeline.counters[entries.COUNTERS[name]].packets[job_id]) for name in ("seated", "released")
        )
        return seated - released

    def _sent_up_of(self, number: int) -> SentUp | None:
        earlier = self._sent_up.get(number)
        if number not in self._counted_before or not self._jobs[number].racks:
            return earlier
        since = self._since(number)
        racks = (since[rack.switch_ip] for rack in self._jobs[number].racks)
        now = sent_up(racks, (since[self._graph.nodes[spine].ip] for spine in self._graph.tier(2)))
        return now if earlier is None else SentUp(*map(sum, zip(earlier, now, strict=True)))

    def _counts_of(self, number: int) -> dict[str, int]:
        earlier = self._counted[number]
        if number not in self._counted_before:
            return earlier
        since = self._since(number)
        return {name: earlier[name] + sum(counted[name] for counted in since.values()) for name in entries.COUNTERS}

    def _since(self, number: int) -> _Counted:
        """What switches have counted of a job's present run."""
        before = self._counted_before[number]
        return {
            ip: {name: count - before[ip][name] for name, count in counted.items()}
            for ip, counted in self._counts(self._jobs[number].job).items()
        }

    def _counts(self, job_id: int) -> _Counted:
        """What switches have counted of an id, whoever had it."""
        return {
            ip: {
                name: int(self._lost[ip][name][job_id]) + int(pipeline.counters[full].packets[job_id])
                for name, full in entries.COUNTERS.items()
            }
            for ip, pipeline in self._pipelines.items()
        }
