"""The packet is the same as numpy dtype and as Scapy layer; the index never makes a job collide with itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from esa import wire
from esa.scapy_layer import ESA

u16, u32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
headers = st.fixed_dictionaries(
    {
        "flags": st.integers(0, 255),
        "priority": st.integers(0, 255),
        "exponent": st.integers(-128, 127),
        "job": u16,
        "epoch": u16,
        "seq": u32,
        "index": u32,
        "bitmap0": u32,
        "bitmap1": u32,
    }
)


@given(kind=st.sampled_from(wire.Kind), header=headers, lanes=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=64))
def test_numpy_and_scapy_agree_on_every_byte(kind, header, lanes):
    record = np.zeros(1, wire.packet_dtype(len(lanes)))
    record["version_kind"] = wire.version_kind(kind)
    for name, value in header.items():
        record[name] = value
    record["lane"] = lanes
    layer = ESA(kind=int(kind), lanes=lanes, **header)
    assert bytes(layer) == record.tobytes()
    assert ESA(record.tobytes()).lanes == lanes


def test_a_captured_frame_is_dissected():
    frame = (
        Ether() / IP(src="10.0.0.1", dst="10.0.0.3") / UDP(sport=5000, dport=wire.ESA_PORT) / ESA(seq=9, lanes=[1, -2])
    )
    again = Ether(bytes(frame))
    assert (again[ESA].seq, again[ESA].lanes) == (9, [1, -2])
    assert len(frame) == wire.packet_bytes(lanes=2)


def test_a_frame_of_the_widest_build_is_dissected():
    lanes = list(range(max(wire.LANE_COUNTS)))
    assert Ether(bytes(Ether() / IP() / UDP(dport=wire.ESA_PORT) / ESA(lanes=lanes)))[ESA].lanes == lanes


@given(job=u16, epoch=u16, first=u32, bits=st.integers(0, 10))
def test_index_is_a_bijection_on_every_window_of_a_pool(job, epoch, first, bits):
    pool = 1 << bits
    slots = {wire.aggregator_index(job, epoch, (first + n) & 0xFFFFFFFF) & (pool - 1) for n in range(pool)}
    assert len(slots) == pool


def test_jobs_do_not_share_their_order_of_slots():
    def order(job: int) -> list[int]:
        return [wire.aggregator_index(job, 0, seq) & 255 for seq in range(256)]

    assert len({tuple(order(job)) for job in range(64)}) == 64


@given(a=u32, distance=st.integers(1, 2**31 - 1))
def test_serial_numbers_wrap(a, distance):
    b = (a + distance) & 0xFFFFFFFF
    assert wire.seq_before(a, b)
    assert not wire.seq_before(b, a)
    assert not wire.seq_before(a, a)


def test_lanes_must_have_a_build():
    from esa.program import program

    with pytest.raises(ValueError, match=r"no build with 63 lanes; allowed: 0, 64, 256"):
        program(63)
