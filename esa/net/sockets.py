"""What UDP and AF_PACKET sockets share: room for bursts."""

from __future__ import annotations

import socket

# Linux's numbers; Python's socket module does not name them.
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33


def set_buffer_bytes(sock: socket.socket, receive: int, send: int) -> None:
    """Ask for that much kernel memory; beyond the system's limit where the process may (CAP_NET_ADMIN)."""
    for force, plain, size in (
        (_SO_RCVBUFFORCE, socket.SO_RCVBUF, receive),
        (_SO_SNDBUFFORCE, socket.SO_SNDBUF, send),
    ):
        try:
            sock.setsockopt(socket.SOL_SOCKET, force, size)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, plain, size)
