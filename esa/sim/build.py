"""A plan becomes the state of a simulation: arrays for the event loop, pipelines for the control plane."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from esa.entries.job_entries import MAX_JOB_INDEX
from esa.fabric import Graph
from esa.job import MAX_FAN_IN
from esa.net.faults import Faults, new_faults
from esa.protocol import NEVER, UNKNOWN_SENDER, words
from esa.sim.background import background_pairs
from esa.sim.engine.events import MAX_SOURCES, new_events
from esa.sim.engine.lines import NONE, PS_PER_NS, new_packet_pool
from esa.sim.fabric.switches import Switches, new_switches
from esa.sim.fabric.wiring import wire
from esa.sim.job_programs import programs_of
from esa.sim.loop import OUT_PACKETS, SCALARS, SPARE_BUFFERS, SimState
from esa.sim.plan import Plan, SimulatedJob
from esa.sim.ranks import Ranks, join_ranks
from esa.sim.seats import part_bytes, transports_of
from esa.sim.transport.connections import Pair, new_connections
from esa.sim.transport.endpoints import join_servers, join_workers
from esa.sim.transport.exchange import STEP, Exchanges, new_exchanges
from esa.sim.transport.payload import new_plain_sums
from esa.sim.transport.states import server_room, worker_room
from esa.sim.transport.steps import parts_of, steps_of
from esa.switch.runtime.pipeline import Pipeline
from esa.wire import WIRE_OVERHEAD_BYTES, packet_bytes

_EVENTS = 4096
_POOL = 2 * SPARE_BUFFERS


class Built(NamedTuple):
    sim: SimState
    switches: Switches
    pipelines: list[Pipeline]  # by switch, in the order of the graph
    first_worker: list[int]  # by job
    first_server: list[int]


def wire_bytes(plan: Plan) -> int:
    """What an ESA packet takes of a cable, preamble and gap included."""
    return packet_bytes(plan.lanes or plan.wire_lanes) + WIRE_OVERHEAD_BYTES


def build(plan: Plan) -> Built:
    """A simulation in which nothing has happened yet and no job has hosts."""
    fabric = plan.fabric
    graph, hosts, racks = fabric.graph, fabric.hosts, len(fabric.racks)
    switches, pipelines = new_switches(len(graph.switches), plan.lanes, packet_bytes(plan.lanes))
    first_worker = [0, *np.cumsum([job.workers for job in plan.jobs]).tolist()]
    first_server = [0, *np.cumsum([job.servers for job in plan.jobs]).tolist()]
    workers, servers, jobs = first_worker[-1], first_server[-1], len(plan.jobs)

    ranks, exchanges, pairs = _ranks(plan)
    processor = 2 * len(graph.cables)
    first_timer_event = processor + hosts
    first_compute_event = first_timer_event + workers + servers + 2 * len(pairs)
    first_fault_event = first_compute_event + workers
    if first_fault_event + _POOL >= MAX_SOURCES:
        raise ValueError(f"network: {hosts} hosts and {workers} workers are more than {MAX_SOURCES} sources of events")

    usual_bytes = wire_bytes(plan)
    scalars = np.zeros(1, SCALARS)
    n = scalars[0]
    n["seed"], n["hosts"], n["workers"] = plan.seed, hosts, workers
    n["first_end"] = workers + servers
    n["first_timer_event"], n["first_compute_event"], n["first_fault_event"] = (
        first_timer_event,
        first_compute_event,
        first_fault_event,
    )
    n["processor"], n["first_address"], n["wire_bytes"] = processor, _first_address(graph), usual_bytes
    n["send_ps"], n["receive_ps"] = fabric.costs.send_ns * PS_PER_NS, fabric.costs.receive_ns * PS_PER_NS
    n["server_ps"], n["switch_ps"] = fabric.costs.server_ns * PS_PER_NS, fabric.switch_ns * PS_PER_NS
    n["cores"] = fabric.costs.cores
    n["ecn_threshold"] = NONE if fabric.ecn_packets is None else fabric.ecn_packets
    n["faulty"], n["finished_job"], n["unfinished"] = bool(fabric.faults), NONE, NONE

    server_jobs = [k for k, job in enumerate(plan.jobs) for _ in range(job.servers)]
    sim = SimState(
        scalars=scalars,
        events=new_events(_EVENTS, plan.seed),
        lines=wire(graph, switches.line, hosts, usual_bytes),
        pool=new_packet_pool(_POOL, packet_bytes(plan.lanes)),
        congested_ports=np.zeros(len(graph.switches), np.int64),
        workers=join_workers(
            [worker_room(plan, k) for k, job in enumerate(plan.jobs) for _ in range(job.workers)],
            [job.servers for job in plan.jobs for _ in range(job.workers)],
        ),
        servers=join_servers(
            [server_room(plan, k, _any_racks(plan.jobs[k], racks)) for k in server_jobs],
            server_jobs,
            racks + 1,
            fabric.addresses,
        ),
        ranks=ranks,
        exchanges=exchanges,
        connections=new_connections(pairs, plan.flow),
        faults=_faults(plan),
        timer_ns=np.full(workers + servers + 2 * len(pairs), NEVER, np.int64),
        host_of=np.full(workers + servers + 2 * len(pairs), NONE, np.int64),
        endpoint_at=np.full((fabric.addresses, min(jobs, MAX_JOB_INDEX) + 1), NONE, np.int64),
        cpu_busy_until_ps=np.zeros(hosts, np.int64),
        inbox=words(1, plan.lanes),
        outbox=words(OUT_PACKETS, plan.lanes),
        member=np.full(OUT_PACKETS, UNKNOWN_SENDER, np.int32),
        lanes=np.zeros(plan.lanes, np.int32),
        exponents=np.zeros(0, np.int8),
        plain=new_plain_sums(plan.lanes),
    )
    return Built(sim, switches, pipelines, first_worker, first_server)


def _any_racks(job: SimulatedJob, racks: int) -> list[int]:
    """The workers in as many racks as they can be in; none to speak of where sums are messages."""
    if not job.sums_in_network:
        return [1]
    racks = max(min(racks, job.workers, MAX_FAN_IN), -(-job.workers // MAX_FAN_IN))
    return [job.workers // racks + (k < job.workers % racks) for k in range(racks)]


def _first_address(graph: Graph) -> int:
    """The IPv4 address of node 0; those of the others follow, so that a packet's source says which node sent it."""
    first = graph.nodes[0].ip
    for number, node in enumerate(graph.nodes):
        if node.ip != first + number:
            raise ValueError(f"network: {node.name} is {node.ip}; allowed: {first + number}, after the nodes before it")
    return int(first)


def _ranks(plan: Plan) -> tuple[Ranks, Exchanges, list[Pair]]:
    """What the jobs' workers do, and the flows that they need; a sum counts by fragments, as messages by bytes."""
    programs = [programs_of(plan, k) for k in range(len(plan.jobs))]
    by = transports_of(plan)
    layouts = [None if one is None else steps_of(one, job.workers) for job, one in zip(plan.jobs, by, strict=True)]
    ranks, pairs = join_ranks(programs, [part_bytes(plan, one is not None) for one in layouts], layouts)
    pairs += background_pairs(plan)
    nothing = np.zeros(0, STEP)
    exchanges = new_exchanges(
        [[nothing] * job.workers if one is None else one for job, one in zip(plan.jobs, layouts, strict=True)],
        [1 if one is None else parts_of(one, job.workers) for job, one in zip(plan.jobs, by, strict=True)],
        (ranks.rank["first_flow"] + ranks.rank["sends"]).tolist(),
        len(pairs),
    )
    return ranks, exchanges, pairs


def _faults(plan: Plan) -> Faults:
    of = [plan.fabric.faults.get(host) for host in range(plan.fabric.hosts)]
    impairments = [
        None if link is None else (link.to_switch if way == 0 else link.from_switch) for link in of for way in (0, 1)
    ]
    seeds = [0 if link is None else link.line_seed(way) for link in of for way in (0, 1)]
    return new_faults(impairments, seeds)
