"""Flows by themselves: two ends over a virtual wire that queues, drops, loses, duplicates, delays and marks."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.sim.transport.flow import (
    ACK,
    BYTES,
    HEADER_BYTES,
    KIND,
    LAST,
    MARKED,
    NONE,
    SEQ,
    WORDS,
    FlowOptions,
    flow_answer,
    flow_message,
    flow_take_data,
    new_flows,
)
from esa.sim.transport.flow_send import flow_is_idle, flow_offer, flow_room, flow_send, flow_take_ack
from tests.effort import tries

pytestmark = pytest.mark.timeout(120)

BYTE_NS, DELAY_NS = 1, 5_000  # 8 Gb/s
OPTIONS = FlowOptions(mtu_bytes=HEADER_BYTES + 1000, window_packets=64)
PACKET_NS = HEADER_BYTES + 1000


@dataclass
class Wire:
    """One flow over a queue of `room` packets, and back over nothing that queues. Chances: of each packet, each way."""

    options: FlowOptions = OPTIONS
    messages: int = 4
    gap_ns: int = 0
    gain: float = 1 / 16
    room: int = 1000
    ecn_threshold: int | None = None
    loss: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0  # by up to ten delays
    seed: int = 1
    drop: set[int] = field(default_factory=set)  # of the data packets sent, by number from 0
    now_ns: int = 0

    def __post_init__(self) -> None:
        self.flows = new_flows(1, self.options, self.messages)
        self.flows.sender["gap_ns"], self.flows.sender["gain"] = self.gap_ns, self.gain
        self.random = random.Random(self.seed)
        self.out = np.zeros((8, WORDS), np.uint32)
        self.events: list[tuple[int, int, np.ndarray | None]] = []
        self.leaving: list[int] = []
        self.sent: list[np.ndarray] = []
        self.received: list[int] = []
        self.number = self.data = 0

    @property
    def sender(self) -> np.void:
        return self.flows.sender[0]

    def _at(self, when_ns: int, what: np.ndarray | None) -> None:
        self.number += 1
        heapq.heappush(self.events, (when_ns, self.number, what))

    def _carry(self, packet: np.ndarray) -> None:
        when_ns = self.now_ns + DELAY_NS
        if packet[KIND] != ACK:
            self.sent.append(packet)
            self.data += 1
            self.leaving = [ns for ns in self.leaving if ns > self.now_ns]
            if len(self.leaving) >= self.room or self.data - 1 in self.drop:
                return
            packet[MARKED] = self.ecn_threshold is not None and len(self.leaving) > self.ecn_threshold
            busy_ns = max([self.now_ns, *self.leaving[-1:]])
            self.leaving.append(busy_ns + BYTE_NS * (HEADER_BYTES + int(packet[BYTES])))
            when_ns = self.leaving[-1] + DELAY_NS
        if self.random.random() < self.loss:
            return
        for _ in range(1 + (self.random.random() < self.duplicate)):
            late_ns = self.random.randrange(10 * DELAY_NS) if self.random.random() < self.late else 0
            self._at(when_ns + late_ns, packet)

    def _poll_sender(self) -> None:
        for end in (flow_send, flow_answer):
            while True:
                count, wake_ns = end(self.flows, 0, self.out, self.now_ns)
                for packet in self.out[:count].copy():
                    self._carry(packet)
                if wake_ns > self.now_ns:
                    break
            if wake_ns < 10**15:
                self._at(wake_ns, None)

    def run(self, limit_ns: int = 10**13) -> Wire:
        """Until all has arrived, or nothing will happen any more."""
        self._poll_sender()
        while self.events and self.events[0][0] < limit_ns:
            self.now_ns, _, packet = heapq.heappop(self.events)
            if packet is not None and packet[KIND] == ACK:
                flow_take_ack(self.flows, 0, packet, self.now_ns)
            elif packet is not None:
                flow_take_data(self.flows, 0, packet, self.now_ns)
                while (tag := flow_message(self.flows, 0)) != NONE:
                    self.received.append(tag)
            self._poll_sender()
            if self.gap_ns == 0 and flow_is_idle(self.flows, 0):
                break
        return self

    def offer(self, *messages: int) -> Wire:
        for tag, octets in enumerate(messages):
            flow_offer(self.flows, 0, octets, tag)
        return self


def test_a_message_is_as_many_packets_as_it_needs_and_the_last_one_says_so() -> None:
    wire = Wire().offer(2500, 1000).run()
    assert [(int(p[SEQ]), int(p[BYTES]), int(p[LAST])) for p in wire.sent] == [
        (0, 1000, 0), (1, 1000, 0), (2, 500, 1), (3, 1000, 2)
    ]  # fmt: skip
    assert wire.received == [0, 1]
    assert wire.now_ns == 4 * HEADER_BYTES + 3500 + 2 * DELAY_NS  # the last bit there, and the answer back
    assert int(wire.flows.receiver["bytes"][0]) == 3500


def test_a_long_message_takes_as_long_as_its_packets() -> None:
    wire = Wire().offer(2_000_000).run()
    alone_ns = 2000 * PACKET_NS
    assert alone_ns <= wire.now_ns < 1.02 * alone_ns
    assert (wire.sender["resends"], wire.sender["timeouts"]) == (0, 0)


def test_the_window_opens_by_what_is_acknowledged_and_is_never_larger_than_there_is_room() -> None:
    wire = Wire().offer(10**6)
    count, _ = flow_send(wire.flows, 0, np.zeros((100, WORDS), np.uint32), 0)
    assert count == 10  # RFC 6928
    assert Wire().offer(10**6).run().sender["cwnd"] == 64


def test_messages_offered_are_bounded_by_those_that_have_arrived() -> None:
    wire = Wire(messages=2).offer(100, 100)
    assert flow_room(wire.flows, 0) == 0
    assert flow_room(wire.run().flows, 0) == 2


def test_every_second_packet_is_acknowledged_and_a_last_one_at_once() -> None:
    flows = new_flows(1, OPTIONS, 1)
    out = np.zeros((1, WORDS), np.uint32)
    packet = np.zeros(WORDS, np.uint32)
    answers = []
    for seq, last in ((0, 0), (1, 0), (2, 0), (3, 1), (5, 0), (4, 0), (6, 0)):
        packet[SEQ], packet[LAST] = seq, last
        flow_take_data(flows, 0, packet, 1_000)
        flow_message(flows, 0)
        count, wake_ns = flow_answer(flows, 0, out, 1_000)
        answers.append((count, *out[0, 2:5].tolist()) if count else wake_ns - 1_000)
    delay_ns = OPTIONS.ack_delay_ns
    # What has come, then the run that the newest is in where that is behind a hole.
    assert answers == [delay_ns, (1, 2, 1, 1), delay_ns, (1, 4, 3, 3), (1, 4, 5, 6), (1, 6, 4, 4), delay_ns]


def test_one_lost_packet_is_sent_again_after_one_round_trip_and_halves_the_window() -> None:
    wire = Wire(drop={20}).offer(200_000)
    wire.run()
    assert (wire.sender["resends"], wire.sender["timeouts"]) == (1, 0)
    assert wire.received == [0]
    again = next(n for n, p in enumerate(wire.sent) if n > 20 and p[SEQ] == wire.sent[20][SEQ])
    assert again - 20 < 64
    assert wire.sender["cwnd"] < Wire().offer(200_000).run().sender["cwnd"]


def test_a_lost_tail_is_probed_long_before_the_time_out() -> None:
    wire = Wire(drop={9}).offer(2_000, 8_000).run()  # the last packet of all
    assert (wire.received, wire.sender["resends"], wire.sender["timeouts"]) == ([0, 1], 1, 0)
    assert wire.now_ns < 200_000


def test_if_all_is_lost_time_outs_double() -> None:
    wire = Wire(drop={0, 1, 2}).offer(500).run()
    assert wire.received == [0]
    assert wire.now_ns == pytest.approx(7 * OPTIONS.rto_initial_ns, rel=0.001)  # 1 + 2 + 4 s
    assert wire.sender["timeouts"] == 3


@pytest.mark.slow
def test_a_full_queue_is_found_out_and_shared_with_few_losses() -> None:
    wire = Wire(room=20).offer(3_000_000).run()
    assert wire.received == [0]
    assert wire.sender["timeouts"] == 0
    assert 0 < wire.sender["resends"] < 150
    assert wire.now_ns < 1.1 * 3000 * PACKET_NS


@pytest.mark.slow
def test_marks_keep_the_queue_short_and_nothing_is_lost() -> None:
    wire = Wire(ecn_threshold=12, room=60).offer(3_000_000).run()
    assert (wire.received, wire.sender["resends"]) == ([0], 0)
    assert 0 < wire.sender["marks"] == int(wire.flows.receiver["marks"][0])
    assert wire.sender["cwnd"] < 40
    assert wire.sender["alpha"] < 0.5
    assert wire.now_ns < 1.03 * 3000 * PACKET_NS


@pytest.mark.slow
def test_without_a_gain_a_mark_takes_half_the_window_once_per_window_of_data() -> None:
    """As for a loss (RFC 3168): between two cuts, all that was under way at the first has been acknowledged."""
    wire = Wire(ecn_threshold=20, room=200, gain=0.0).offer(3_000_000)
    cuts: list[tuple[float, float, int]] = []
    while wire.flows.sender["done"][0] == 0:
        before, end = float(wire.sender["cwnd"]), int(wire.sender["cut_end"])
        wire.run(1 + (wire.events[0][0] if wire.events else 0))
        if int(wire.sender["cut_end"]) != end:
            cuts.append((before, float(wire.sender["ssthresh"]), int(wire.sender["una"]) - end))
    assert wire.sender["alpha"] == 1
    assert len(cuts) > 5
    assert all(after == before / 2 and acked > 0 for before, after, acked in cuts)
    assert wire.now_ns < 1.1 * 3000 * PACKET_NS


def test_a_constant_flow_sends_at_its_rate_whatever_is_lost() -> None:
    wire = Wire(gap_ns=3_000, loss=0.5).offer(100_000).run()
    assert [int(p[SEQ]) for p in wire.sent] == list(range(100))
    assert wire.now_ns == pytest.approx(99 * 3_000 + PACKET_NS + DELAY_NS, abs=20 * 3_000)
    assert 30_000 < int(wire.flows.receiver["bytes"][0]) < 70_000
    assert flow_is_idle(wire.flows, 0)


@settings(max_examples=tries(60), deadline=None)
@given(
    messages=st.lists(st.integers(1, 60_000), min_size=1, max_size=4),
    room=st.sampled_from([3, 20, 1000]),
    ecn_threshold=st.sampled_from([None, 2, 10]),
    loss=st.sampled_from([0.0, 0.01, 0.1, 0.3]),
    duplicate=st.sampled_from([0.0, 0.1]),
    late=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 1000),
)
def test_every_message_arrives_once_whole_and_in_order(messages: list[int], seed: int, **given: float) -> None:
    wire = Wire(seed=seed, **given).offer(*messages).run()
    assert wire.received == list(range(len(messages)))
    assert flow_is_idle(wire.flows, 0)
    assert int(wire.flows.receiver["bytes"][0]) == sum(messages)
    sender = wire.sender
    assert (sender["in_flight"], sender["lost"], sender["here"]) == (0, 0, 0)
    assert int(sender["packets"] - sender["resends"]) == sum(-(-size // 1000) for size in messages)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mtu_bytes": HEADER_BYTES}, f"mtu_bytes: {HEADER_BYTES}; allowed: {HEADER_BYTES + 1} to 65535"),
        ({"window_packets": 100}, "window_packets: 100; allowed: powers of two, 2 to 65536"),
        ({"rto_floor_ns": 2 * 10**9}, "rto_initial_ns: floor 2000000000, initial 1000000000; allowed: 0 < floor <= "),
        ({"ack_delay_ns": -1}, "ack_delay_ns: -1; allowed: 0 to 500000000"),
    ],
)
def test_options_that_are_refused(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowOptions(**given)
