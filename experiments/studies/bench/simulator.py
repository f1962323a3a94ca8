"""Packet-hops per second of the simulator on one core: next to ns-3, which carries as many packets over the same star.

64 hosts on one switch, 8 jobs of 7 workers and a PS, 100 Gb/s, payload-free, with fewer rows than the windows together
need, so that every part of the program has work. It runs in a process of its own, so that the memory is its own:

python -m experiments.studies.bench.simulator
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from experiments.studies.bench import ns3
from experiments.studies.bench.cpu import peak_memory_bytes
from experiments.studies.bench.errors import BenchError
from experiments.studies.bench.row import Row, row

JOBS, WORKERS = 8, 7
RATE_BPS, DELAY_NS, WIRE_LANES, FRAME_BYTES = 100_000_000_000, 1000, 64, 322
WINDOW, ROWS = 256, 1024
BUCKET_BYTES, BUCKETS, ITERATIONS = 4_000_000, 2, 3
REPEATS = 5
LIMIT_S = 600
NS3_SHARE = 18  # ns-3 carries as much less: it takes longer for each packet


def measure(say: Callable[[str], None]) -> Iterator[Row]:
    """Million packet-hops/s, and the peak of the memory: the simulator and ns-3 in turn.

    ns-3 twice: `udp` as its users write it, with sockets and an Internet stack; `raw`, bare devices and callbacks.
    """
    reason = ns3.why_not()
    say("simulator" if reason is None else f"simulator; not compared with ns-3: {reason}")
    ours, theirs = [], []
    for _ in range(REPEATS):
        ours.append(_in_own_process())
        if reason is None:
            traffic = ns3.Traffic.carrying(
                ours[-1]["packet_hops"] // NS3_SHARE,
                rate_bps=RATE_BPS,
                delay_ns=DELAY_NS,
                window=WINDOW,
                frame_bytes=FRAME_BYTES,
            )
            theirs.append({variant: ns3.run(traffic, variant, say) for variant in ns3.VARIANTS})
    what, unit = "simulator, 64 hosts, 8 jobs, 100 Gb/s", "million packet-hops/s"
    rates = [run["packet_hops"] / run["wall_s"] / 1e6 for run in ours]
    if reason is not None:
        yield row(what, unit, rates, f"ns-3: {reason}")
    for variant in ns3.VARIANTS if theirs else ():
        other = [run[variant].packet_hops_per_s / 1e6 for run in theirs]
        yield row(what, unit, rates, f"ns-3 {ns3.version()}, {variant}", other)
    memory = [run["peak_memory_bytes"] / 2**30 for run in ours]
    other = [max(run[variant].peak_memory_bytes for variant in ns3.VARIANTS) / 2**30 for run in theirs]
    yield row("simulator, peak memory of the process", "GiB", memory, "ns-3" if other else "", other or None)


def _in_own_process() -> dict[str, Any]:
    command = [sys.executable, "-m", "experiments.studies.bench.simulator"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode:
        raise BenchError(f"simulator: status {done.returncode}: {' '.join(done.stderr.splitlines()[-1:])}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    """Simulate once, compiled, and print what it took as JSON."""
    from esa.fabric import leaf_spine
    from esa.job import Pool
    from esa.sim import Bucket, Fabric, Link, Plan, SimulatedJob, Timers, simulate

    job = SimulatedJob(
        name="job",
        policy="esa",
        workers=WORKERS,
        iterations=ITERATIONS,
        buckets=(Bucket(BUCKET_BYTES, 20_000, 40_000),) * BUCKETS,
        priority=np.full((ITERATIONS, BUCKETS), 100, np.uint8),
        window=WINDOW,
        pool=Pool(base=0, size=ROWS),
        jitter=0.1,
    )
    plan = Plan(
        fabric=Fabric(leaf_spine([JOBS * (WORKERS + 1)], Link(RATE_BPS, DELAY_NS, queue_packets=1000)), switch_ns=400),
        jobs=tuple(replace(job, name=f"job-{k}", priority=job.priority + k) for k in range(JOBS)),
        timers=Timers(1_000_000, 200_000, 20_000_000, 5_000, 500_000, 50_000, 5_000_000),
        wire_lanes=WIRE_LANES,
    )
    small = replace(job, buckets=(Bucket(10_000, 0, 0),) * BUCKETS)
    simulate(replace(plan, jobs=(small,)))  # compiled, or loaded from the cache
    start = time.perf_counter()
    outcome = simulate(plan)
    wall_s = time.perf_counter() - start
    if outcome.incomplete is not None:
        raise BenchError(f"simulator: {outcome.incomplete}")
    peak = peak_memory_bytes()
    print(json.dumps({"packet_hops": outcome.packet_hops, "wall_s": wall_s, "peak_memory_bytes": peak}))


if __name__ == "__main__":
    main()
