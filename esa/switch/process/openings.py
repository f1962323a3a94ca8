"""What a packet loop has at its ports before the first packet: sockets, batches, captures, bad links."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

from esa.net import MessageBatch, message_batch, open_packet_socket
from esa.net.faults import FaultyPath, delay_queue, new_faults
from esa.net.impairment import LinkFaults, PortFaults
from esa.switch.process.dump import PortDump
from esa.switch.process.pcap import PortCapture
from esa.switch.runtime.batch import PacketBatch

PORTS = 512
_HELD = 16384  # frames that bad links may hold back, per direction, all ports together
_SIOCGIFMTU = 0x8921


class PortError(OSError):
    """A port cannot be opened; the message names it."""


def lines(faults: PortFaults | None, row: int) -> tuple[FaultyPath | None, FaultyPath | None]:
    """Return the links' lines to the switch and from it, numbered as the ports are."""
    if faults is None:
        return None, None
    links = [faults.ports.get(port, LinkFaults()) for port in range(PORTS)]
    arriving = new_faults([link.to_switch for link in links], [link.line_seed(0) for link in links])
    leaving = new_faults([link.from_switch for link in links], [link.line_seed(1) for link in links])
    return FaultyPath(arriving, delay_queue(_HELD, row)), FaultyPath(leaving, delay_queue(_HELD, row))


def messages(batch: PacketBatch) -> MessageBatch:
    """Return the system calls' view of a packet batch: they read and write its own rows."""
    n, row = batch.data.shape
    return message_batch(n, row, peers=False, vlan=True, data=batch.data, length=batch.length)


def open_all(interfaces: Mapping[int, str]) -> list[socket.socket]:
    opened: list[socket.socket] = []
    try:
        for number, interface in interfaces.items():
            try:
                opened.append(open_packet_socket(interface))
            except OSError as error:
                raise PortError(f"port {number}: {error.strerror or error}") from None
    except PortError:
        for sock in opened:
            sock.close()
        raise
    return opened


def open_captures(
    directory: Path | None, interfaces: Mapping[int, str], dump_bytes: int
) -> list[list[PortCapture | PortDump]]:
    """What is told of every packet, each a list by slot."""
    captures: list[list[PortCapture | PortDump]] = []
    if directory is not None:
        captures.append([PortCapture(directory, name) for name in interfaces.values()])
    if dump_bytes:
        captures.append([PortDump(port, dump_bytes) for port in interfaces])
    return captures


def mtu(sock: socket.socket) -> int:
    # Not from /sys, which may show another network namespace's interfaces.
    request = struct.pack("16s16x", str(sock.getsockname()[0]).encode())
    answer: tuple[int] = struct.unpack_from("i", fcntl.ioctl(sock, _SIOCGIFMTU, request), 16)
    return answer[0]
