"""A veth pair in a fresh network namespace, gone when closed."""

from __future__ import annotations

import ctypes
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from esa.net import open_packet_socket

_CLONE_NEWNET = 0x40000000


class Veth:
    """`pairs` veth pairs a0-b0, a1-b1, ... inside namespace `name`; only this process's threads that enter see them."""

    def __init__(self, pairs: int = 1) -> None:
        self.name = f"esa-{uuid.uuid4().hex[:8]}"
        self._run("ip", "netns", "add", self.name)
        try:
            self.ip("link", "set", "lo", "up")
            for i in range(pairs):
                self.ip("link", "add", f"a{i}", "type", "veth", "peer", "name", f"b{i}")
                for interface in (f"a{i}", f"b{i}"):
                    # IPv6 neighbour discovery would put frames of its own on the wire.
                    self.exec("sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=1", check=False)
                    self.ip("link", "set", interface, "up")
            self._wait_until_up(2 * pairs)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _run(*command: str, check: bool = True) -> None:
        subprocess.run(command, check=check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20)

    def ip(self, *arguments: str) -> None:
        self._run("ip", "-n", self.name, *arguments)

    def _wait_until_up(self, interfaces: int) -> None:
        """Until then Linux drops what is sent, and says nothing: it gives a new link its queue a moment later."""
        deadline = time.monotonic() + 20
        command = ["ip", "-n", self.name, "-o", "link", "show"]
        while subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.count("state UP") < interfaces:
            assert time.monotonic() < deadline, "a veth pair does not come up"
            time.sleep(0.01)

    def exec(self, *command: str, check: bool = True) -> None:
        self._run("ip", "netns", "exec", self.name, *command, check=check)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread lives in the namespace; sockets opened meanwhile stay there."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as inside:
            if libc.setns(inside.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                libc.setns(home.fileno(), _CLONE_NEWNET)

    def socket(self, interface: str) -> socket.socket:
        with self.entered():
            return open_packet_socket(interface)

    def close(self) -> None:
        self._run("ip", "netns", "del", self.name, check=False)
