"""A port that is kept for a process: it alone is given it."""

from __future__ import annotations

import socket
import struct

import pytest

from esa.net.streams import kept_port

IP_LOCAL_PORT_RANGE = 51  # of linux/in.h


def test_a_kept_port_is_for_who_asks_for_it() -> None:
    with kept_port() as kept:
        address = kept.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        for _ in range(2):  # it may be started again
            with socket.create_server(address) as server, socket.create_connection(address) as client:
                peer, _ = server.accept()
                assert peer.getpeername() == client.getsockname()
                peer.close()
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(address)
    socket.create_server(address).close()


def test_nobody_else_is_given_it() -> None:
    """Who connects, or asks for any port, and whom the kernel may give this one alone is given none."""
    with kept_port() as kept, socket.create_server(("127.0.0.1", 0)) as server:
        port = kept.getsockname()[1]
        for ask in (lambda sock: sock.connect(server.getsockname()), lambda sock: sock.bind(("127.0.0.1", 0))):
            with socket.socket() as other:
                try:
                    other.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, struct.pack("I", port << 16 | port))
                except OSError as error:
                    pytest.skip(f"needs Linux 6.3, where sockets have port ranges: {error}")
                with pytest.raises(OSError, match=r"assign requested address|in use"):
                    ask(other)
