"""Stream sockets by address: HOST:PORT, or unix:PATH, which the network namespaces of one machine share."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from esa.errors import BadInput
from esa.net.forks import not_for_children

BACKLOG = 128
_UNIX = "unix:"
_KEEPALIVE_S = 5  # a peer whose machine is gone is noticed after about four times that


def listening_socket(address: str) -> tuple[socket.socket, str]:
    """Listen at the address (port 0: any free one); returns the socket and where it is. BadInput if it cannot be."""
    try:
        if address.startswith(_UNIX):
            path = Path(address.removeprefix(_UNIX))
            if path.is_socket() and not _answers(path):
                path.unlink()  # left by a process that was killed
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            mask = os.umask(0o177)
            try:
                sock.bind(str(path))
                sock.listen(BACKLOG)
            except BaseException:
                sock.close()
                raise
            finally:
                os.umask(mask)
            return sock, address
        host, port = _host_and_port(address)
        sock = socket.create_server((host, port), backlog=BACKLOG)
        return sock, f"{host}:{sock.getsockname()[1]}"
    except OSError as error:
        raise BadInput(f"address: cannot listen at {address}: {error.strerror or error}") from None


def connected_socket(address: str, timeout_s: float) -> socket.socket:
    """Connect to the address; OSError if nobody listens there, BadInput if it is no address."""
    if address.startswith(_UNIX):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout_s)
            sock.connect(address.removeprefix(_UNIX))
        except BaseException:
            sock.close()
            raise
    else:
        sock = socket.create_connection(_host_and_port(address), timeout_s)
        keep_alive(sock)
    sock.settimeout(None)
    return not_for_children(sock)


def kept_port() -> socket.socket:
    """Return a socket that keeps a TCP port of the loopback interface for a process that is yet to listen there.

    It does not listen. Until it is closed nobody is given its port who asks for any, or connects from any; who asks for
    this one and sets SO_REUSEADDR, as servers do, has it: now, and when it is started again.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # servers of gRPC may set it
    sock.bind(("127.0.0.1", 0))
    return sock


def keep_alive(sock: socket.socket) -> None:
    """Let a TCP connection break when the peer's machine is gone; others do so by themselves."""
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
        sock.setsockopt(socket.IPPROTO_TCP, option, _KEEPALIVE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise BadInput(f"address: '{address}' is neither HOST:PORT nor unix:PATH")
    return host.strip("[]"), int(port)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, contextlib.suppress(OSError):
        sock.connect(str(path))
        return True
    return False
