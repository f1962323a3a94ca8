"""Members of jobs on the simulated network, and what precedes the ESA header in their packets."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

from esa.cluster.inventory import Gpu
from esa.fabric import Node
from esa.job import Member
from esa.sim.plan import Fabric, SimulatedJob
from esa.wire import ESA_PORT, packet_bytes

_WORKER_PORT = 20000
_PROTOCOL_UDP = b"\x40\x11"  # time to live, protocol


def member(node: Node, switch_port: int, *, server: bool, ip: IPv4Address | None = None) -> Member:
    """A job's worker or PS on a host, behind a port of its rack's switch. ip: its own, if it has not the host's."""
    udp_port = ESA_PORT if server else _WORKER_PORT
    return Member(ip=ip or node.ip, mac=node.mac, udp_port=udp_port, switch_port=switch_port)


def addresses_of(fabric: Fabric, job: SimulatedJob, gpus: Sequence[Gpu]) -> list[tuple[int, int]]:
    """(host, address) of a job's workers, then of its PSs; gpus: of the workers, and of those PSs that have one."""
    places = [(gpu.host, fabric.address_of(*gpu)) for gpu in gpus]
    if job.servers_on == "workers":
        places += [(gpu.host, fabric.address_beside(*gpu)) for gpu in gpus[: job.servers]]
    return places


def encapsulation(source: Member, destination: Member, lanes: int) -> bytes:
    """Ethernet, IPv4 and UDP of a packet with `lanes` lanes."""
    total = packet_bytes(lanes) - 14
    ipv4 = bytearray(b"\x45\x00" + total.to_bytes(2, "big") + bytes(4) + _PROTOCOL_UDP + bytes(2))
    ipv4 += source.ip.packed + destination.ip.packed
    ipv4[10:12] = _checksum(ipv4).to_bytes(2, "big")
    ports = source.udp_port.to_bytes(2, "big") + destination.udp_port.to_bytes(2, "big")
    macs = bytes.fromhex((destination.mac + source.mac).replace(":", ""))
    return macs + b"\x08\x00" + bytes(ipv4) + ports + (total - 20).to_bytes(2, "big") + bytes(2)


def _checksum(header: bytearray) -> int:
    """The Internet checksum (RFC 1071) of a header of even length."""
    total = sum(int.from_bytes(header[k : k + 2], "big") for k in range(0, len(header), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
