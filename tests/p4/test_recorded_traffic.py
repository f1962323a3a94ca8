"""The compiled program answers recorded traffic as it always did: bytes that leave, registers, counters.

The traffic is drawn from seeds (traffic.py): every kind of packet, of jobs of every policy on few rows, well-formed and
not; jobs start anew and pools move in between. What was recorded is a digest: it changes where the P4 program or the
traffic does, and nowhere else. `python -m tests.p4.test_recorded_traffic [PACKETS]` prints what is to be recorded.
"""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest

from esa.job import Pool
from esa.policy import POLICIES
from tests.p4 import traffic
from tests.p4.rack import Rack

PARTS = 4
RECORDED = {64: "b7ac291f081938df", 0: "54916b5ce7c9ea34"}
PACKETS = {64: 6000, 0: 6000}


def _jobs(lanes: int):
    """A job per policy on eight rows; of two every row of another job has expired."""
    common = {"ports": 4, "lanes": lanes}
    shared = Pool(base=0, size=8)
    rows = {"switchml": Pool(base=8, size=8), "ps": Pool(base=0, size=1)}
    return [
        traffic.job(n + 1, name, workers=2 + n % 3, pool=rows.get(name, shared), ttl_us=n % 3 == 2, **common)
        for n, name in enumerate(POLICIES)
    ]


def digest(lanes: int, packets: int) -> str:
    """Of all that leaves the switch, and of what it holds in the end."""
    rack, found = Rack(_jobs(lanes), lanes), hashlib.sha256()
    for part in range(PARTS):
        rng = np.random.default_rng(part)
        for job in rack.jobs:
            if rng.random() < 0.3:
                rack.start_run(job)
        for port, frame in traffic.sequence(part, rack.jobs, packets // PARTS):
            rack.now_us += 1000
            for out_port, out in rack.pipeline.process(port, frame, rack.now_us):
                found.update(out_port.to_bytes(2, "big") + len(out).to_bytes(2, "big") + out)
    for name, register in sorted(rack.pipeline.registers.items()):
        found.update(name.encode() + register.read_all().tobytes())
    for name, counter in sorted(rack.pipeline.counters.items()):
        found.update(name.encode() + counter.packets.tobytes() + counter.bytes.tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize("lanes", [64, pytest.param(0, marks=pytest.mark.slow)])
def test_recorded_traffic_is_answered_as_it_was(lanes):
    assert digest(lanes, PACKETS[lanes]) == RECORDED[lanes]


if __name__ == "__main__":
    for lanes in RECORDED:
        print(lanes, digest(lanes, int(sys.argv[1]) if len(sys.argv) > 1 else PACKETS[lanes]))
