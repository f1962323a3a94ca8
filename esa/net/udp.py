"""UDP sockets for batches: bound, connected if asked, non-blocking, with big buffers."""

from __future__ import annotations

import socket

from esa.net.forks import not_for_children
from esa.net.sockets import set_buffer_bytes


def open_udp_socket(
    bind: tuple[str, int] = ("0.0.0.0", 0),
    connect: tuple[str, int] | None = None,
    *,
    receive_bytes: int = 16 << 20,
    send_bytes: int = 4 << 20,
) -> socket.socket:
    """Return a non-blocking IPv4 UDP socket bound to `bind` (port 0: the kernel chooses).

    A connected socket receives from its peer only, and its batches need no addresses.
    Raises OSError naming the address.
    """
    sock = not_for_children(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    address = bind
    try:
        set_buffer_bytes(sock, receive_bytes, send_bytes)
        sock.setblocking(False)
        sock.bind(bind)
        if connect is not None:
            address = connect
            sock.connect(connect)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot open UDP {address[0]}:{address[1]}: {error.strerror}") from None
    return sock
