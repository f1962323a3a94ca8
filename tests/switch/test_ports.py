"""The packet loop between veth ports: order, grouping, drops, the CPU port, captures."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scapy.utils import rdpcap

from esa.net import message_batch, poll_set, recv_batch, send_batch, wait_ready
from esa.net.impairment import Impairment, LinkFaults, PortFaults
from esa.switch.process.openings import PortError
from esa.switch.process.ports import PacketLoop
from esa.switch.runtime.device import Device
from esa.switch.runtime.pipeline import Pipeline
from esa.switch.runtime.queue_limits import QueueLimit
from esa.switch.runtime.queue_settings import QueueSettings
from tests.net.veth import Veth
from tests.switch.control import PROGRAMS

CPU_PORT = 510
DROP = 400


class Patch:
    """A pipeline that forwards by the frame's first byte, and adds the ingress port as its second."""

    def __init__(self) -> None:
        self.queue_depth = np.zeros(512, np.int64)
        self.depths: list[int] = []
        self.halves = None

    def process_batch(self, batch, timestamp_us: int, out, first: int = 0) -> int:
        self.depths.append(int(self.queue_depth[1]))
        n = batch.count
        out.data[:n] = batch.data[:n]
        out.data[:n, 1] = batch.port[:n] & 255
        out.length[:n] = batch.length[:n]
        to = batch.data[:n, 0].astype(np.int32)
        out.port[:n] = np.where(to == 99, CPU_PORT, np.where(to == 98, DROP, to))
        batch.done = n
        return n


@pytest.fixture
def pairs(root: None) -> Iterator[Veth]:
    veth = Veth(3)
    try:
        yield veth
    finally:
        veth.close()


def start(veth: Veth, device: Device, **options) -> PacketLoop:
    with veth.entered():
        return PacketLoop(device, {i: f"b{i}" for i in range(3)}, **options)


def send(veth: Veth, i: int, frames: list[bytes]) -> None:
    batch = message_batch(len(frames), 2048, peers=False)
    for k, frame in enumerate(frames):
        batch.data[k, : len(frame)] = memoryview(frame)
        batch.length[k] = len(frame)
    with veth.socket(f"a{i}") as sock:
        assert send_batch(sock.fileno(), batch, 0, len(frames)) == len(frames)


def receive(sock, count: int, timeout: float = 5) -> list[bytes]:
    batch = message_batch(256, 2048, peers=False, vlan=True)
    polled = poll_set([sock.fileno()])
    got: list[bytes] = []
    deadline = time.monotonic() + timeout
    while len(got) < count and time.monotonic() < deadline:
        wait_ready(polled, 50_000_000)
        n = recv_batch(sock.fileno(), batch, 0, 256)
        got += [bytes(batch.data[k, : batch.length[k]]) for k in range(n)]
    return got


def frame(to: int, number: int, size: int = 100) -> bytes:
    return bytes([to, 0, 0, 0, 0, 0]) + bytes(6) + b"\x88\xb5" + number.to_bytes(4, "big") + bytes(size - 18)


def seen(ingress: int, sent: bytes) -> bytes:
    return sent[:1] + bytes([ingress]) + sent[2:]


def test_each_port_gets_its_frames_in_order(pairs: Veth) -> None:
    with pairs.socket("a1") as one, pairs.socket("a2") as two, start(pairs, Device(0, None, Patch())) as loop:
        frames = [frame(1 + i % 2, i) for i in range(600)]
        send(pairs, 0, frames)
        assert receive(one, 300) == [seen(0, each) for each in frames[0::2]]
        assert receive(two, 300) == [seen(0, each) for each in frames[1::2]]
        counters = loop.counters()
    assert counters[0]["rx_packets"] == 600
    assert counters[0]["rx_bytes"] == 60000
    assert (counters[1]["tx_packets"], counters[1]["tx_bytes"]) == (300, 30000)
    assert loop.counters() == counters


def test_what_cannot_leave_is_counted_and_holds_nothing_up(pairs: Veth) -> None:
    pairs.ip("link", "set", "b1", "mtu", "500")
    pairs.ip("link", "set", "a1", "mtu", "500")
    with pairs.socket("a1") as one, start(pairs, Device(0, None, Patch())) as loop:
        send(pairs, 0, [frame(1, 0), frame(1, 1, 900), frame(98, 2), frame(7, 3), frame(1, 4)])
        assert receive(one, 2) == [seen(0, frame(1, 0)), seen(0, frame(1, 4))]
        assert loop.counters()[1]["tx_dropped"] == 1


def test_an_mtu_may_be_raised_while_the_switch_runs(pairs: Veth) -> None:
    with start(pairs, Device(0, None, Patch())) as loop:
        for i in range(2):
            pairs.ip("link", "set", f"a{i}", "mtu", "9000")
            pairs.ip("link", "set", f"b{i}", "mtu", "9000")
        long = frame(1, 0, 8000)
        batch, got = message_batch(1, 9018, peers=False), message_batch(8, 9018, peers=False, vlan=True)
        batch.data[0, : len(long)] = memoryview(long)
        batch.length[0] = len(long)
        with pairs.socket("a1") as one, pairs.socket("a0") as zero:
            assert send_batch(zero.fileno(), batch, 0, 1) == 1
            wait_ready(poll_set([one.fileno()]), 5_000_000_000)
            assert recv_batch(one.fileno(), got, 0, 8) == 1
        assert got.data[0, : got.length[0]].tobytes() == seen(0, long)
        assert loop.counters()[0]["rx_dropped"] == 0


def test_the_cpu_port_is_connected_both_ways(pairs: Veth) -> None:
    device = Device(0, CPU_PORT, Patch())
    packet_ins: list[bytes] = []
    arrived = threading.Event()
    device.on_packet_in = lambda packet: (packet_ins.append(packet), arrived.set())
    with pairs.socket("a2") as two, start(pairs, device):
        send(pairs, 1, [frame(99, 1)])
        assert arrived.wait(5)
        assert packet_ins == [seen(1, frame(99, 1))]
        device.on_packet_out(frame(2, 5))
        assert receive(two, 1) == [seen(CPU_PORT & 255, frame(2, 5))]


def test_without_a_program_frames_are_dropped_until_there_is_one(pairs: Veth) -> None:
    device = Device(0)
    with pairs.socket("a1") as one, start(pairs, device) as loop:
        send(pairs, 0, [frame(1, 0)])
        deadline = time.monotonic() + 5
        while loop.counters()[0]["rx_packets"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        device.pipeline = Patch()
        send(pairs, 0, [frame(1, 1)])
        assert receive(one, 1) == [seen(0, frame(1, 1))]


def test_the_program_is_told_how_many_frames_wait_at_a_port(pairs: Veth) -> None:
    pairs.exec("tc", "qdisc", "add", "dev", "b1", "root", "tbf", "rate", "100kbit", "burst", "2000", "limit", "1000000")
    patch = Patch()
    with pairs.socket("a2") as two, start(pairs, Device(0, None, patch)):
        for size in (322, 1200):
            send(pairs, 0, [frame(1, i, size) for i in range(100)] + [frame(2, 0)])
            receive(two, 1)
            send(pairs, 0, [frame(2, 1)])
            receive(two, 1)
            # The queue holds frames of both sizes the second time, and is counted in frames of the second.
            low, high = (85, 100) if size == 322 else (120, 200)
            assert low < patch.depths[-1] <= high
    assert patch.depths[0] == 0


def test_captures_hold_what_came_and_what_left(pairs: Veth, tmp_path: Path) -> None:
    with pairs.socket("a1") as one, start(pairs, Device(0, None, Patch()), pcap=tmp_path):
        frames = [frame(1, i) for i in range(10)]
        send(pairs, 0, frames)
        receive(one, 10)
    assert [bytes(packet) for packet in rdpcap(str(tmp_path / "b0_in.pcap"))] == frames
    assert [bytes(packet) for packet in rdpcap(str(tmp_path / "b1_out.pcap"))] == [seen(0, each) for each in frames]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"b{i}_{way}.pcap" for i in range(3) for way in ("in", "out")
    ]


def test_faults_of_a_port_concern_its_own_direction_only(pairs: Veth) -> None:
    everything_lost = LinkFaults(to_switch=Impairment(loss=1.0))
    late_twice = LinkFaults(from_switch=Impairment(delay_ms=50, duplicate=1.0))
    faults = PortFaults(ports={0: everything_lost, 1: late_twice})
    with (
        pairs.socket("a1") as one,
        pairs.socket("a2") as two,
        start(pairs, Device(0, None, Patch()), faults=faults) as loop,
    ):
        send(pairs, 0, [frame(2, 0)])
        began = time.monotonic()
        send(pairs, 2, [frame(1, 1), frame(1, 2)])
        send(pairs, 1, [frame(2, 3)])
        assert receive(two, 2, 0.5) == [seen(1, frame(2, 3))]
        assert receive(one, 4) == [seen(2, frame(1, i)) for i in (1, 1, 2, 2)]
        assert time.monotonic() - began >= 0.05
        counted = loop.faults()
    assert counted["0"]["to_switch"]["lost"] == 1
    assert counted["1"]["from_switch"] == {
        "packets": 2,
        "lost": 0,
        "duplicated": 2,
        "reordered": 0,
        "delayed": 4,
        "overflowed": 0,
        "retried": 0,
    }


def test_a_port_with_a_rate_sends_at_it_and_drops_what_finds_its_queue_full(pairs: Veth) -> None:
    passes = (PROGRAMS / "passes.json").read_text()  # sends everything to port 1
    queues = QueueSettings((0, 1), limits={1: QueueLimit(rate_pps=20, depth=10)})  # a twentieth of a second to send all
    frames = [bytes(18) + number.to_bytes(4, "big") + bytes(60) for number in range(50)]
    device = Device(0, None, Pipeline.load(passes), (0, 1), queues)
    with pairs.socket("a1") as one, start(pairs, device) as loop:
        send(pairs, 0, frames[:1])
        assert len(receive(one, 1)) == 1  # compiled
        time.sleep(2 / 20)  # so the next may go at once
        began = time.monotonic()
        send(pairs, 0, frames[1:])
        got = receive(one, 11)
        assert time.monotonic() - began >= 9 / 20
        assert [each[18:22] for each in got] == [each[18:22] for each in frames[1:12]]
        assert receive(one, 1, 0.1) == []
        counters = loop.counters()
    assert (counters[1]["tx_packets"], counters[1]["queue_dropped"], counters[1]["tx_dropped"]) == (12, 38, 0)
    assert counters[0]["queue_dropped"] == 0


def test_a_rate_that_comes_while_packets_run_holds_from_then_on(pairs: Veth) -> None:
    device = Device(0, None, Pipeline.load((PROGRAMS / "passes.json").read_text()), (0, 1))
    frames = [bytes(18) + number.to_bytes(4, "big") + bytes(60) for number in range(30)]
    with pairs.socket("a1") as one, start(pairs, device) as loop:
        send(pairs, 0, frames)
        assert len(receive(one, 30)) == 30
        device.set_queue(port=1, rate_pps=100, depth=5)
        began = time.monotonic()
        send(pairs, 0, frames)
        assert [each[18:22] for each in receive(one, 6)] == [each[18:22] for each in frames[:6]]
        assert time.monotonic() - began >= 4 / 100
        device.set_queue(rate_pps=0)
        while device.queues.version != loop.limits_version:
            time.sleep(0.01)
        send(pairs, 0, frames)
        assert len(receive(one, 30)) == 30
        assert loop.counters()[1]["queue_dropped"] == 24


def test_the_control_plane_gets_its_turn_under_load(pairs: Veth) -> None:
    device = Device(0, None, Patch())
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            send(pairs, 0, [frame(1, i) for i in range(200)])

    thread = threading.Thread(target=load)
    with start(pairs, device):
        thread.start()
        try:
            waits = []
            for _ in range(20):
                began = time.monotonic()
                with device.exclusive():
                    waits.append(time.monotonic() - began)
        finally:
            stop.set()
            thread.join()
    assert max(waits) < 1


def test_packets_that_have_waited_go_before_the_next_change() -> None:
    device, order = Device(0, None, Patch()), []

    def packets() -> None:
        with device.turn():
            order.append("packets")

    for _ in range(20):
        loop = threading.Thread(target=packets)
        with device.exclusive():
            loop.start()
            time.sleep(0.02)  # it waits by now
        with device.exclusive():
            order.append("change")
        loop.join()
    assert order == ["packets", "change"] * 20


def test_a_program_that_fails_ends_the_loop_and_is_reported(pairs: Veth) -> None:
    class Broken(Patch):
        def process_batch(self, *_: object) -> int:
            raise RuntimeError("assertion failed")

    failures: list[Exception] = []
    told = threading.Event()
    with start(pairs, Device(0, None, Broken()), on_failure=lambda error: (failures.append(error), told.set())):
        send(pairs, 0, [frame(1, 0)])
        assert told.wait(5)
    assert str(failures[0]) == "assertion failed"


def test_a_port_that_is_not_there_is_named() -> None:
    with pytest.raises(PortError, match=r"port 7: no interface 'esa-none0'"):
        PacketLoop(Device(), {7: "esa-none0"})
