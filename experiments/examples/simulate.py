"""One training job of four workers in virtual time, under every policy: the same P4 program, workers and PS.

python experiments/examples/simulate.py
"""

import numpy as np

from esa.fabric import Link, rack
from esa.job import Pool
from esa.sim import Bucket, Fabric, Plan, SimulatedJob, Timers, simulate

RACK = Fabric(rack([Link(rate_bps=100e9, delay_ns=1000, queue_packets=1000)] * 5))
TIMERS = Timers(rto_initial_ns=1_000_000, rto_floor_ns=200_000, rto_ceiling_ns=20_000_000, overtaken_floor_ns=10_000)

for policy in ("esa", "atp", "switchml", "ps"):
    job = SimulatedJob(
        name="small",
        policy=policy,
        workers=4,
        iterations=3,
        buckets=(Bucket(bytes=100_000, forward_ns=20_000, backward_ns=40_000),) * 4,  # those at the back first
        priority=np.full((3, 4), 100, np.uint8),
        window=64,
        pool=Pool(base=0, size=128),
    )
    outcome = simulate(Plan(RACK, (job,), TIMERS))
    print(f"{policy:9} JCT {1e3 * outcome.jobs[0].jct_s:.3f} ms, {outcome.packet_hops} packets over a link")
