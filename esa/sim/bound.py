"""The lower bound of a job's JCT: its own computing and its own links, on a network that has everything else.

A training computes what it computes, and every worker's link has to carry what the worker sends for each sum: for a sum
in the network its gradients once, whatever the policy; by messages what the transport's steps ask for. So no switch
memory, policy or neighbour can make it faster: queues, windows, losses, processors and waiting for hosts are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from esa.fabric import Cable
from esa.sim.ideal import least_ps
from esa.sim.job_programs import programs_of
from esa.sim.plan import Plan
from esa.sim.transport.connections import FRAME_BYTES
from esa.sim.transport.steps import chain_bytes, sent_bytes
from esa.wire import WIRE_OVERHEAD_BYTES, packet_bytes
from esa.workloads.program import REDUCE

_PS_PER_NS = 1000


def lower_bound_ns(plan: Plan, number: int, hosts: Sequence[int], transport: str | None = None) -> int | None:
    """Nanoseconds that job `number` needs at least, its workers on these hosts; None: it is no training.

    Hosts that several workers share are taken for several. transport: how its sums were made, if not as it says.
    """
    job = plan.jobs[number] if transport is None else replace(plan.jobs[number], transport=transport)
    if job.programs is not None:
        return None
    programs = programs_of(plan, number)
    operation = programs[0].operations[:-1]  # without the LOOP
    reduces = operation["kind"] == REDUCE
    octets = np.where(reduces, operation["bytes"], 0)
    cables = [_cable_of(plan, host) for host in hosts]
    delay_ps = np.array([cable.link.delay_ns for cable in cables], np.int64) * _PS_PER_NS
    chain_ps = np.zeros(len(operation), np.int64)
    if job.sums_in_network:
        fragment = 4 * (plan.lanes or plan.wire_lanes)
        packet_ps = np.array([_packet_ps(plan, cable.link.rate_bps) for cable in cables], np.int64)
        sending_ps = packet_ps[:, None] * -(-octets // fragment)
        up_ps = delay_ps + plan.fabric.switch_ns * _PS_PER_NS
        down_ps = packet_ps + delay_ps + _between_racks_ps(plan, hosts)
    else:
        fastest_bps = max(cable.link.rate_bps for cable in cables)
        way_ps = 2 * int(delay_ps.min()) + plan.fabric.switch_ns * _PS_PER_NS
        sending_ps = np.zeros((job.workers, len(operation)), np.int64)
        for at in np.flatnonzero(reduces).tolist():
            size = int(octets[at])
            for w, cable in enumerate(cables):
                messages = sent_bytes(job.transport, job.workers, size, w)
                sending_ps[w, at] = sum(_message_ps(plan, cable.link.rate_bps, each) for each in messages)
            # Each step of the chain crosses two links, and a packet is forwarded when it has come whole.
            chain = chain_bytes(job.transport, job.workers, size)
            chain_ps[at] = sum(_message_ps(plan, fastest_bps, each) + way_ps for each in chain)
        up_ps = np.full(job.workers, way_ps if job.workers > 1 else 0, np.int64)
        down_ps = np.zeros(job.workers, np.int64)
    pace = np.array([program.pace for program in programs])
    least = least_ps(operation, pace, sending_ps, chain_ps, up_ps, down_ps, not job.sums_in_network)
    return least // _PS_PER_NS


def _cable_of(plan: Plan, host: int) -> Cable:
    """A host has one."""
    return next(cable for cable in plan.fabric.graph.cables if cable.lower.node == host)


def _between_racks_ps(plan: Plan, hosts: Sequence[int]) -> int:
    """What a sum over several racks needs beyond a switch: up to a root and down again, by the fastest cables."""
    graph = plan.fabric.graph
    if len({graph.switch_of[host] for host in hosts}) == 1:
        return 0
    links = [cable.link for cable in graph.cables if cable.lower.node >= graph.hosts]
    packet_ps = min(_packet_ps(plan, link.rate_bps) for link in links)
    delay_ps = min(link.delay_ns for link in links) * _PS_PER_NS
    return 2 * (packet_ps + delay_ps + plan.fabric.switch_ns * _PS_PER_NS)


def _packet_ps(plan: Plan, rate_bps: float) -> int:
    """What a cable needs for an ESA packet."""
    return round(8e12 * (packet_bytes(plan.lanes or plan.wire_lanes) + WIRE_OVERHEAD_BYTES) / rate_bps)


def _message_ps(plan: Plan, rate_bps: float, octets: int) -> int:
    """What a cable needs for a message at least; each packet's time is rounded to a picosecond."""
    packets = -(-octets // plan.flow.payload_bytes)
    return int(8e12 * (octets + packets * (FRAME_BYTES + WIRE_OVERHEAD_BYTES)) / rate_bps) - packets
