"""AF_PACKET raw sockets: whole Ethernet frames of one interface."""

from __future__ import annotations

import socket
import struct

from esa.net.sockets import set_buffer_bytes

# Linux's numbers (linux/if_packet.h, linux/if_ether.h); Python's socket module does not name them.
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_STATISTICS = 6
_PACKET_AUXDATA = 8
_PACKET_IGNORE_OUTGOING = 23
_PACKET_MR_PROMISC = 1
_ETH_P_ALL = 0x0003


def open_packet_socket(interface: str, *, receive_bytes: int = 16 << 20, send_bytes: int = 4 << 20) -> socket.socket:
    """Return a non-blocking raw socket that receives and sends the Ethernet frames of `interface`.

    Promiscuous; what the interface itself sends is not received. The interface's offloads (tx, rx, gro, gso, tso, sg)
    must be off, which is the caller's part: with them on, frames arrive unsegmented and without checksums.
    The buffers count the kernel's bookkeeping: 16 MiB hold about 13,000 frames of 300 bytes.
    Raises OSError whose text names the interface and says why.
    """
    try:
        index = socket.if_nametoindex(interface)
    except OSError as error:
        raise OSError(error.errno, f"no interface {interface!r} here") from None
    try:
        # Protocol 0 until everything is set: else frames of every interface would arrive before the bind.
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise PermissionError(
            error.errno, f"cannot open interface {interface!r}: raw sockets need root or CAP_NET_RAW"
        ) from None
    try:
        set_buffer_bytes(sock, receive_bytes, send_bytes)
        sock.setblocking(False)
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        sock.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        membership = struct.pack("IHH8s", index, _PACKET_MR_PROMISC, 0, b"")
        sock.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
        sock.bind((interface, _ETH_P_ALL))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot open interface {interface!r}: {error.strerror}") from None
    return sock


def lost_frames(sock: socket.socket) -> int:
    """Return how many frames this packet socket had no room for since the last call (the kernel's count)."""
    statistics: tuple[int, int] = struct.unpack("II", sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    return statistics[1]
