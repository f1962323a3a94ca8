"""A plan becomes a world: arrays for the event loop, pipelines for the control plane."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.net.faults import Faults, new_faults
from esa.protocol import NEVER, UNKNOWN_SENDER, words
from esa.sim.engine.events import MAX_SOURCES, new_events
from esa.sim.engine.lines import NONE, PS_PER_NS, byte_time, new_lines, new_pool
from esa.sim.fabric.addresses import FIRST_ADDRESS
from esa.sim.fabric.switches import new_switches
from esa.sim.job_programs import programs_of
from esa.sim.loop import NUMBERS, OUT_PACKETS, SPARE_ROWS, World
from esa.sim.plan import WIRE_OVERHEAD_BYTES, Link, Plan, SimulatedJob
from esa.sim.ranks import Ranks, join_ranks
from esa.sim.transport.endpoints import join_servers, join_workers
from esa.sim.transport.states import server_room, worker_room
from esa.switch.runtime.pipeline import Pipeline
from esa.wire import packet_bytes

_UNLIMITED = 2**40
_EVENTS = 4096
_POOL = 2 * SPARE_ROWS


class Built(NamedTuple):
    world: World
    pipelines: list[Pipeline]  # racks' switches, then spines
    first_worker: list[int]  # by job


def wire_bytes(plan: Plan) -> int:
    """What an ESA packet takes of a cable, preamble and gap included."""
    return packet_bytes(plan.lanes or plan.wire_lanes) + WIRE_OVERHEAD_BYTES


def build(plan: Plan) -> Built:
    """A world in which nothing has happened yet and no job has hosts."""
    fabric = plan.fabric
    hosts, racks = fabric.hosts, len(fabric.racks)
    spines = fabric.spines if racks > 1 else 0
    switches, pipelines = new_switches(racks + spines, plan.lanes, packet_bytes(plan.lanes))
    first_worker = [0, *np.cumsum([job.workers for job in plan.jobs]).tolist()]
    workers, jobs = first_worker[-1], len(plan.jobs)

    cables = 2 * hosts + 2 * racks * spines
    processor = cables
    endpoint_source = cables + hosts
    compute_source = endpoint_source + workers + jobs
    held_source = compute_source + workers
    if held_source + _POOL >= MAX_SOURCES:
        raise ValueError(f"network: {hosts} hosts and {workers} workers are more than {MAX_SOURCES} sources of events")

    wire = wire_bytes(plan)
    numbers = np.zeros(1, NUMBERS)
    n = numbers[0]
    n["seed"], n["hosts"], n["workers"] = plan.seed, hosts, workers
    n["endpoint_source"], n["compute_source"], n["held_source"] = endpoint_source, compute_source, held_source
    n["processor"], n["first_address"], n["wire_bytes"] = processor, FIRST_ADDRESS, wire
    n["send_ps"], n["receive_ps"] = fabric.costs.send_ns * PS_PER_NS, fabric.costs.receive_ns * PS_PER_NS
    n["server_ps"], n["switch_ps"] = fabric.costs.server_ns * PS_PER_NS, fabric.switch_ns * PS_PER_NS
    n["mark_above"] = NONE if fabric.ecn_packets is None else fabric.ecn_packets
    n["faulty"], n["job_over"] = bool(fabric.faults), NONE

    world = World(
        numbers=numbers,
        events=new_events(_EVENTS),
        lines=_lines(plan, switches.line, cables + hosts, wire),
        pool=new_pool(_POOL, packet_bytes(plan.lanes)),
        switches=switches,
        hot=np.zeros(racks + spines, np.int64),
        workers=join_workers([worker_room(plan, k) for k, job in enumerate(plan.jobs) for _ in range(job.workers)]),
        servers=join_servers(
            [server_room(plan, k, _any_racks(job, racks)) for k, job in enumerate(plan.jobs)],
            racks + 1,
            hosts + racks + spines,
        ),
        ranks=_ranks(plan),
        faults=_faults(plan),
        timer_ns=np.full(workers + jobs, NEVER, np.int64),
        host_of=np.full(workers + jobs, NONE, np.int64),
        endpoint_at=np.full((hosts, jobs + 1), NONE, np.int64),
        sending_ps=np.zeros(hosts, np.int64),
        inbox=words(1, plan.lanes),
        outbox=words(OUT_PACKETS, plan.lanes),
        member=np.full(OUT_PACKETS, UNKNOWN_SENDER, np.int32),
        lanes=np.zeros(plan.lanes, np.int32),
        exponents=np.zeros(0, np.int8),
    )
    return Built(world, pipelines, first_worker)


def _any_racks(job: SimulatedJob, racks: int) -> list[int]:
    """The workers in as many racks as they can be in."""
    racks = min(racks, job.workers)
    return [job.workers // racks + (k < job.workers % racks) for k in range(racks)]


def _lines(plan: Plan, line_of_port: npt.NDArray[np.int64], count: int, wire: int) -> npt.NDArray[np.void]:
    """Lines 2 h and 2 h + 1 of host h, up and down; those between racks and spines; the hosts' processors.

    Port k of a rack's switch is its k-th host, behind them the spines; port k of a spine is rack k.
    """
    fabric = plan.fabric
    lines = new_lines(count)
    lines["room"] = _UNLIMITED

    def cable(line: np.void, link: Link, *, queue: bool) -> None:
        line["byte_time"] = byte_time(link.rate_bps, wire)
        line["delay_ns"] = link.delay_ns
        if queue:
            line["room"] = link.queue_packets

    def leaves(number: int, switch: int, port: int) -> None:
        lines[number]["from_switch"], lines[number]["from_port"] = switch, port
        line_of_port[switch, port] = number

    host = 0
    number = 2 * fabric.hosts
    for rack, size in enumerate(fabric.racks):
        for port in range(size):
            up, down = lines[2 * host], lines[2 * host + 1]
            cable(up, fabric.host_link, queue=False)
            cable(down, fabric.host_link, queue=True)
            up["switch"], up["port"], down["host"] = rack, port, host
            leaves(2 * host + 1, rack, port)
            host += 1
        if fabric.spine_link is None or len(fabric.racks) == 1:
            continue
        for spine in range(fabric.spines):
            up, down = lines[number], lines[number + 1]
            cable(up, fabric.spine_link, queue=True)
            cable(down, fabric.spine_link, queue=True)
            up["switch"], up["port"] = len(fabric.racks) + spine, rack
            down["switch"], down["port"] = rack, size + spine
            leaves(number, rack, size + spine)
            leaves(number + 1, len(fabric.racks) + spine, rack)
            number += 2
    for host in range(fabric.hosts):
        lines[number + host]["host"] = host
    return lines


def _ranks(plan: Plan) -> Ranks:
    """What the jobs' workers do; a sum's parts are fragments."""
    programs = [programs_of(plan, k) for k in range(len(plan.jobs))]
    return join_ranks(programs, [4 * (plan.lanes or plan.wire_lanes)] * len(programs))


def _faults(plan: Plan) -> Faults:
    of = [plan.fabric.faults.get(host) for host in range(plan.fabric.hosts)]
    impairments = [
        None if link is None else (link.to_switch if way == 0 else link.from_switch) for link in of for way in (0, 1)
    ]
    seeds = [0 if link is None else link.line_seed(way) for link in of for way in (0, 1)]
    return new_faults(impairments, seeds)
