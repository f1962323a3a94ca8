"""Queues of ports with a rate: who waits, who is lost, when each leaves, and what the program sees of it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from esa.switch import PacketBatch, Pipeline
from esa.switch.runtime.queues import NEVER, QueueLimit, Queues
from tests.switch import bmv2_files
from tests.switch.traffic import arithmetic_packets, feature_packets

PROGRAMS = Path(__file__).parent / "programs"
MS = 1_000_000
FRAME = bytes(8) + bytes(92)
SEEN = slice(4, 6)  # of a packet: what the program writes of its metadata


def program(seen: str) -> str:
    """`passes`, whose egress writes a field of the standard metadata into each packet."""
    root = json.loads((PROGRAMS / "passes.json").read_text())
    for action in root["actions"]:
        for primitive in action["primitives"]:
            if primitive["op"] == "assign" and primitive["parameters"][0]["value"] == ["h", "port"]:
                primitive["parameters"][1] = {"type": "field", "value": ["standard_metadata", seen]}
    return json.dumps(root)


class Switch:
    """A pipeline with queues, whose clock is set by hand."""

    def __init__(self, text: str, limits: dict[int, QueueLimit], *, compiled: bool = False, batch: int = 64) -> None:
        self.pipeline = Pipeline.load(text, compiled=compiled, queues=True)
        self.queues = Queues(self.pipeline, limits, frame_bytes=2048, batch=batch)
        self.batch, self.out = PacketBatch(batch), PacketBatch(batch)

    def turn(self, now_ns: int, *packets: bytes, port: int = 0) -> list[tuple[int, bytes]]:
        """What leaves now."""
        self.batch.count = 0
        for packet in packets:
            self.batch.append(port, packet)
        left, first = [], 0
        while True:
            count = self.queues.turn(self.batch, first, now_ns, self.out)
            left += [self.out.packet(k) for k in range(count)]
            first = self.batch.done
            if first >= self.batch.count and self.queues.next_due_ns() > now_ns:
                return left

    def drain(self) -> list[tuple[int, tuple[int, bytes]]]:
        """(when, what) leaves."""
        left = []
        while (now_ns := self.queues.next_due_ns()) < NEVER:
            left += [(now_ns, each) for each in self.turn(now_ns)]
        return left


def seen(packets: list[tuple[int, bytes]]) -> list[int]:
    return [int.from_bytes(packet[SEEN], "big") for _, packet in packets]


@pytest.mark.supports("queues: ports with a rate and a depth")
@pytest.mark.parametrize(("field", "depths"), [("enq_qdepth", [0, 0, 1, 2, 3]), ("deq_qdepth", [0, 3, 2, 1, 0])])
def test_one_leaves_at_once_and_as_many_wait_as_the_depth_says(field: str, depths: list[int]) -> None:
    switch = Switch(program(field), {1: QueueLimit(rate_pps=1000, depth=4)})
    first = switch.turn(7 * MS, *[FRAME] * 10)
    later = switch.drain()
    assert [at for at, _ in later] == [8 * MS, 9 * MS, 10 * MS, 11 * MS]
    assert seen(first + [each for _, each in later]) == depths
    assert switch.queues.dropped(1) == 5
    assert switch.queues.held.fill.tolist() == [64 + 4, 0]  # nothing is left behind


def test_what_waited_is_told_how_long() -> None:
    switch = Switch(program("deq_timedelta"), {1: QueueLimit(rate_pps=1000, depth=4)})
    assert seen(switch.turn(MS, *[FRAME] * 3)) == [0]
    assert seen([each for _, each in switch.drain()]) == [1000, 2000]


def test_a_rate_in_bits_goes_by_the_length_of_each_packet() -> None:
    switch = Switch(program("enq_qdepth"), {1: QueueLimit(rate_bps=8e6)})  # a byte a microsecond
    switch.turn(0, FRAME, bytes(1000), FRAME, FRAME)
    assert [at for at, _ in switch.drain()] == [100_000, 1_100_000, 1_200_000]


def test_a_port_that_is_served_late_catches_up_and_an_idle_one_saves_nothing() -> None:
    switch = Switch(program("enq_qdepth"), {1: QueueLimit(rate_bps=8e6)})
    switch.turn(0, *[FRAME] * 5)
    assert len(switch.turn(250_000)) == 2  # due at 100 and 200
    assert [at for at, _ in switch.drain()] == [300_000, 400_000]
    assert len(switch.turn(10 * MS, *[FRAME] * 3)) == 1
    assert [at for at, _ in switch.drain()] == [10 * MS + 100_000, 10 * MS + 200_000]


def test_a_port_without_a_rate_does_not_wait_for_the_others() -> None:
    text = (PROGRAMS / "passes.json").read_text()
    switch = Switch(text, {1: QueueLimit(rate_pps=10)})
    assert switch.pipeline.clone_sessions is not None
    switch.pipeline.clone_sessions.set(5, [(2, 0)])
    cloned = b"\x01" + FRAME[1:]
    ports = [port for _ in range(3) for port, _ in switch.turn(MS, cloned)]
    assert sorted(ports) == [1, 2, 2, 2]
    assert [port for _, (port, _) in switch.drain()] == [1, 1]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ["arithmetic", "features", "passes"])
def test_two_halves_do_what_the_whole_does(name: str, compiled: bool) -> None:
    rng = random.Random(5)
    packets = {
        "arithmetic": arithmetic_packets(rng, 30),
        "features": feature_packets(rng, 60),
        "passes": [bytes([rng.randrange(6), 0, 0, 0, 0, 0, 0, 0]) + rng.randbytes(9) for _ in range(30)],
    }[name]
    text = (PROGRAMS / f"{name}.json").read_text()
    whole, halves = Pipeline.load(text, compiled=False), Switch(text, {}, compiled=compiled)
    for pipeline in (whole, halves.pipeline):
        pipeline.multicast.set(1, [(1, 1), (2, 7), (3, 7)])
        if pipeline.clone_sessions is not None:
            pipeline.clone_sessions.set(5, [(2, 0), (3, 4)])
    for at, one in enumerate(packets):
        # Copies of copies may overtake: they wait for another turn.
        assert sorted(whole.process(0, one, timestamp_us=at)) == sorted(halves.turn(1000 * at, one)), at
    assert (whole.state.m32 == halves.pipeline.state.m32).all()


def test_an_output_that_is_too_small_for_all_takes_them_in_turns() -> None:
    switch = Switch(program("enq_qdepth"), {1: QueueLimit(rate_pps=1e9, depth=500)}, batch=8)
    batch = PacketBatch(100)
    for _ in range(100):
        batch.append(0, FRAME)
    left, first, now_ns = 0, 0, 0
    while first < 100 or switch.queues.next_due_ns() < NEVER:
        left += switch.queues.turn(batch, first, now_ns, switch.out)
        first, now_ns = batch.done, now_ns + MS
    assert (left, switch.queues.dropped(1), switch.pipeline.lost) == (100, 0, 0)


@pytest.mark.supports("queues: ports with a rate and a depth")
@pytest.mark.bmv2
@pytest.mark.parametrize(("field", "last"), [("enq_qdepth", 1), ("deq_qdepth", 3)])
def test_bmv2_sees_the_same_depths(tmp_path: Path, field: str, last: int) -> None:
    """Those of the last packets: when its egress takes the first one out of its idle queue is its threads' affair."""
    path = tmp_path / "passes.json"
    path.write_text(program(field))
    theirs = bmv2_files.run(path, {0: [FRAME] * 10}, "set_queue_rate 50 1\nset_queue_depth 4 1\n")[1]
    switch = Switch(path.read_text(), {1: QueueLimit(rate_pps=50, depth=4)})
    ours = switch.turn(0, *[FRAME] * 10) + [each for _, each in switch.drain()]
    assert len(theirs) in (4, 5)
    assert seen([(1, packet) for packet in theirs])[-last:] == seen(ours)[-last:]
