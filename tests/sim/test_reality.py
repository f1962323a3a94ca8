"""The simulator's switches are the ones outside: a simulation's packets, sent once more, do the same there.

First through a pipeline by itself, packet by packet, clock included; then through running switches, whose clock is
their own (jobs have no TTL, so it decides nothing): every packet that leaves, every register and counter, bit for bit.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import groupby

import pytest

from esa.entries.direct import apply, remove
from esa.entries.job_entries import COUNTERS, host_entry
from esa.policy import POLICIES
from esa.program import program
from esa.switch.runtime.pipeline import Pipeline
from tests.p4 import bmv2, traffic
from tests.sim.plans import bad_links, bucket, job, leaf_spine, plan, rack
from tests.sim.recording import Entering, Recording
from tests.sim.running import Embedded

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

CLOCK = "EsaIngress.aggregation.row_time_us"  # the one register that holds the switch's own clock
# BMv2 shows a register in no time; of the embedded one, over P4Runtime, three lanes have to do.
META = ("bitmap", "owner", "priority", "exponent", "flags", "time_us")
COMPARED = {"bmv2": "", "embedded": (*META, "lane_00", "lane_1f", "lane_3f")}
SPREAD = leaf_spine((3, 3, 2), spines=2)
BAD = {"loss": 0.03, "duplicate": 0.05, "reorder": 0.05, "reorder_ms": 0.01, "jitter_ms": 0.003}


def everything(ttl_us: int):
    """A job of every policy, two or three at a time, on eight bad links and 16 rows."""
    common = {"buckets": (bucket(15, 500, 500), bucket(20, 500, 500)), "window": 8, "jitter": 0.3}
    few = {"esa-paper": 4}  # the rows of those that collide age
    jobs = [
        job(name, name, first_row=32 * n, rows=few.get(name, 16), priority=10 + n, submit_ns=n, ttl_us=ttl_us, **common)
        for n, name in enumerate(POLICIES)
    ]
    return plan(*jobs, fabric=rack(8, faults=bad_links(8, 1, **BAD)), lanes=64, sample_ns=10**9)


def spread(ttl_us: int):
    """Two jobs over two racks, their PSs in a third, behind either spine."""
    common = {"workers": 3, "iterations": 2, "window": 8, "rows": 16, "jitter": 0.3, "ttl_us": ttl_us}
    jobs = [
        job("one", "esa", hosts=(0, 1, 3, 6), priority=10, **common),
        job("other", "atp", hosts=(2, 4, 5, 7), priority=20, **common),
    ]
    return plan(*jobs, fabric=replace(SPREAD, faults=bad_links(8, 2, **BAD)), lanes=64, sample_ns=10**9)


@pytest.mark.slow
@pytest.mark.parametrize("simulated", [everything, spread])
def test_a_pipeline_by_itself_does_the_same(simulated) -> None:
    recording = Recording(simulated(ttl_us=10))
    assert recording.outcome.incomplete is None
    for switch in recording.switches:
        pipeline = Pipeline.load(program(64).json.read_text())
        left = defaultdict(list)
        for step in recording.steps[switch]:
            if isinstance(step, Entering):
                for port, frame in pipeline.process(step.port, step.frame, step.now_us):
                    left[port].append(frame)
            else:
                (apply if step.adds else remove)(step.items, pipeline)
        assert left == recording.left[switch]
        for name, cells in recording.registers(switch).items():
            assert pipeline.registers[name].read_all().tolist() == cells, name
        for name, cells in recording.counters(switch).items():
            assert pipeline.counters[name].packets.tolist() == cells, name
    if simulated is everything:
        counted = recording.outcome.switch_counters.values()
        silent = {name for name in COUNTERS if not any(counters[name] for counters in counted)}
        assert silent <= {"denied"}, "the simulation does not reach every rule"


KINDS = {"embedded": Embedded, "bmv2": bmv2.Bmv2}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("simulated", "switch"), [(everything, 0), (spread, 1), (spread, 3)])
def test_a_running_switch_does_the_same(root: None, simulated, switch: int, kind: str) -> None:
    recording = Recording(simulated(ttl_us=0))
    packets = recording.packets(switch)
    assert len(packets) > 200
    last_port = 1 + max(packet.port for packet in packets)
    sentinel_host = traffic.member(240, last_port, 1)
    sentinel = bytes.fromhex(sentinel_host.mac.replace(":", "")) + b"\x02" + bytes(5) + b"\x88\xb6" + bytes(46)
    left = defaultdict(list)
    with KINDS[kind](last_port + 1, 64) as running:
        running.install([host_entry(sentinel_host.mac, last_port)])
        for entering, together in groupby(recording.steps[switch], lambda step: isinstance(step, Entering)):
            if entering:
                sequence = [(step.port, step.frame) for step in together]
                for port, frames in running.run(sequence, sentinel, last_port).items():
                    left[port] += frames
                continue
            for step in together:
                (running.switch.insert if step.adds else running.switch.delete)(step.items)
        registers = running.registers(name for name in recording.registers(switch) if name.endswith(COMPARED[kind]))
        cells = [(name, index) for name in COUNTERS.values() for index in range(1 + len(POLICIES))]
        counted = running.switch.read_counters(cells)
    assert left.keys() == recording.left[switch].keys()
    for port, frames in recording.left[switch].items():
        for n, (simulated_frame, frame) in enumerate(zip(frames, left[port], strict=False)):
            assert simulated_frame.hex() == frame.hex(), f"port {port}: packet {n} differs"
        assert len(frames) == len(left[port]), f"port {port}: number of packets"
    expected = recording.registers(switch)
    assert len(registers) >= 9
    for name in registers.keys() - {CLOCK}:
        assert registers[name] == expected[name], name
    counters = recording.counters(switch)
    assert counted == [counters[name][index] for name, index in cells]
