"""Packets that are none, at the switch: dropped and counted by reason, or forwarded plainly; no row changes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from esa import wire
from esa.entries import job_entries as entries
from esa.job import Pool, Run
from esa.wire import ESA_PORT, Flag, Kind
from tests.p4 import traffic
from tests.p4.rack import Rack, dissect
from tests.p4.test_rules import from_server, gradient, lane_sum, lanes
from tests.p4.traffic import ones_complement_sum

FULL = wire.packet_bytes(64)
REASONS = entries.DENY_REASONS


@pytest.fixture
def job() -> Run:
    return traffic.job(1, "esa", workers=3, pool=Pool(base=0, size=8), ports=32)


@pytest.fixture
def rack(job) -> Rack:
    """One row taken: worker 0's fragment 0."""
    rack = Rack([job, traffic.job(2, "atp", workers=2, pool=Pool(base=0, size=8), ports=32)])
    assert rack.send(gradient(job, 0, value=5)) == []
    return rack


class Unchanged:
    """Sends frames of which none may change a row."""

    def __init__(self, rack: Rack):
        self.rack, self.pipeline = rack, rack.pipeline
        self.memory = (
            rack.pipeline.state.m32,
            *(r._cells for n, r in rack.pipeline.registers.items() if "lane" not in n),
        )
        self.before = [array.tobytes() for array in self.memory]
        self.port = rack.jobs[0].workers[1].switch_port

    def send(self, frame: bytes, port: int | None = None) -> tuple[str, list[tuple[int, bytes]]]:
        """(reason for the drop or "passed", what left)."""
        denied = self.pipeline.counters[entries.DENIED_BY_REASON].packets
        counted = denied.copy()
        left = self.pipeline.process(self.port if port is None else port, frame, 1000)
        reasons = [REASONS[n] for n in np.flatnonzero(denied != counted)]
        assert int((denied - counted).sum()) == len(reasons) <= 1
        assert not (reasons and left)
        return reasons[0] if reasons else "passed", left

    def check(self) -> None:
        assert self.before == [array.tobytes() for array in self.memory]


def rewritten(frame: bytes, at: int, value: bytes, checksum: bool = True) -> bytes:
    """`frame` with bytes replaced; the IPv4 checksum made right again, so that only this is wrong."""
    frame = frame[:at] + value + frame[at + len(value) :]
    if checksum:
        frame = frame[:24] + b"\0\0" + frame[26:]
        frame = frame[:24] + ones_complement_sum(frame[14:34]).to_bytes(2, "big") + frame[26:]
    return frame


def test_every_length_short_of_a_packet(rack, job):
    frame = gradient(job, 1).frame()
    assert len(frame) == FULL
    network = Unchanged(rack)
    for length in range(FULL):
        outcome, left = network.send(frame[:length])
        if length < 14:
            assert (outcome, left) == ("passed", [])  # no destination
        elif length < wire.ENCAPSULATION_BYTES:
            # Without ports it is nobody's packet; the receiver's kernel refuses it.
            assert (outcome, left) == ("passed", [(job.server.switch_port, frame[:length])])
        else:
            assert (outcome, left) == ("malformed", [])
    network.check()
    assert rack.send(gradient(job, 1)) == []
    assert rack.send(gradient(job, 2))[0].lanes == lane_sum(5, 1, 1)


def test_bytes_behind_the_packet_change_nothing(rack, job):
    for seq, extra in enumerate((1, 4, 100, 1000)):
        for rank in (1, 2):
            left = rack.pipeline.process(
                job.workers[rank].switch_port, gradient(job, rank, seq=seq).frame() + bytes(extra), 1
            )
        assert [dissect(port, frame[:FULL]).lanes for port, frame in left] == [lane_sum(5, 1, 1)] * 3
        rack.send(gradient(job, 0, seq=seq + 1, value=5))


@pytest.mark.parametrize("version", [v for v in range(16) if v != wire.VERSION])
def test_other_versions(rack, job, version):
    network = Unchanged(rack)
    assert network.send(gradient(job, 1, version=version).frame()) == ("malformed", [])
    network.check()


def test_wrong_ipv4_checksums(rack, job):
    network = Unchanged(rack)
    frame = gradient(job, 1).frame()
    for error in [1 << n for n in range(16)] + [0xFFFF, 0x1234]:
        wrong = (int.from_bytes(frame[24:26], "big") ^ error).to_bytes(2, "big")
        assert network.send(rewritten(frame, 24, wrong, checksum=False)) == ("malformed", [])
    network.check()


@pytest.mark.parametrize(("at", "right"), [(16, FULL - 14), (38, FULL - 34)], ids=["IPv4", "UDP"])
def test_lengths_that_lie(rack, job, at, right):
    network = Unchanged(rack)
    for length in {0, 1, 8, 19, 20, 28, right - 256, right - 4, right - 1, right + 1, right + 4, 0x7FFF, 0xFFFF}:
        frame = rewritten(gradient(job, 1).frame(), at, length.to_bytes(2, "big"))
        assert network.send(frame) == ("malformed", [])
    network.check()


def _absurd() -> Iterator[dict[str, int]]:
    yield from ({"kind": kind} for kind in range(16) if kind != Kind.GRADIENT)
    good = (0, Flag.ECN, Flag.RESEND, Flag.RESEND | Flag.ECN)
    yield from ({"flags": flags} for flags in range(256) if flags not in good)
    for name, value in itertools.product(("bitmap0", "bitmap1"), (0, 3, 4, 8, 0x80000000, 0xFFFFFFFF)):
        yield {name: value}
    for name, value in itertools.product(("job", "epoch"), (0, 2, 4, 6, 0x7FFF, 0xFFFF)):
        yield {name: value}


def test_fields_that_no_worker_may_send(rack, job):
    network = Unchanged(rack)
    seen = set()
    for fields in _absurd():
        outcome, left = network.send(gradient(job, 1, **fields).frame())
        assert outcome in {"kind", "bitmap", "unknown sender", "other run"}, fields
        assert left == []
        seen.add(outcome)
    assert seen == {"kind", "bitmap", "other run"}
    network.check()


def test_fields_at_their_extremes_are_a_fragment_like_any_other(rack, job):
    extremes = itertools.product((0, 255), (-128, 127), (0, 2**31 - 1, 2**31, 2**32 - 1), (0, 2**32 - 1))
    for n, (priority, exponent, seq, index) in enumerate(extremes):
        rack.now_us += 10
        fields = {"priority": priority, "exponent": exponent, "index": index, "flags": 0}
        if seq == 0:  # fragment 0 is begun, by worker 0 and in row 0
            continue
        for rank in range(3):
            sums = [
                out for out in rack.send(gradient(job, rank, seq=seq, value=n, **fields)) if out.kind == Kind.RESULT
            ]
        if sums:
            assert sums[0].lanes == lane_sum(n, n, n)
            assert (sums[0].priority, sums[0].exponent, sums[0].seq) == (priority, exponent, seq)
        for late in rack.send(from_server(job, Kind.REMINDER, seq, index=index)):
            assert late.kind in (Kind.PARTIAL, Kind.MISS)
    assert rack.held() <= 1


def test_strangers_and_forgers(rack, job):
    network = Unchanged(rack)
    worker, other = job.workers[1], rack.jobs[1]
    frames = [
        gradient(job, 0).frame(),  # worker 0's packet, from worker 1's port
        gradient(job, 1, source_port=worker.udp_port + 1).frame(),
        gradient(job, 1, source=other.workers[0]).frame(),
        gradient(other, 0).frame(),  # another job's
        from_server(job, Kind.RESULT, flags=Flag.RELEASE).frame(),
        from_server(job, Kind.REMINDER).frame(),
        from_server(job, Kind.QUERY, destination=worker, destination_port=worker.udp_port).frame(),
    ]
    for frame in frames:
        assert network.send(frame) == ("unknown sender", [])
    for kind, flags in (
        (Kind.RESULT, 0),
        (Kind.RESULT, Flag.RELEASE),
        (Kind.REMINDER, 0),
        (Kind.QUERY, 0),
        (Kind.MISS, 0),
    ):
        assert network.send(gradient(job, 1, kind=kind, flags=flags).frame()) == ("kind", [])
    network.check()
    assert rack.send(from_server(job, Kind.REMINDER))[0].lanes == lanes(5)


def _forged_result(job: Run) -> bytes:
    """What the PS could send to worker 0, sent by worker 1."""
    victim = job.workers[0]
    return from_server(
        job, Kind.RESULT, destination=victim, destination_port=victim.udp_port, flags=Flag.ANSWER
    ).frame()


def _with_options(frame: bytes) -> list[bytes]:
    longer = frame[:14] + b"\x46" + frame[15:34] + b"\x01\x01\x01\0" + frame[34:]
    longer = longer[:16] + (FULL - 14 + 4).to_bytes(2, "big") + b"\0\0\0\0" + longer[22:24] + b"\0\0" + longer[26:]
    return [longer[:24] + ones_complement_sum(longer[14:38]).to_bytes(2, "big") + longer[26:]]


def _in_fragments(frame: bytes) -> list[bytes]:
    ip, data = frame[:34], frame[34:]
    out = []
    for start, end, more in ((0, 16, 0x2000), (16, len(data), 0)):
        head = (
            ip[:16]
            + (20 + end - start).to_bytes(2, "big")
            + ip[18:20]
            + (more | start // 8).to_bytes(2, "big")
            + ip[22:]
        )
        out.append(rewritten(head + data[start:end], 0, b""))
    return out


def _tagged(frame: bytes) -> list[bytes]:
    return [frame[:12] + b"\x81\x00\x00\x00" + frame[12:]]


@pytest.mark.parametrize(
    "disguise", [_with_options, _in_fragments, _tagged], ids=["IPv4 options", "fragments", "VLAN 0"]
)
def test_a_forged_result_in_disguise(rack, job, disguise):
    network = Unchanged(rack)
    assert network.send(_forged_result(job)) == ("unknown sender", [])
    for frame in disguise(_forged_result(job)):
        assert network.send(frame)[1] == []
    network.check()


def test_other_ports_are_other_traffic(rack, job):
    network = Unchanged(rack)
    frame = gradient(job, 1, source_port=1000, destination_port=ESA_PORT + 1).frame()
    assert network.send(frame) == ("passed", [(job.server.switch_port, frame)])
    network.check()
