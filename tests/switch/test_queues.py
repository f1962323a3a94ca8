"""Queues of ports with a rate: who waits, who is lost, when each leaves, and what the program sees of it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from esa.errors import BadInput
from esa.switch import PacketBatch, Pipeline
from esa.switch.runtime.queue_limits import QueueLimit
from esa.switch.runtime.queue_settings import MAX_DEPTH, QueueSettings
from esa.switch.runtime.queues import NEVER, Limits, Queues, split
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

    def __init__(
        self, text: str, limits: Limits, *, compiled: bool = False, batch: int = 64, priorities: int = 1
    ) -> None:
        self.pipeline = Pipeline.load(text, compiled=compiled, queues=True, priorities=priorities)
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
    theirs = bmv2_files.run(path, {0: [FRAME] * 10}, "set_queue_rate 50 1\nset_queue_depth 4 1\n", pause_s=0.1)[1]
    switch = Switch(path.read_text(), {1: QueueLimit(rate_pps=50, depth=4)})
    ours = switch.turn(0, *[FRAME] * 10) + [each for _, each in switch.drain()]
    assert len(theirs) in (4, 5)
    assert seen([(1, packet) for packet in theirs])[-last:] == seen(ours)[-last:]


QUEUES = (PROGRAMS / "queues.json").read_text()


def asking(priority: int, number: int = 0, what: int = 0) -> bytes:
    return bytes([priority, what, number, *bytes(9)]) + bytes(50)


def numbers(packets: list[tuple[int, bytes]]) -> list[int]:
    return [packet[2] for _, packet in packets]


def depths(packets: list[tuple[int, bytes]]) -> list[tuple[int, int]]:
    """(enq_qdepth, deq_qdepth) of each."""
    return [(int.from_bytes(packet[4:6], "big"), int.from_bytes(packet[6:8], "big")) for _, packet in packets]


@pytest.mark.supports("queues: several of a port, by standard_metadata.priority")
@pytest.mark.parametrize("compiled", [False, True])
def test_the_highest_priority_that_may_leave_leaves_first(compiled: bool) -> None:
    switch = Switch(QUEUES, {1: QueueLimit(rate_pps=1000)}, priorities=3, compiled=compiled)
    burst = [asking(0, 1), asking(2, 2), asking(0, 3), asking(1, 4), asking(2, 5), asking(1, 6), asking(0, 7)]
    assert numbers(switch.turn(0, *burst)) == [1, 2, 4]  # each queue has a rate of its own, and depths
    left = [each for _, each in switch.drain()]
    assert numbers(left) == [5, 6, 3, 7]
    assert depths(left) == [(0, 0), (0, 0), (0, 1), (1, 0)]


def test_what_asks_for_a_queue_that_is_none_is_dropped_and_counted() -> None:
    for priorities in (1, 2):
        switch = Switch(QUEUES, {1: QueueLimit(rate_pps=1000, depth=3)}, priorities=priorities)
        assert numbers(switch.turn(0, asking(priorities, 1), asking(priorities - 1, 2), asking(7, 3))) == [2]
        assert switch.queues.dropped(1) == 2
        whole = Pipeline.load(QUEUES, compiled=False, priorities=priorities)
        assert whole.process(0, asking(priorities)) == []
        assert len(whole.process(0, asking(priorities - 1))) == 1


@pytest.mark.supports("queues: several of a port, by standard_metadata.priority")
def test_each_queue_of_a_port_has_its_own_depth() -> None:
    limits = {(1, 0): QueueLimit(rate_pps=100, depth=1), (1, 1): QueueLimit(rate_pps=100, depth=4)}
    switch = Switch(QUEUES, limits, priorities=2)
    switch.turn(0, *[asking(0)] * 6, *[asking(1, 1)] * 6)
    assert (switch.queues.waiting(1, 0), switch.queues.waiting(1, 1), switch.queues.dropped(1)) == (1, 4, 5)


@pytest.mark.supports("P4Runtime: a class of service of clones, where ports have several queues")
@pytest.mark.parametrize("what", [1, 2])  # of the ingress, of the egress
def test_a_clone_waits_by_the_class_of_service_of_its_session(what: int) -> None:
    switch = Switch(QUEUES, {2: QueueLimit(rate_pps=1000)}, priorities=4)
    sessions = switch.pipeline.clone_sessions
    assert sessions is not None
    sessions.set(5, [(2, 0)])
    sessions.serve(5, 3)
    assert len(switch.turn(0, *[asking(0, at, what) for at in range(3)])) == 4  # and one clone
    assert (switch.queues.waiting(2, 0), switch.queues.waiting(2, 3)) == (0, 2)
    sessions.serve(5, 0)
    switch.turn(0, asking(0, 3, what))
    assert (switch.queues.waiting(2, 0), switch.queues.waiting(2, 3)) == (0, 2)  # it has left at once


@pytest.mark.supports("queues: rates and depths that change while packets pass")
def test_rates_and_depths_change_while_packets_wait() -> None:
    switch = Switch(QUEUES, {1: QueueLimit(rate_pps=1000, depth=2)}, batch=256)
    switch.turn(0, *[asking(0, at) for at in range(9)])
    assert (switch.queues.waiting(1), switch.queues.dropped(1)) == (2, 6)
    switch.queues.set_limits({1: QueueLimit(rate_pps=10, depth=300)})
    switch.turn(MS // 2, *[asking(0, 9)] * 200)
    assert (switch.queues.waiting(1), switch.queues.dropped(1)) == (202, 6)
    assert numbers(switch.turn(MS)) == [1]  # its time was over at the old rate
    assert [at for at, _ in switch.drain()][:2] == [101 * MS, 201 * MS]
    switch.turn(10**12, *[asking(0, at) for at in range(4)])
    switch.queues.set_limits({})
    assert numbers(switch.turn(10**12, asking(0, 8))) == [1, 2, 3, 8]
    assert switch.queues.held.fill[0] == len(switch.queues.held.free)  # every place is free again


@pytest.mark.parametrize("compiled", [False, True])
def test_a_program_is_split_while_it_works(compiled: bool) -> None:
    pipeline = Pipeline.load((PROGRAMS / "features.json").read_text(), compiled=compiled)
    packets = feature_packets(random.Random(6), 30)
    plain = Pipeline.load((PROGRAMS / "features.json").read_text(), compiled=False)
    for one in packets[:15]:
        assert pipeline.process(0, one) == plain.process(0, one)
    split(pipeline)
    queues = Queues(pipeline, {}, frame_bytes=2048, batch=64)
    batch, out = PacketBatch(1), PacketBatch(64)
    for at, one in enumerate(packets[15:]):
        batch.count = 0
        batch.append(0, one)
        count = queues.turn(batch, 0, 1000 * at, out)
        assert [out.packet(k) for k in range(count)] == plain.process(0, one, at)
    assert pipeline.counters["I.by_port"].packets[0] == 30


def test_settings_say_what_is_allowed() -> None:
    settings = QueueSettings((1, 2), 2)
    assert not QueueSettings((1,)).used
    assert settings.used
    for changes, message in (
        ({"port": 3, "depth": 1}, "port 3: no such port; allowed: 1, 2"),
        ({"priority": 2, "depth": 1}, "priority 2: 0 to 1"),
        ({"rate_pps": -1}, "rate_pps -1: 0"),
        ({"rate_pps": float("nan")}, "rate_pps nan: 0"),
        ({"depth": 0}, "depth 0: from 1"),
        ({"rate_pps": 5, "depth": MAX_DEPTH}, "together; 1000000 are allowed"),
    ):
        with pytest.raises(BadInput, match=message):
            settings.change(**changes)
    assert (settings.limits(), settings.version) == ({}, 0)
    settings.change(port=2, priority=1, rate_pps=5, depth=9)
    assert settings.limits() == {(2, 1): QueueLimit(rate_pps=5, depth=9)}
    settings.change(rate_pps=0)
    assert settings.limits() == {}


@pytest.mark.supports("queues: several of a port, by standard_metadata.priority")
@pytest.mark.bmv2
def test_bmv2_serves_priorities_the_same(tmp_path: Path) -> None:
    """From the second of each queue on: when the first ones leave, idle queues all, is for BMv2's threads to say."""
    burst = [asking(0, 1), asking(0, 2), asking(0, 3), asking(1, 11), asking(1, 12), asking(1, 13), asking(2, 21)]
    commands = "set_queue_rate 4 1 0\nset_queue_rate 20 1 1\nset_queue_depth 3 1\n"
    theirs = bmv2_files.run(PROGRAMS / "queues.json", {0: burst}, commands, ["--priority-queues", "2"], 0.3)[1]
    limits = {(1, 0): QueueLimit(rate_pps=4, depth=3), (1, 1): QueueLimit(rate_pps=20, depth=3)}
    switch = Switch(QUEUES, limits, priorities=2)
    ours = switch.turn(0, *burst) + [each for _, each in switch.drain()]
    others = [(1, packet) for packet in theirs]
    assert numbers(ours[2:]) == numbers(others[2:]) == [12, 13, 2, 3]
    assert [deq for _, deq in depths(ours[2:])] == [deq for _, deq in depths(others[2:])]
    assert sorted(numbers(others)) == [1, 2, 3, 11, 12, 13]  # 21 asks for a queue that neither has
