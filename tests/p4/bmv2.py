"""BMv2 for packet-by-packet comparison: frames in by veth, frames out by veth, registers over Thrift."""

from __future__ import annotations

import select
import socket
import subprocess
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable

from controller.client import Switch
from esa.entries.job_entries import Entry, Group
from esa.program import program
from tests.net.veth import Veth

COMMAND, CLI = "simple_switch_grpc", "simple_switch_CLI"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Bmv2:
    """simple_switch_grpc with ports 0..ports-1, loaded with the program; a context manager."""

    def __init__(self, ports: int, lanes: int):
        self.ports = ports
        self.veths = Veth(pairs=0)  # the far ends live in a namespace; deleting it removes both
        self.process: subprocess.Popen[bytes] | None = None
        try:
            self._start(lanes)
        except BaseException:
            self.close()
            raise

    def _start(self, lanes: int) -> None:
        tag = uuid.uuid4().hex[:6]
        self.sockets = []
        near = [f"d{tag}p{port}" for port in range(self.ports)]
        for interface in near:
            far = f"{interface}x"
            commands = [
                ["ip", "link", "add", interface, "type", "veth", "peer", "name", far, "netns", self.veths.name],
                ["sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=1"],
                ["ip", "link", "set", interface, "up"],
            ]
            for command in commands:
                subprocess.run(command, check=True, timeout=20)
            self.veths.exec("sysctl", "-qw", f"net.ipv6.conf.{far}.disable_ipv6=1")
            self.veths.ip("link", "set", far, "up")
            self.sockets.append(self.veths.socket(far))
        self.thrift, grpc = free_port(), free_port()
        interfaces = [word for port, name in enumerate(near) for word in ("-i", f"{port}@{name}")]
        command = [COMMAND, "--no-p4", *interfaces, "--thrift-port", str(self.thrift), "--"]
        self.process = subprocess.Popen(
            [*command, "--grpc-server-addr", f"127.0.0.1:{grpc}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", grpc)) == 0:
                    break
            if time.monotonic() > deadline:
                raise TimeoutError("simple_switch_grpc does not listen")
            time.sleep(0.05)
        self.switch = Switch.connect(f"127.0.0.1:{grpc}", 0)
        self.switch.load(program(lanes))

    def install(self, items: Iterable[Entry | Group]) -> None:
        self.switch.insert(list(items))

    def run(self, sequence: Iterable[tuple[int, bytes]], sentinel: bytes, sentinel_port: int) -> dict[int, list[bytes]]:
        """Send (port, frame) pairs in order; return the frames that left, by port.

        BMv2 keeps the order of frames within a port only. Whenever the port changes, a sentinel frame that leaves by
        `sentinel_port` shows that all earlier ones are through ingress, where all state is.
        """
        out: dict[int, list[bytes]] = defaultdict(list)
        last = None
        for port, frame in sequence:
            if last is not None and port != last:
                self._flush(last, sentinel, sentinel_port, out)
            self.sockets[port].send(frame)
            last = port
        if last is not None:
            self._flush(last, sentinel, sentinel_port, out)
        time.sleep(0.3)  # egress threads are not in step with each other
        self._collect(out, sentinel, sentinel_port, 0)
        return out

    def _flush(self, port: int, sentinel: bytes, sentinel_port: int, out: dict[int, list[bytes]]) -> None:
        self.sockets[port].send(sentinel)
        deadline = time.monotonic() + 10
        while not self._collect(out, sentinel, sentinel_port, 0.5):
            if time.monotonic() > deadline:
                raise TimeoutError(f"BMv2 lost the sentinel sent into port {port}")

    def _collect(self, out: dict[int, list[bytes]], sentinel: bytes, sentinel_port: int, timeout_s: float) -> bool:
        seen = False
        ready, _, _ = select.select(self.sockets, [], [], timeout_s)
        for sock in ready:
            port = self.sockets.index(sock)
            while True:
                try:
                    frame = sock.recv(65536)
                except BlockingIOError:
                    break
                if port == sentinel_port and frame == sentinel:
                    seen = True
                else:
                    out[port].append(frame)
        return seen

    def registers(self, names: Iterable[str]) -> dict[str, list[int]]:
        """All cells of each register array, over Thrift (P4Runtime register reads are not implemented in BMv2)."""
        done = subprocess.run(
            [CLI, "--thrift-port", str(self.thrift)],
            input="".join(f"register_read {name}\n" for name in names).encode(),
            capture_output=True,
            timeout=100,
            check=True,
        )
        lines = [line.removeprefix("RuntimeCmd: ") for line in done.stdout.decode().splitlines() if "= " in line]
        return {name: [int(cell) for cell in cells.split(", ")] for name, cells in (line.split("= ") for line in lines)}

    def close(self) -> None:
        if hasattr(self, "switch"):
            self.switch.close()
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=10)
        for sock in getattr(self, "sockets", []):
            sock.close()
        self.veths.close()

    def __enter__(self) -> Bmv2:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
