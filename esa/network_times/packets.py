"""Level 3: the packet simulator, on an episode of the jobs of a component.

Models are scaled (`scale_of`), all by the same factor, so that an episode is a few million packet hops at most: bytes
and computing alike. Jobs begin apart (`offset_part`), run at least `MEASURED` iterations after a first one that is not
counted, and are measured until the first of them ends. What an iteration waits at its end for the last fragment's way
is not scaled in an episode, and is taken out before times are multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np

from esa.cluster.times import Answer
from esa.errors import EsaError
from esa.fabric import Cable, Graph, Link
from esa.fabric.shapes import leaf_spine
from esa.job import Pool
from esa.network_times.alone import alone_s
from esa.network_times.component import Component, Member
from esa.network_times.load import episode_hops, round_trip_ns, tail_ns
from esa.network_times.network import FRAGMENT_BYTES, RING, Network
from esa.network_times.offsets import MEASURED, offset_part
from esa.network_times.rows import Slice, rows_of
from esa.network_times.training import bytes_of, own_parts, scaled
from esa.network_times.urgency import priorities_of
from esa.policy import policy
from esa.sim import simulate
from esa.sim.plan import Fabric, Outcome, Plan, SimulatedJob
from esa.sim.timers import timers_for
from esa.workloads.program import compute, loop, mark, program, reduce, wait

LEVEL = 3
HOPS = 2.4e6  # packet hops of an episode, about; with a quarter of them what waits for timers counts too much
LEAST_FRAGMENTS = 256  # of an iteration of the smallest model
QUEUE_PACKETS = 4096
_MOST_TRIES = 4


class EpisodeError(EsaError, RuntimeError):
    """An episode did not end as it should; one line."""


def answer_by_packets(component: Component, network: Network) -> list[Answer]:
    """By member. A pure function. EpisodeError if jobs do not end."""
    expected_s = alone_s(component, network)
    scale = scale_of(component, network, expected_s)
    for attempt in range(_MOST_TRIES):
        horizon_s = 2**attempt * (MEASURED + 2) * max(expected_s)
        iterations = [math.ceil(horizon_s / each) + 1 for each in expected_s]
        plan = plan_of(component, network, scale, iterations, expected_s)
        outcome = simulate(plan)
        if outcome.incomplete is not None:
            raise EpisodeError(f"episode of {len(component.members)} jobs under {network.policy}: {outcome.incomplete}")
        measured = [_iterations_s(outcome, name) for name in (job.name for job in plan.jobs)]
        end_s = min(times[-1] for times in measured)
        spans = [_spans([each for each in times if each <= end_s]) for times in measured]
        if all(spans):
            break
    else:
        raise EpisodeError(f"episode of {len(component.members)} jobs: some do not get on while others do")
    return _answers(component, network, scale, outcome, plan, spans)


def scale_of(component: Component, network: Network, expected_s: Sequence[float]) -> float:
    """Of models: 1 where an episode of all of them is small enough."""
    hops = episode_hops(component, network, (MEASURED + 2) * max(expected_s), expected_s)
    least = LEAST_FRAGMENTS * FRAGMENT_BYTES / min(bytes_of(member.model) for member in component.members)
    return min(1.0, max(HOPS / hops, least))


def _answers(
    component: Component,
    network: Network,
    scale: float,
    outcome: Outcome,
    plan: Plan,
    spans: Sequence[Sequence[float]],
) -> list[Answer]:
    """Rows and what passed PSs are counted for all jobs together: each has its part of the rows taken, and of the sums
    that came by a PS.
    """
    series = outcome.series
    busy = series["taken"][series["running"] > 0]
    through, sum_via = int(series["ps_bytes"][-1]), sum(job.via_ps for job in outcome.jobs)
    seated = [outcome.switch_counters[job.name]["seated"] for job in plan.jobs]
    rows = float(busy.mean()) if len(busy) and network.has_rows else 0.0
    answers = []
    for number, (member, mine) in enumerate(zip(component.members, spans, strict=True)):
        came = outcome.jobs[number]
        mean_s = fmean(mine)
        tail_s = min(tail_ns(member, len(component.racks_of(member)), network) / 1e9, mean_s)
        compute_s = member.compute_ns / 1e9
        iteration_s = max((mean_s - tail_s) / scale + tail_s, compute_s)
        answers.append(
            Answer(
                iteration_s,
                exposed_s=iteration_s - compute_s,
                server_bytes=round(through * came.via_ps / sum_via / came.iterations / scale) if sum_via else 0,
                rows=rows * seated[number] / sum(seated) if sum(seated) else 0.0,
                level=LEVEL,
                error_s=stdev(mine) / math.sqrt(len(mine)) / scale if len(mine) > 1 else 0.0,
            )
        )
    return answers


def _iterations_s(outcome: Outcome, name: str) -> list[float]:
    """When the slowest rank of a job began each iteration."""
    by_rank = np.array([[ns for _, ns in marks] for marks in outcome.marks_ns[name]])
    return [ns / 1e9 for ns in by_rank.max(axis=0).tolist()]


def _spans(begun_s: Sequence[float]) -> list[float]:
    """Of whole iterations, the first left out."""
    return [b - a for a, b in pairwise(begun_s[1:])]


def plan_of(
    component: Component, network: Network, scale: float, iterations: Sequence[int], expected_s: Sequence[float]
) -> Plan:
    """The episode as the simulator takes it."""
    fabric, host_of, server_of = _fabric(component, network)
    slices = rows_of(component, network)
    longest_ns = max(iterations[k] * expected_s[k] for k in range(len(iterations))) * scale * 1e9
    trip_ns = round_trip_ns(component, network)
    jobs = []
    for number, member in enumerate(component.members):
        hosts = [host_of[host] for host, ranks in member.hosts for _ in range(ranks)]
        if network.policy != RING:
            hosts.append(server_of[number])
        jobs.append(
            _job(
                member,
                network,
                f"job-{number}",
                scale,
                iterations[number],
                slices[number],
                tuple(hosts),
                round(offset_part(number) * expected_s[number] * scale * 1e9),
                trip_ns,
            )
        )
    return Plan(
        fabric,
        tuple(jobs),
        timers_for(trip_ns),
        rows=network.rows,
        sample_ns=max(1000, round(longest_ns / 64)),
    )


def _job(
    member: Member,
    network: Network,
    name: str,
    scale: float,
    iterations: int,
    own: Slice,
    hosts: tuple[int, ...],
    submit_ns: int,
    trip_ns: int,
) -> SimulatedJob:
    parts = [scaled(part, scale) for part in own_parts(member)]
    steps = [wait(), mark(), *(compute(part.forward_ns) for part in reversed(parts))]
    for part, priority in zip(parts, priorities_of(member, network), strict=True):
        steps += [compute(part.backward_ns), reduce(part.bytes, priority)]
    in_network = network.policy != RING
    sending_s = bytes_of(member.model) / FRAGMENT_BYTES * network.packet_ns / 1e9
    by = network.policy if in_network else "esa"
    return SimulatedJob(
        name,
        by,
        member.ranks,
        1,
        (),
        np.zeros((1, 0), np.uint8),
        own.window,
        Pool(base=own.base, size=own.size),
        submit_ns=submit_ns,
        hosts=hosts,
        transport="ina" if in_network else "ring",
        ttl_us=policy(by).ttl_us(trip_ns),
        demand=sending_s / (sending_s + member.compute_ns / 1e9),
        programs=(program(loop(iterations, *steps)),) * member.ranks,
    )


class _Built(NamedTuple):
    """host_of: by the component's host, the fabric's; server_of: by member."""

    fabric: Fabric
    host_of: dict[int, int]
    server_of: dict[int, int]


def _fabric(component: Component, network: Network) -> _Built:
    """Racks with their hosts and the PSs of jobs that are in one rack; behind them the rack of the other PSs."""
    inside: list[list[tuple[str, int]]] = [[] for _ in range(max(component.racks) + 1)]
    for host, rack in enumerate(component.racks):
        inside[rack].append(("host", host))
    servers: list[tuple[str, int]] = []
    for number, member in enumerate(component.members) if network.policy != RING else ():
        racks = component.racks_of(member)
        (inside[racks[0]] if len(racks) == 1 else servers).append(("server", number))
    if servers:
        inside.append(servers)
    numbered = {who: number for number, who in enumerate(who for rack in inside for who in rack)}
    link, up = (Link(rate, network.delay_ns, QUEUE_PACKETS) for rate in (network.rate_bps, network.spine_bps))
    graph = leaf_spine([len(rack) for rack in inside], link, up)
    if servers:
        graph = _with_wide_cable(graph, len(numbered) + len(inside) - 1, network.rate_bps * len(servers))
    on_host = [0] * len(component.racks)
    for member in component.members:
        for host, ranks in member.hosts:
            on_host[host] += ranks
    return _Built(
        Fabric(graph, switch_ns=network.switch_ns, gpus=max(on_host)),
        {number: numbered[who, number] for who, number in numbered if who == "host"},
        {number: numbered[who, number] for who, number in numbered if who == "server"},
    )


def _with_wide_cable(graph: Graph, node: int, rate_bps: float) -> Graph:
    """The cable above a rack's switch has another rate."""

    def own(cable: Cable) -> Cable:
        return cable._replace(link=cable.link._replace(rate_bps=rate_bps)) if cable.lower.node == node else cable

    return replace(graph, cables=tuple(map(own, graph.cables)))
