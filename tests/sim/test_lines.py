"""Lines: a packet's time to the picosecond, of any length; what waits to the packet, order, what a full queue drops."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.sim.build import build
from esa.sim.engine.events import SOURCE_BITS, new_events, pop, push
from esa.sim.engine.lines import (
    BYTE_BITS,
    MIN_RATE_BPS,
    NONE,
    PS_PER_NS,
    PacketPool,
    byte_time,
    free_buffer,
    grown_pool,
    new_lines,
    new_packet_pool,
    queue_length,
    sending_ps,
    take_buffer,
    take_first,
    transmit,
)
from esa.sim.plan import Link
from tests.effort import tries
from tests.sim.plans import WIRE_BYTES, job, plan, rack

PACKET_PS = 27_680  # 346 bytes at 100 Gb/s


class OneLine:
    """A line with its pool and events."""

    def __init__(self, delay_ns: int = 0, capacity: int = 64):
        self.lines = new_lines(1)
        self.lines["propagation_ns"] = delay_ns
        self.pool = new_packet_pool(capacity, 8)
        self.events = new_events(4)

    def send(self, from_ps: int, service_ps: int) -> int:
        """Returns its buffer; `left_ps` says when it has left."""
        buffer = take_buffer(self.pool)
        self.left_ps = transmit(self.lines, self.pool, self.events, 0, buffer, from_ps, service_ps)
        return buffer

    def cable_ps(self, wire_bytes: int) -> int:
        """How long a packet takes of it."""
        buffer = take_buffer(self.pool)
        self.pool.wire_bytes[buffer] = wire_bytes
        free_buffer(self.pool, buffer)
        return int(sending_ps(self.lines, self.pool, 0, buffer))

    def arrival_ns(self, buffer: int) -> int:
        return int(self.pool.descriptor["arrive_ns"][buffer])

    def waiting(self, now_ns: int) -> int:
        return queue_length(self.lines, self.pool, 0, now_ns)

    def arrive(self) -> tuple[int, int]:
        """The first buffer, and when it arrives."""
        at_ns = int(self.events.key[0]) >> SOURCE_BITS
        buffer = take_first(self.lines, self.pool, 0, at_ns)
        pop(self.events)
        following = self.lines["head"][0]
        if following != NONE:
            push(self.events, self.arrival_ns(following), 0)
        free_buffer(self.pool, buffer)
        return buffer, at_ns


def test_a_packet_takes_as_long_as_its_bits_and_many_do_not_drift() -> None:
    line = OneLine(delay_ns=1000)
    for number in range(1, 10_001):
        buffer = line.send(0, PACKET_PS)
        assert line.left_ps == number * PACKET_PS
        assert line.arrive() == (buffer, -(-number * PACKET_PS // PS_PER_NS) + 1000)  # not before its last bit


@pytest.mark.parametrize(
    ("lanes", "wire_lanes", "rate_bps", "packet_ps"),
    [(64, 64, 100e9, 27_680), (0, 64, 100e9, 27_680), (0, 256, 100e9, 89_120), (64, 64, 1e6, 2_768_000_000)],
)
def test_a_cable_is_as_fast_as_asked_for(lanes: int, wire_lanes: int, rate_bps: float, packet_ps: int) -> None:
    fabric = rack(2, Link(rate_bps, 7, 5))
    sim = build(plan(job(workers=1), fabric=fabric, lanes=lanes, wire_lanes=wire_lanes)).sim
    cables = sim.lines[:4]
    wire_bytes = WIRE_BYTES + 4 * (wire_lanes - 64)
    assert sim.scalars["wire_bytes"] == wire_bytes
    sim.pool.wire_bytes[0] = wire_bytes
    assert [sending_ps(sim.lines, sim.pool, number, 0) for number in range(4)] == [packet_ps] * 4
    assert Fraction(packet_ps, 10**12) == Fraction(8 * wire_bytes, int(rate_bps))
    assert cables["propagation_ns"].tolist() == [7] * 4
    down = cables["from_switch"] != NONE
    assert down.tolist() == [False, True, False, True]
    assert cables["capacity"][down].tolist() == [5, 5]
    assert (cables["capacity"][~down] > 2**39).all()  # a host does not drop what it sends itself


@pytest.mark.parametrize(("rate_bps", "ps"), [(100e9, 80), (400e9, 20), (25e9, 320), (1e6, 8_000_000)])
def test_a_byte_takes_whole_picoseconds_at_these_rates_so_any_length_is_exact(rate_bps: float, ps: int) -> None:
    assert byte_time(rate_bps, WIRE_BYTES) == ps << BYTE_BITS
    line = OneLine()
    line.lines["byte_time"] = byte_time(rate_bps, WIRE_BYTES)
    assert [line.cable_ps(size) for size in (84, 1538, 9038)] == [84 * ps, 1538 * ps, 9038 * ps]


@settings(max_examples=tries(300), deadline=None)
@given(st.floats(MIN_RATE_BPS, 1e13), st.integers(1, 10_240), st.integers(1, 10_240))
def test_the_usual_length_is_rounded_once_and_others_are_off_by_less_than_a_picosecond(
    rate_bps: float, usual: int, other: int
) -> None:
    line = OneLine()
    line.lines["byte_time"] = byte_time(rate_bps, usual)
    assert line.cable_ps(usual) == round(usual * 8 * 1e12 / rate_bps)
    ideal = other * 8 * 10**12 / Fraction(rate_bps)
    slack = Fraction(1, 2) + Fraction(abs(other - usual) + other, 2**BYTE_BITS) + ideal / 2**50
    assert abs(line.cable_ps(other) - ideal) <= slack


steps = st.lists(
    st.tuples(st.sampled_from(["send", "send", "wait"]), st.integers(0, 3 * 27), st.integers(1, 3 * PACKET_PS)),
    max_size=80,
)


@settings(max_examples=tries(200), deadline=None)
@given(steps, st.integers(0, 200))
def test_what_waits_is_what_has_not_left_and_order_is_kept(steps: list[tuple[str, int, int]], delay_ns: int) -> None:
    line = OneLine(delay_ns, capacity=128)
    now_ns, free_ps = 0, 0
    sent: deque[tuple[int, int, int]] = deque()  # buffer, when it has left, when it arrives
    for step, later_ns, service_ps in steps:
        if step == "send":
            buffer = line.send(now_ns * PS_PER_NS, service_ps)
            free_ps = max(free_ps, now_ns * PS_PER_NS) + service_ps
            sent.append((buffer, free_ps, -(-free_ps // PS_PER_NS) + delay_ns))
            assert line.left_ps == free_ps
        else:
            now_ns += later_ns
            while sent and sent[0][2] <= now_ns:
                buffer, _, arrival_ns = sent.popleft()
                assert line.arrive() == (buffer, arrival_ns)
        assert line.waiting(now_ns) == sum(left_ps > now_ns * PS_PER_NS for _, left_ps, _ in sent)
    for buffer, _, arrival_ns in sent:
        assert line.arrive() == (buffer, arrival_ns)
    assert line.events.size[0] == 0
    assert line.pool.spare[0] == 128


def test_a_pool_grows_around_the_packets_that_it_holds() -> None:
    pool = new_packet_pool(8, 4)
    held = {take_buffer(pool): n for n in range(5)}
    for buffer, n in held.items():
        pool.data[buffer], pool.descriptor["arrive_ns"][buffer], pool.port[buffer] = n, 100 + n, 200 + n
        pool.length[buffer], pool.wire_bytes[buffer] = 1 + n % 4, 300 + n
    larger = grown_pool(pool)
    assert _free(larger) == set(range(16)) - held.keys()
    for buffer, n in held.items():
        assert (larger.data[buffer] == n).all()
        assert (larger.descriptor["arrive_ns"][buffer], larger.port[buffer]) == (100 + n, 200 + n)
        assert (larger.length[buffer], larger.wire_bytes[buffer]) == (1 + n % 4, 300 + n)


def _free(pool: PacketPool) -> set[int]:
    free = pool.free[: pool.spare[0]].tolist()
    assert len(set(free)) == len(free)
    return set(free)
