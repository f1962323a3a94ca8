"""BMv2 and the embedded switch, the same random packets: every packet that leaves and every register, bit for bit.

Jobs start anew in between, so rows of ended runs are met, and packets of runs that are over; and pools are moved.

Skipped by name where BMv2 is not installed. A failure prints the seed; `ESA_SEEDS=7,8 make test` draws those again.
"""

from __future__ import annotations

import os
from collections import defaultdict

import numpy as np
import pytest

from esa.entries.job_entries import COUNTERS, DENIED_BY_REASON, host_entry
from esa.job import Pool, Run
from esa.policy import POLICIES
from tests.p4 import bmv2, traffic
from tests.p4.rack import Rack, items_of

PORTS = 5  # the last one is the sentinel's
PARTS = 3  # of a sequence; some jobs have a new run in each
SEEDS = [int(seed) for seed in os.environ.get("ESA_SEEDS", "1,2").split(",")]
SEVERAL_SERVERS = ((18, "esa", 2), (19, "atp", 4))  # job, policy and PSs
CLOCK = "EsaIngress.aggregation.row_time_us"  # the one register that holds the switch's own clock


def jobs(lanes: int):
    """A job per policy and ablation, all on few rows; two of them find every row of another job expired."""
    shared = Pool(base=0, size=8)
    policies = [name for name in POLICIES if name not in ("switchml", "ps")]
    common = {"ports": PORTS - 1, "lanes": lanes}
    some = [
        traffic.job(n + 1, name, workers=2 + n % 3, pool=shared, ttl_us=n % 3 == 2, **common)
        for n, name in enumerate(policies)
    ]
    return [
        *some,
        traffic.job(20, "switchml", workers=3, pool=Pool(base=8, size=8), **common),
        traffic.job(21, "ps", workers=2, pool=Pool(base=0, size=1), **common),
        traffic.job(22, "esa", workers=1, pool=shared, **common),
        *(traffic.job(n, name, workers=3, pool=shared, servers=k, **common) for n, name, k in SEVERAL_SERVERS),
    ]


def start_runs(rack: Rack, reference: bmv2.Bmv2, rng: np.random.Generator) -> list[Run]:
    """A new run of every third job or so, on both switches; returns a few of the runs that ended."""
    ended = [job for job in rack.jobs if rng.random() < 0.3]
    for job in ended:
        _, come, gone = rack.start_run(job)
        reference.switch.insert(come)
        reference.switch.delete(gone[::-1])
    return ended[:2]


def move_pools(rack: Rack, reference: bmv2.Bmv2, rng: np.random.Generator) -> int:
    """Other rows for some of the jobs whose pools may be moved, on both switches; returns how many."""
    places = [Pool(base=base, size=size) for size in (4, 8) for base in range(0, 16, size)]
    moving = [job for job in rack.jobs if POLICIES[job.policy].pool in ("placed", "shared") and rng.random() < 0.4]
    reference.switch.modify([rack.move(job, places[rng.integers(len(places))]) for job in moving])
    return len(moving)


@pytest.mark.root
@pytest.mark.bmv2
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("lanes", "count"), [(64, 3000), (256, 200)])
def test_bmv2_and_the_embedded_switch_agree_bit_for_bit(lanes, count):
    sentinel_host = traffic.member(240, PORTS - 1, 1)
    sentinel = bytes.fromhex(sentinel_host.mac.replace(":", "")) + b"\x02" + bytes(5) + b"\x88\xb6" + bytes(46)
    everyone = jobs(lanes)
    rack, moved = Rack(everyone, lanes), 0
    with bmv2.Bmv2(PORTS, lanes) as reference:
        reference.install([*items_of(everyone), host_entry(sentinel_host.mac, sentinel_host.switch_port)])
        for seed in SEEDS:
            for part in range(PARTS):
                rng = np.random.default_rng((seed, part))
                ended = start_runs(rack, reference, rng)
                moved += move_pools(rack, reference, rng)
                sequence = list(traffic.sequence(seed * PARTS + part, [*rack.jobs, *ended], count // PARTS))
                expected = defaultdict(list)
                for port, frame in sequence:
                    rack.now_us += 1000  # whoever has a TTL of 1 us finds every row expired, as on BMv2's real clock
                    for out_port, out in rack.pipeline.process(port, frame, rack.now_us):
                        expected[out_port].append(out)
                got = reference.run(sequence, sentinel, PORTS - 1)
                for port in range(PORTS):
                    where = f"seed {seed}, part {part}, {lanes} lanes, port {port}"
                    for n, (ours, theirs) in enumerate(zip(expected[port], got[port], strict=False)):
                        assert ours.hex() == theirs.hex(), f"{where}: packet {n} differs"
                    assert len(expected[port]) == len(got[port]), f"{where}: number of packets"
        cells_of = reference.registers(rack.pipeline.registers)
        assert cells_of.keys() == rack.pipeline.registers.keys()
        for name, register in rack.pipeline.registers.items():
            if name != CLOCK:
                assert register.read_all().tolist() == cells_of[name], f"seeds {SEEDS}: {name}"
        indices = range(len(everyone) + 1)
        cells = [(name, index) for name in COUNTERS.values() for index in indices]
        cells += [(DENIED_BY_REASON, index) for index in range(8)]
        theirs = reference.switch.read_counters(cells)
        assert theirs == [int(rack.pipeline.counters[name].packets[index]) for name, index in cells]
    reached = {name: int(rack.pipeline.counters[full].packets.sum()) for name, full in COUNTERS.items()}
    reached["reclaimed"] = int(rack.pipeline.counters[COUNTERS["released"]].packets[0])
    reached["other run"] = rack.denied("other run")
    reached["moved"] = moved
    assert all(reached.values()), f"the sequences do not reach every rule: {reached}"
