"""The ring all-reduce twice: gloo's, over Mininet's shaped links, and the simulator's, over the same links.

gloo_s, ring_s = compare(Setting(Rack(4, 50.0, gloo=True), values=1 << 19, repeats=3, warm_up=0))

python -m experiments.studies.bench.ring    # those, on a machine that does nothing else

They are the first two of their connections. gloo's fourth and fifth took a tenth to a fifth more: it is not known why.
"""

from __future__ import annotations

from statistics import median

import numpy as np

from esa.errors import BadInput
from esa.fabric import Link, shapes
from esa.job import Pool
from esa.protocol.timers import Timers
from esa.sim import Fabric, Plan, SimulatedJob, simulate
from esa.sim.transport.flow import FlowOptions
from esa.wire import WIRE_OVERHEAD_BYTES
from esa.workloads.program import loop, mark, program, reduce, wait
from experiments.studies.bench.allreduce import Setting, run
from experiments.studies.bench.errors import BenchError
from experiments.studies.bench.ranks import Rack
from topologies.single_rack import QUEUE_BYTES

MTU_BYTES = 1500
FRAME_BYTES = MTU_BYTES + 14
LINK_NS, SWITCH_NS = 5_000, 20_000  # a veth pair, and a switch that is a process: little beside 240 us for a frame
FLOAT_BYTES = 4


def compare(setting: Setting) -> tuple[float, float]:
    """Median seconds of an all-reduce by gloo on Mininet, which needs root, and in virtual time."""
    return median(run(setting).seconds), simulated(setting)


def simulated(setting: Setting) -> float:
    """Median seconds of an all-reduce by the simulator's ring.

    Mininet's shaper counts Ethernet frames, a simulated cable also what lies between them; the rate is raised by it.
    BadInput for unshaped links, which no simulation has.
    """
    rack = setting.rack
    if rack.mbps is None:
        raise BadInput("mbps: none; allowed: a rate, for links of a simulation have one")
    rate_bps = rack.mbps * 1e6 * (FRAME_BYTES + WIRE_OVERHEAD_BYTES) / FRAME_BYTES
    link = Link(rate_bps, LINK_NS, QUEUE_BYTES // FRAME_BYTES)
    rank = program(loop(setting.repeats + 1, wait(), mark(), reduce(FLOAT_BYTES * setting.values, 1)), wait(), mark())
    job = SimulatedJob(
        name="ring",
        policy="esa",
        workers=rack.workers,
        iterations=1,
        buckets=(),
        priority=np.ones((1, 0), np.uint8),
        window=1,
        pool=Pool(base=0, size=1),
        transport="ring",
        programs=(rank,) * rack.workers,
    )
    outcome = simulate(
        Plan(
            Fabric(shapes.rack([link] * (rack.workers + 1)), switch_ns=SWITCH_NS),
            (job,),
            Timers(),
            flow=FlowOptions(mtu_bytes=MTU_BYTES),
            sample_ns=10**9,
        )
    )
    if outcome.incomplete is not None:
        raise BenchError(f"ring: {outcome.incomplete}")
    each_ns = np.diff([[ns for _, ns in marks] for marks in outcome.marks_ns["ring"]], axis=1)
    return median(each_ns.max(axis=0)[1:]) / 1e9  # the first one opens the windows, as gloo's first does


if __name__ == "__main__":
    gloo_s, ring_s = compare(Setting(Rack(4, 20.0, gloo=True), values=1 << 20, repeats=2, warm_up=0))
    print(f"gloo {gloo_s:.3f} s, ring in virtual time {ring_s:.3f} s: {ring_s / gloo_s - 1:+.1%}")
