"""Which ports' links are up: the kernel's news of its interfaces, by port number."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Mapping

# linux/rtnetlink.h, linux/if.h, linux/sockios.h
_RTMGRP_LINK = 1
_RTM_NEWLINK, _RTM_DELLINK = 16, 17
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_SIOCGIFFLAGS = 0x8913
_HEADER = struct.Struct("=IHHII")  # nlmsghdr
_INTERFACE = struct.Struct("=BxHiII")  # ifinfomsg


class LinkWatch:
    """Calls `on_change(port, up)` from a thread of its own, once for each port whose link is down and on every change.

    with LinkWatch({1: "s1-eth1"}, device.set_port):
        ...
    A link is up if its interface is up and has a carrier.
    """

    def __init__(self, interfaces: Mapping[int, str], on_change: Callable[[int, bool], None]) -> None:
        self._interfaces = dict(interfaces)
        self._on_change = on_change
        self._up = dict.fromkeys(interfaces, True)
        self._ports = {socket.if_nametoindex(name): port for port, name in interfaces.items()}
        self._news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._news.bind((0, _RTMGRP_LINK))
        self._asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._stop = os.eventfd(0)
        self._thread = threading.Thread(target=self._run, name="link-state", daemon=True)

    def __enter__(self) -> LinkWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        self._news.close()
        self._asking.close()
        os.close(self._stop)

    def _run(self) -> None:
        self._look_at_all()
        poll = select.poll()
        poll.register(self._news, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        while True:
            if any(fd == self._stop for fd, _ in poll.poll()):
                return
            try:
                self._read(self._news.recv(1 << 16))
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._look_at_all()  # there was more news than fits: look again

    def _read(self, data: bytes) -> None:
        while len(data) >= _HEADER.size:
            size, kind, *_ = _HEADER.unpack_from(data)
            if kind in (_RTM_NEWLINK, _RTM_DELLINK):
                _, _, index, flags, _ = _INTERFACE.unpack_from(data, _HEADER.size)
                if index in self._ports:
                    self._note(self._ports[index], kind == _RTM_NEWLINK and _is_up(flags))
            data = data[max((size + 3) & ~3, _HEADER.size) :]

    def _look_at_all(self) -> None:
        for port, name in self._interfaces.items():
            self._note(port, _is_up(_flags(self._asking, name)))

    def _note(self, port: int, up: bool) -> None:
        if self._up[port] != up:
            self._up[port] = up
            self._on_change(port, up)


def _is_up(flags: int) -> bool:
    return flags & (_IFF_UP | _IFF_RUNNING) == _IFF_UP | _IFF_RUNNING


def _flags(sock: socket.socket, interface: str) -> int:
    """The interface's flags; 0 where it is gone."""
    try:
        answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16s16x", interface.encode()))
    except OSError:
        return 0
    flags: int = struct.unpack_from("=H", answer, 16)[0]
    return flags
