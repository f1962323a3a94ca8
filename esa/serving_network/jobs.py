"""What the simulator is asked to run: a replica's stages and what they send on, training jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from esa.errors import BadInput
from esa.network_times.training import bytes_of, parts_of, scaled
from esa.policy import policy
from esa.priority import Priority, Urgency
from esa.serving_network.network import SharedNetwork
from esa.sim.plan import Plan, SimulatedJob
from esa.sim.timers import timers_for
from esa.workloads.program import (
    Program,
    Steps,
    compute,
    loop,
    mark,
    program,
    recv,
    reduce,
    send,
    wait,
)

DECODE, PROMPT, GRADIENT = 255, 192, 128  # priorities by class; gradients are by the formula below theirs
SAMPLE_NS = 10_000_000
ENDLESS = 20_000  # iterations of a training that goes on as long as requests are served
_NAMELESS = np.zeros((1, 0), np.uint8)


@dataclass(frozen=True)
class Training:
    """A job beside: a model's gradients, a rank on each of these hosts. iterations: None: as long as requests come."""

    name: str
    model: str
    hosts: tuple[int, ...]
    iterations: int | None = None

    def __post_init__(self) -> None:
        parts_of(self.model)  # BadInput
        if len(self.hosts) < 2 or len(set(self.hosts)) < len(self.hosts):
            raise BadInput(f"training {self.name}: hosts {list(self.hosts)}; allowed: two or more, each once")
        if self.iterations is not None and not 2 <= self.iterations <= ENDLESS:
            raise BadInput(f"training {self.name}: iterations {self.iterations}; allowed: 2 to {ENDLESS}")


def stage_job(name: str, hosts: Sequence[int], layers: int, network: SharedNetwork) -> SimulatedJob:
    """A stage's tensor-parallel group: what the engine takes, then two sums a layer, each behind half of its computing.

    Times, bytes and priority are written before each pass (`esa.sim.guests.rewrite`).
    """
    steps = program(compute(0), loop(2 * layers, compute(0), reduce(4, DECODE), wait()))
    return _job(name, [steps] * len(hosts), hosts, network)


def sums_job(
    name: str, hosts: Sequence[int], octets: int, priority: int, passes: int, network: SharedNetwork
) -> SimulatedJob:
    """Sums one after the other, a MARK before each and at the end."""
    steps = program(loop(passes, mark(), reduce(octets, priority), wait()), mark())
    return _job(name, [steps] * len(hosts), hosts, network)


def boundary_job(
    name: str, sources: Sequence[int], targets: Sequence[int], network: SharedNetwork, *, octets: int = 4
) -> SimulatedJob:
    """What a stage's ranks send to the next one's, each to the one at its place."""
    ranks = len(sources)
    sends = [program(send(ranks + place, octets)) for place in range(ranks)]
    takes = program(recv())
    return _job(name, [*sends, *[takes] * ranks], [*sources, *targets], network, sums=False)


def training_job(training: Training, network: SharedNetwork, scale: float) -> SimulatedJob:
    """Iterations as PyTorch DDP's, a MARK before each. scale: of bytes and computing."""
    steps = [wait(), mark(), *iteration_steps(training.model, network, scale)]
    rounds = training.iterations or ENDLESS
    mine = program(loop(rounds, *steps))
    return _job(training.name, [mine] * len(training.hosts), training.hosts, network)


def iteration_steps(model: str, network: SharedNetwork, scale: float) -> list[Steps]:
    """Forward, then backward with a sum behind each bucket; nothing waits for them."""
    parts = parts_of(model)
    computing_s = sum(part.forward_ns + part.backward_ns for part in parts) / 1e9
    sending_s = 8 * bytes_of(model) / network.rate_bps
    steps: list[Steps] = [compute(scaled(part, scale).forward_ns) for part in reversed(parts)]
    for number, part in enumerate(parts):
        layer = len(parts) - number
        urgency = Priority()(Urgency(sending_s, computing_s, layer=layer))
        less = scaled(part, scale)
        steps += [compute(less.backward_ns), reduce(less.bytes, _gradient(urgency, network))]
    return steps


def holder_job(training: Training, network: SharedNetwork, scale: float) -> SimulatedJob:
    """An iteration as `training_job`'s behind a COMPUTE of no time, which each rank has of its own to be late by.

    It is done again and again by a guest (`esa/sim/guests.py`).
    """
    steps = [compute(0), *iteration_steps(training.model, network, scale), wait()]
    return _job(training.name, [program(*steps) for _ in training.hosts], training.hosts, network)


def _gradient(urgency: int, network: SharedNetwork) -> int:
    return urgency if network.priorities == "formula" else max(1, urgency * GRADIENT // 256)


def layer_priority(network: SharedNetwork, *, decodes: bool, octets: int, computing_ns: float) -> int:
    """Of an iteration's sums: somebody's next token waits for one in which there are decodes."""
    if network.priorities == "formula":
        return Priority()(Urgency(8 * octets / network.rate_bps, computing_ns / 1e9))
    return DECODE if decodes else PROMPT


def _job(
    name: str, programs: Sequence[Program], hosts: Sequence[int], network: SharedNetwork, *, sums: bool = True
) -> SimulatedJob:
    in_network = network.in_network and sums
    return SimulatedJob(
        name,
        network.policy,
        len(hosts),
        1,
        (),
        _NAMELESS,
        network.window,
        None,
        hosts=tuple(hosts),
        servers_on="workers",
        transport="ina" if in_network else ("ring" if network.in_network else network.carrier),
        ttl_us=policy(network.policy).ttl_us(network.round_trip_ns),
        programs=tuple(programs),
    )


def plan_of(jobs: Sequence[SimulatedJob], network: SharedNetwork, seed: int = 1) -> Plan:
    """BadInput for a host that there is not."""
    return Plan(
        network.fabric(host for job in jobs for host in job.hosts or ()),
        tuple(jobs),
        timers_for(network.round_trip_ns),
        rows=network.rows,
        wire_lanes=network.lanes,
        sample_ns=SAMPLE_NS,
        seed=seed,
    )
