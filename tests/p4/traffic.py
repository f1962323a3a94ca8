"""Random packet sequences for the switch: every kind, several jobs and policies, well-behaved and not.

A sequence is drawn from a seed alone, so a failing one can be drawn again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

import numpy as np

from esa import wire
from esa.job import Job, Member, Pool, Run
from esa.wire import Flag, Kind


def mac(host: int) -> str:
    return f"02:00:00:00:00:{host:02x}"


def ip(host: int) -> str:
    return f"10.0.0.{host}"


def member(host: int, port: int, udp_port: int) -> Member:
    return Member(ip=ip(host), mac=mac(host), udp_port=udp_port, switch_port=port)


def job(
    number: int,
    policy: str,
    *,
    workers: int,
    pool: Pool,
    ports: int,
    ttl_us: int = 0,
    lanes: int = 64,
    servers: int = 1,
) -> Run:
    """A run of job `number`, its members on hosts number * 10 + rank, spread over the switch's ports.

    Its PSs are on the last of these ten, backwards.
    """
    first = number * 10
    members = tuple(member(first + r, (first + r) % ports, 5000 + number) for r in range(workers))
    return Job(
        name=f"job{number}",
        job=number,
        policy=policy,
        lanes=lanes,
        workers=members,
        server=member(first + 9, (first + 9) % ports, wire.ESA_PORT),
        more_servers=tuple(
            member(host, host % ports, wire.ESA_PORT) for host in range(first + 8, first + 9 - servers, -1)
        ),
        switch_ip=ip(250),
        pool=pool,
        window=max(servers, min(4, pool.size // 2)),
        ttl_us=ttl_us,
    ).run(epoch=number * 3)


def ones_complement_sum(data: bytes) -> int:
    """The IPv4 header checksum of `data` (RFC 1071)."""
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame_of(
    source: Member,
    destination: Member,
    payload: bytes,
    to_ip: bytes | None = None,
    ports: tuple[int, int] | None = None,
    checksum_error: int = 0,
) -> bytes:
    """Ethernet, IPv4 and UDP around an ESA packet; address and ports are the members' where none are given."""
    udp_length = 8 + len(payload)
    from_port, to_port = ports or (source.udp_port, destination.udp_port)
    udp = b"".join(v.to_bytes(2, "big") for v in (from_port, to_port, udp_length, 0))
    ipv4 = bytearray(b"\x45\x00" + (20 + udp_length).to_bytes(2, "big") + bytes(4) + b"\x40\x11\x00\x00")
    ipv4 += source.ip.packed + (to_ip or destination.ip.packed)
    ipv4[10:12] = (ones_complement_sum(ipv4) ^ checksum_error).to_bytes(2, "big")
    ethernet = bytes.fromhex((destination.mac + source.mac).replace(":", "")) + b"\x08\x00"
    return ethernet + bytes(ipv4) + udp + payload


@dataclass(frozen=True)
class Packet:
    """One ESA packet with its addresses; `frame()` are its bytes. Defaults make a well-formed one."""

    source: Member
    destination: Member
    kind: int
    job: int
    epoch: int
    seq: int
    source_port: int
    destination_port: int = wire.ESA_PORT
    flags: int = 0
    priority: int = 1
    exponent: int = 0
    bitmap0: int = 0
    bitmap1: int = 1
    index: int | None = None
    lanes: tuple[int, ...] = ()
    version: int = wire.VERSION
    checksum_error: int = 0
    cut: int = 0  # bytes missing at the end
    destination_ip: str | None = None

    def frame(self) -> bytes:
        header = np.zeros(1, wire.packet_dtype(len(self.lanes)))
        header["version_kind"] = (self.version << 4 | self.kind) & 0xFF
        for name in ("flags", "priority", "exponent", "job", "epoch", "seq", "bitmap0", "bitmap1"):
            header[name] = getattr(self, name)
        index = wire.aggregator_index(self.job, self.epoch, self.seq) if self.index is None else self.index
        header["index"] = index
        header["lane"] = self.lanes
        to = None if self.destination_ip is None else IPv4Address(self.destination_ip).packed
        ports = self.source_port, self.destination_port
        frame = frame_of(self.source, self.destination, header.tobytes(), to, ports, self.checksum_error)
        return frame[: len(frame) - self.cut]


def _lanes(rng: np.random.Generator, count: int) -> tuple[int, ...]:
    # Small values mostly; the extremes often enough that saturation in both directions is met.
    if rng.random() < 0.2:
        return tuple(int(v) for v in rng.choice([-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 1], count))
    return tuple(int(v) for v in rng.integers(-(2**20), 2**20, count))


def esa_packet(rng: np.random.Generator, jobs: list[Run], seqs: int) -> Packet:
    """One packet that a member of some job could send: mostly gradients, some of everything else."""
    j = jobs[rng.integers(len(jobs))]
    seq = int(rng.integers(seqs)) - seqs // 2 & 0xFFFFFFFF  # around the wrap
    common = {
        "job": j.job,
        "epoch": j.epoch,
        "seq": seq,
        "priority": int(rng.integers(1, 256)),
        "exponent": int(rng.integers(-128, 128)),
        "lanes": _lanes(rng, j.lanes),
    }
    ecn = int(Flag.ECN) if rng.random() < 0.1 else 0
    rank = int(rng.integers(j.fan_in))
    worker = j.workers[rank]
    server = j.servers[seq % len(j.servers)]
    from_worker = {"source": worker, "destination": server, "source_port": worker.udp_port, "bitmap0": 1 << rank}
    from_server = {"source": server, "destination": worker, "source_port": wire.ESA_PORT, "bitmap0": 0}
    draw = rng.random()
    if draw < 0.70:
        return Packet(**from_worker, **common, kind=Kind.GRADIENT, flags=ecn)
    if draw < 0.80:
        return Packet(**from_worker, **common, kind=Kind.GRADIENT, flags=Flag.RESEND | ecn)
    if draw < 0.86:
        to_switch = {"destination_ip": str(j.switch_ip)} if rng.random() < 0.9 else {}
        return Packet(**from_server, **common, kind=Kind.REMINDER, **to_switch)
    if draw < 0.92:
        return Packet(**from_server, **common, kind=Kind.RESULT, flags=Flag.RELEASE if rng.random() < 0.8 else 0)
    if draw < 0.95:
        return Packet(**from_server, **common, kind=Kind.QUERY, destination_port=worker.udp_port)
    if draw < 0.98:
        return Packet(**from_worker, **common, kind=Kind.RESULT, flags=Flag.ANSWER)
    return Packet(**from_server, **common, kind=Kind.RESULT, flags=Flag.ANSWER, destination_port=worker.udp_port)


def spoil(rng: np.random.Generator, packet: Packet) -> Packet:
    """`packet` with one thing wrong that admission has to notice, or a random change it may let pass."""
    changes = [
        lambda: {"bitmap0": packet.bitmap0 << 1 & 0xFFFFFFFF},
        lambda: {"bitmap0": int(rng.integers(2**32))},
        lambda: {"bitmap1": int(rng.integers(2**32))},
        lambda: {"epoch": packet.epoch + 1},
        lambda: {"job": int(rng.integers(2**16))},
        lambda: {"kind": int(rng.integers(16))},
        lambda: {"flags": int(rng.integers(256))},
        lambda: {"version": int(rng.integers(16))},
        lambda: {"checksum_error": int(rng.integers(1, 2**16))},
        lambda: {"cut": int(rng.integers(1, 120))},
        lambda: {"lanes": packet.lanes[:-1]},
        lambda: {"source": packet.destination},
        lambda: {"source_port": int(rng.integers(1, 2**16))},
        lambda: {"destination_port": int(rng.integers(1, 2**16))},
        lambda: {"index": int(rng.integers(2**32))},
    ]
    return replace(packet, **changes[rng.integers(len(changes))]())


def other_traffic(rng: np.random.Generator, hosts: list[Member]) -> bytes:
    """A frame that is not ESA's: ARP broadcast, TCP, UDP, ICMP, IPv6 or an unknown type, some to unknown hosts."""
    source, destination = (hosts[i] for i in rng.integers(len(hosts), size=2))
    to = b"\xff" * 6 if rng.random() < 0.2 else bytes.fromhex(destination.mac.replace(":", ""))
    if rng.random() < 0.1:
        to = b"\x02" + rng.bytes(5)
    header = to + bytes.fromhex(source.mac.replace(":", ""))
    body = rng.bytes(int(rng.integers(30, 400)))
    protocol = int(rng.choice([6, 17, 1]))
    ipv4 = bytearray(b"\x45\x00" + (20 + len(body)).to_bytes(2, "big") + bytes(4) + bytes([64, protocol, 0, 0]))
    ipv4 += source.ip.packed + destination.ip.packed
    ipv4[10:12] = ones_complement_sum(ipv4).to_bytes(2, "big")
    ipv4_type, others = b"\x08\x00", [b"\x08\x06", b"\x86\xdd", b"\x88\xb5"]
    if rng.random() < 0.6:
        return header + ipv4_type + bytes(ipv4) + body
    return header + bytes(others[rng.integers(len(others))]) + body


def sequence(seed: int, jobs: list[Run], count: int, seqs: int = 24) -> Iterator[tuple[int, bytes]]:
    """`count` pairs (ingress port, frame) drawn from `seed`; 8 % are spoilt and 6 % are not ESA's."""
    rng = np.random.default_rng(seed)
    hosts = [m for j in jobs for m in j.members]
    for _ in range(count):
        draw = rng.random()
        if draw < 0.06:
            yield int(rng.choice([h.switch_port for h in hosts])), other_traffic(rng, hosts)
            continue
        packet = esa_packet(rng, jobs, seqs)
        port = packet.source.switch_port
        if draw < 0.14:
            packet = spoil(rng, packet)
            if rng.random() < 0.1:
                port = int(rng.choice([h.switch_port for h in hosts]))
        yield port, packet.frame()
