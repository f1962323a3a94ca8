"""A simulation's network: its cables and switches, timers that suit it, and whether jobs find a place in it.

Timers of real hosts, milliseconds, would be thousands of round trips.
"""

from __future__ import annotations

import numpy as np

from esa.fabric import leaf_spine
from esa.job import MAX_FAN_IN, Pool
from esa.net.impairment import LinkFaults
from esa.policy import policy
from esa.protocol.timers import Timers
from esa.sim.fabric.wiring import rack_of
from esa.sim.placement import check_places
from esa.sim.plan import WIRE_OVERHEAD_BYTES, Fabric, Link, SimulatedJob
from esa.sim.plan import HostCosts as Costs
from esa.wire import packet_bytes
from experiments.specs.simulation_specs import HostCosts, JobSpec, Network, TimerSpec

_US = 1000


def wire_bytes(wire_lanes: int) -> int:
    """What a packet takes of a cable, preamble and gap included."""
    return packet_bytes(wire_lanes) + WIRE_OVERHEAD_BYTES


def fabric_of(network: Network, costs: HostCosts, faults: dict[int, LinkFaults]) -> Fabric:
    """The network as the simulator takes it."""

    def link(gbps: float, delay_us: float) -> Link:
        return Link(gbps * 1e9, round(delay_us * _US), network.queue_packets)

    return Fabric(
        leaf_spine(
            network.rack_sizes,
            link(network.gbps, network.delay_us),
            link(*network.spine_cable),
            spines=network.spines,
        ),
        switch_ns=network.switch_ns,
        ecn_packets=network.ecn_packets,
        costs=Costs(costs.send_ns, costs.receive_ns, costs.server_ns),
        faults=faults,
    )


def base_round_trip_ns(network: Network, costs: HostCosts, wire_lanes: int) -> int:
    """A packet's way from a worker to a PS and back, in the racks farthest apart, where nothing else is under way."""
    bits = 8 * wire_bytes(wire_lanes)
    one_way = 2 * (bits / network.gbps + network.delay_us * _US) + network.switch_ns
    if network.leaf_spine:
        spine_gbps, spine_delay_us = network.spine_cable
        one_way += 2 * (bits / spine_gbps + spine_delay_us * _US) + 2 * network.switch_ns
    return round(2 * one_way) + costs.send_ns + 2 * costs.server_ns + costs.receive_ns


def timers_of(spec: TimerSpec, round_trip_ns: int) -> Timers:
    """Timers for a network of that base round trip, except for those that the file sets.

    An aggregate waits for the slowest worker, so a worker's time-out is many round trips; a fragment that was overtaken
    waits for one. Where no switch holds rows a PS is no less patient than workers. ValueError where the file's do not
    lie in order.
    """
    rto = _in_order(spec, "rto", max(200 * _US, 20 * round_trip_ns), 1000 * _US, 20_000 * _US)
    patience = _in_order(spec, "patience", max(50 * _US, 2 * round_trip_ns), 500 * _US, 5000 * _US)
    overtaken_ns = round_trip_ns if spec.overtaken_floor_us is None else round(spec.overtaken_floor_us * _US)
    unhurried_ns = rto[1]
    return Timers(*rto, max(1, overtaken_ns), *patience, spec.ask_ahead, unhurried_ns, unhurried_ns)


def _in_order(spec: TimerSpec, name: str, floor_ns: int, initial_ns: int, ceiling_ns: int) -> tuple[int, int, int]:
    """(initial, floor, ceiling): what the file sets, and around it what it leaves open."""

    def chosen(key: str, otherwise_ns: int) -> int:
        asked_us: float | None = getattr(spec, f"{name}_{key}_us")
        return otherwise_ns if asked_us is None else max(1, round(asked_us * _US))

    asked = {key: getattr(spec, f"{name}_{key}_us") for key in ("floor", "initial", "ceiling")}
    highest = min((round(us * _US) for us in asked.values() if us is not None), default=floor_ns)
    floor_ns = chosen("floor", min(floor_ns, highest))
    initial_ns = chosen("initial", max(initial_ns, floor_ns))
    ceiling_ns = chosen("ceiling", max(ceiling_ns, 4 * floor_ns, initial_ns))
    if asked["initial"] is None:
        initial_ns = min(initial_ns, ceiling_ns)
    if not floor_ns <= initial_ns <= ceiling_ns:
        raise ValueError(
            f"timers.{name}_initial_us: {initial_ns / _US:g}; allowed: from {name}_floor_us, {floor_ns / _US:g}, "
            f"to {name}_ceiling_us, {ceiling_ns / _US:g}"
        )
    return initial_ns, floor_ns, ceiling_ns


def check_place(fabric: Fabric, job: JobSpec, policy_name: str) -> None:
    """ValueError, its first word the job's key, unless the job would find hosts if it were alone."""
    hosts = fabric.hosts
    if job.workers + 1 > hosts:
        wanted = f"{job.workers} workers and a PS need a host each"
        raise ValueError(f"workers: {wanted}; allowed: 1 to {hosts - 1} on {hosts} hosts")
    if job.workers > MAX_FAN_IN and max(fabric.racks) > MAX_FAN_IN:
        allowed = f"{MAX_FAN_IN} workers of a job in a rack"
        raise ValueError(f"workers: {job.workers}, and a rack of {max(fabric.racks)} hosts; allowed: {allowed}")
    if job.hosts is None:
        shape = SimulatedJob(
            job.name, policy_name, job.workers, 1, (), np.zeros((1, 0), np.uint8), 1, Pool(base=0, size=1)
        )
        try:
            check_places(fabric, [shape])
        except ValueError as error:
            raise ValueError(f"workers: {error}") from None
        return
    if max(job.hosts) >= hosts:
        raise ValueError(f"hosts: {max(job.hosts)}; allowed: 0 to {hosts - 1}")
    racks = [rack_of(fabric)[host] for host in job.hosts]
    of_workers = racks[:-1]
    if any(of_workers[k] != of_workers[k - 1] and of_workers[k] in of_workers[:k] for k in range(1, len(of_workers))):
        raise ValueError(f"hosts: workers in racks {', '.join(map(str, of_workers))}; allowed: rack by rack")
    if len(set(of_workers)) > 1 and racks[-1] in of_workers and policy(policy_name).pool != "none":
        raise ValueError(
            f"hosts: the PS in rack {racks[-1]}; allowed: a rack without the job's workers, which fill several"
        )
