"""Nobody in where they do not belong: whoever speaks for another is dropped and counted by reason, and no row changes.

The same forgeries on the embedded switch and, where it is installed, on BMv2.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from esa.entries.job_entries import DENIED_BY_REASON, DENY_REASONS, host_entry
from esa.job import Run
from esa.wire import ESA_PORT, Flag, Kind
from tests.p4 import bmv2, traffic
from tests.p4.rack import Rack, dissect, items_of
from tests.p4.test_rules import SHARED, from_server, gradient

PORTS = 7  # one per member, and the sentinel's
CLOCK = "EsaIngress.aggregation.row_time_us"


def placed(number: int, first_port: int) -> Run:
    """A job of two workers and a PS, each on a port of its own."""
    j = traffic.job(number, "esa", workers=2, pool=SHARED, ports=32)
    ports = iter(range(first_port, first_port + 3))
    members = [member.model_copy(update={"switch_port": next(ports)}) for member in (*j.workers, j.server)]
    return j.model_copy(update={"workers": tuple(members[:2]), "server": members[2]})


victim, intruder = placed(1, 0), placed(2, 3)
released = Flag.RELEASE
mine = {"job": victim.job, "epoch": victim.epoch}  # what an intruder claims to be
theirs = {"destination": victim.workers[0], **mine}

# name -> (packet, reason, port it is sent from if not its source's)
FORGERIES: dict[str, tuple[traffic.Packet, str, int | None]] = {
    "another worker's bit": (gradient(victim, 1, bitmap0=0b01), "bitmap", None),
    "two workers' bits": (gradient(victim, 1, bitmap0=0b11), "bitmap", None),
    "no bit": (gradient(victim, 1, bitmap0=0), "bitmap", None),
    "another rack": (gradient(victim, 1, bitmap1=2), "bitmap", None),
    "another worker's resend": (gradient(victim, 1, bitmap0=0b01, flags=Flag.RESEND), "bitmap", None),
    "another worker's answer": (
        gradient(victim, 1, bitmap0=0b01, kind=Kind.RESULT, flags=Flag.ANSWER),
        "bitmap",
        None,
    ),
    "another worker's address": (
        gradient(victim, 1, source=intruder.workers[0], bitmap0=0b10),
        "unknown sender",
        None,
    ),
    "another port of the host": (gradient(victim, 1, source_port=6000), "unknown sender", None),
    "another worker from one's own port": (gradient(victim, 1), "unknown sender", victim.workers[0].switch_port),
    "another worker from elsewhere": (gradient(victim, 1), "unknown sender", intruder.workers[0].switch_port),
    "another job": (gradient(intruder, 0, **mine), "unknown sender", None),
    "another job's bit": (gradient(intruder, 1, **mine, bitmap0=0b10), "unknown sender", None),
    "an old epoch": (gradient(victim, 1, epoch=victim.epoch - 1), "other run", None),
    "an epoch to come": (gradient(victim, 1, epoch=victim.epoch + 1), "other run", None),
    "a RESULT": (gradient(victim, 1, kind=Kind.RESULT), "kind", None),
    "a RELEASE": (gradient(victim, 1, kind=Kind.RESULT, flags=Flag.RELEASE), "kind", None),
    "a RELEASE as an answer": (gradient(victim, 1, kind=Kind.RESULT, flags=Flag.RELEASE | Flag.ANSWER), "kind", None),
    "a releasing gradient": (gradient(victim, 1, flags=Flag.RELEASE), "kind", None),
    "a REMINDER": (gradient(victim, 1, kind=Kind.REMINDER, destination_ip="10.0.0.250"), "kind", None),
    "a MISS": (gradient(victim, 1, kind=Kind.MISS), "kind", None),
    "a QUERY": (gradient(victim, 1, kind=Kind.QUERY, destination=victim.workers[0]), "kind", None),
    "a PARTIAL": (gradient(victim, 1, kind=Kind.PARTIAL), "kind", None),
    "an unknown kind": (gradient(victim, 1, kind=15), "kind", None),
    "a rack's sum": (gradient(victim, 1, flags=Flag.LEVEL1), "kind", None),
    "the server's port": (gradient(victim, 1, kind=Kind.RESULT, source_port=ESA_PORT), "unknown sender", None),
    "a gradient of the server": (from_server(victim, Kind.GRADIENT), "kind", None),
    "a PARTIAL of the server": (from_server(victim, Kind.PARTIAL), "kind", None),
    "another PS's RESULT": (from_server(intruder, Kind.RESULT, **theirs), "unknown sender", None),
    "another PS's RELEASE": (from_server(intruder, Kind.RESULT, flags=released, **theirs), "unknown sender", None),
    "another PS's REMINDER": (from_server(intruder, Kind.REMINDER, **mine), "unknown sender", None),
    "another PS's QUERY": (from_server(intruder, Kind.QUERY, **theirs), "unknown sender", None),
    "the PS's RESULT from a worker": (
        from_server(victim, Kind.RESULT),
        "unknown sender",
        victim.workers[1].switch_port,
    ),
    "the PS's RELEASE from elsewhere": (
        from_server(victim, Kind.RESULT, flags=released),
        "unknown sender",
        intruder.server.switch_port,
    ),
    "the PS's REMINDER from elsewhere": (
        from_server(victim, Kind.REMINDER),
        "unknown sender",
        intruder.server.switch_port,
    ),
    "an unknown version": (gradient(victim, 1, version=2), "malformed", None),
    "a wrong checksum": (gradient(victim, 1, checksum_error=1), "malformed", None),
    "a missing lane": (gradient(victim, 1, lanes=(1,) * 63), "malformed", None),
    "a lane too many": (gradient(victim, 1, lanes=(1,) * 65), "malformed", None),
    "a cut tail": (gradient(victim, 1, cut=3), "malformed", None),
}
# What another job's PS may send for its own job, at the row that the victim holds: its own business alone.
HARMLESS = {
    "a RELEASE of its own": from_server(intruder, Kind.RESULT, flags=released),
    "a REMINDER of its own": from_server(intruder, Kind.REMINDER),
    "a RESULT of its own": from_server(intruder, Kind.RESULT),
}


def frames() -> list[tuple[int, bytes]]:
    return [
        (packet.source.switch_port if port is None else port, packet.frame()) for packet, _, port in FORGERIES.values()
    ]


def expected_denials() -> list[int]:
    reasons = [reason for _, reason, _ in FORGERIES.values()]
    return [reasons.count(reason) for reason in DENY_REASONS]


@pytest.mark.parametrize("forgery", FORGERIES)
def test_nobody_in_where_they_do_not_belong(forgery):
    packet, reason, port = FORGERIES[forgery]
    rack = Rack([victim, intruder])
    rack.send(gradient(victim, 0))
    before = rack.rows()
    assert rack.send(packet, port=port) == []
    assert rack.rows() == before
    assert {other: rack.denied(other) for other in DENY_REASONS if rack.denied(other)} == {reason: 1}


@pytest.mark.parametrize("name", HARMLESS)
def test_another_jobs_ps_cannot_touch_the_row(name):
    rack = Rack([victim, intruder])
    rack.send(gradient(victim, 0))
    before = rack.rows()
    own_ports = {member.switch_port for member in (*intruder.workers, intruder.server)}
    assert {out.port for out in rack.send(HARMLESS[name])} <= own_ports
    assert rack.rows() == before


@pytest.mark.timeout(100)
@pytest.mark.root
@pytest.mark.bmv2
def test_the_same_on_bmv2():
    host = traffic.member(240, PORTS - 1, 1)
    sentinel = bytes.fromhex(host.mac.replace(":", "")) + b"\x02" + bytes(5) + b"\x88\xb6" + bytes(46)
    with bmv2.Bmv2(PORTS, 64) as switch:
        switch.install([*items_of([victim, intruder]), host_entry(host.mac, host.switch_port)])

        def run(sequence: list[tuple[int, bytes]]) -> dict[int, list[bytes]]:
            left = switch.run(sequence, sentinel, PORTS - 1)
            return {port: out for port, out in left.items() if out}

        names = list(Rack([victim, intruder]).rows())
        seated = gradient(victim, 0)
        assert run([(seated.source.switch_port, seated.frame())]) == {}
        before = switch.registers(names)
        assert sum(map(bool, before["EsaIngress.aggregation.row_bitmap"])) == 1
        assert run(frames()) == {}
        assert switch.registers(names) == before
        cells = [(DENIED_BY_REASON, index) for index in range(len(DENY_REASONS))]
        assert switch.switch.read_counters(cells) == expected_denials()

        disguised = [frame for frames_ in DISGUISES.values() for frame in frames_]
        assert run([(intruder.workers[0].switch_port, frame) for frame in disguised]) == {}
        assert switch.registers(names) == before
        assert switch.switch.read_counters(cells)[0] == expected_denials()[0] + len(disguised)

        left = run([(packet.source.switch_port, packet.frame()) for packet in HARMLESS.values()])
        assert left.keys() <= {member.switch_port for member in (*intruder.workers, intruder.server)}
        assert switch.registers(names) == before
        # And the one who does belong still gets in: the row was what it should be.
        last = gradient(victim, 1)
        results = run([(last.source.switch_port, last.frame())])
        assert results.keys() == {worker.switch_port for worker in victim.workers}
        (result,) = results[victim.workers[0].switch_port]
        assert dissect(0, result).lanes == [2 + 2 * n for n in range(64)]


# Disguises: packets that a receiver's kernel would put together to an ESA packet, and the parser does not take for one.


def with_options(packet: traffic.Packet) -> list[bytes]:
    """The packet with four bytes of IPv4 options (no operation) in its header."""
    frame = packet.frame()
    header = bytearray(frame[14:34])
    header[0] = 0x46
    header[2:4] = (int.from_bytes(header[2:4], "big") + 4).to_bytes(2, "big")
    header[10:12] = b"\0\0"
    header += b"\x01" * 4
    header[10:12] = traffic.ones_complement_sum(bytes(header)).to_bytes(2, "big")
    return [frame[:14] + bytes(header) + frame[34:]]


def in_fragments(packet: traffic.Packet, first: int) -> list[bytes]:
    """The packet as two IPv4 fragments, `first` bytes of UDP in the first."""
    frame = packet.frame()
    out = []
    for start, part, more in ((0, frame[34 : 34 + first], 0x2000), (first, frame[34 + first :], 0)):
        header = bytearray(frame[14:34])
        header[2:4] = (20 + len(part)).to_bytes(2, "big")
        header[6:8] = (more | start // 8).to_bytes(2, "big")
        header[10:12] = b"\0\0"
        header[10:12] = traffic.ones_complement_sum(bytes(header)).to_bytes(2, "big")
        out.append(frame[:14] + bytes(header) + part)
    return out


FORGED = replace(from_server(victim, Kind.RESULT, destination_port=victim.workers[0].udp_port), lanes=(666,) * 64)
DISGUISES = {
    "IPv4 options": with_options(FORGED),
    "a first fragment of the UDP header alone": in_fragments(FORGED, 8),
    "a first fragment without lanes": in_fragments(FORGED, 32),
    "a VLAN tag": [FORGED.frame()[:12] + b"\x81\x00\x00\x00" + FORGED.frame()[12:]],
    "less than a header": [FORGED.frame()[:50]],
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_disguised_result_reaches_nobody(disguise):
    rack = Rack([victim, intruder])
    rack.send(gradient(victim, 0))
    before = rack.rows()
    for frame in DISGUISES[disguise]:
        assert rack.pipeline.process(intruder.workers[0].switch_port, frame) == []
    assert rack.rows() == before
    assert rack.denied("malformed") == len(DISGUISES[disguise])
