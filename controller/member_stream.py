"""A member's connection to the coordinator: lines in, messages out, and what the coordinator knows of who is there."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from controller.room import Room
from esa.coordination import MAX_LINE, FromMember, Hello, ToMember, encode
from esa.net.streams import keep_alive

SEND_TIMEOUT_S = 5.0


class MemberStream:
    """What cannot be sent is not: whoever reads `lines` notices that the member has ended."""

    def __init__(self, sock: socket.socket) -> None:
        self.hello: Hello | None = None
        self.room: Room | None = None
        self.looks = 0  # at a switch that answers, since it knocked
        self.kept_out = ""  # why
        self.unheard: list[FromMember] = []  # said before it was let in
        self._sock = sock
        self._sending = threading.Lock()
        keep_alive(sock)
        timeout = int(SEND_TIMEOUT_S)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout.to_bytes(8, "little") + bytes(8))

    def lines(self) -> Iterator[bytes]:
        with self._sock.makefile("rb") as stream:
            while True:
                try:
                    line = stream.readline(MAX_LINE)
                except OSError:
                    return
                if not line.endswith(b"\n"):
                    return
                yield line

    def send(self, message: ToMember) -> None:
        with self._sending, contextlib.suppress(OSError):
            self._sock.sendall(encode(message))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
