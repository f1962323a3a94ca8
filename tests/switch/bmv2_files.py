"""BMv2 with pcap pipes as ports: what it does with a program and packets, port by port.

Its own files of packets (`--use-files`) are read a number of seconds after the start, whether all is written then or
not. A pipe is read when the packet is there, and the packet is there when the test says so: no run goes by the clock.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from tests.switches import free_port

PORTS = 4
# Where simple_switch (not simple_switch_grpc) tells of its ports: by itself one file for all of a machine that have the
# same device id, and the second does not start.
OWN_EVENTS = ("--notifications-addr", "inproc://notifications")
_PATIENCE_S = 60.0
_STILL_S = 1.0
_IDLE = 0.05  # the share of a processor that BMv2's threads take when there is nothing to do
_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)


def write_pcap(path: Path, packets: Sequence[bytes]) -> None:
    with path.open("wb") as out:
        out.write(_HEADER)
        for at, packet in enumerate(packets):
            out.write(_record(at, packet))


def read_pcap(path: Path) -> list[bytes]:
    data, at, packets = path.read_bytes(), 24, []
    while at + 16 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 8)
        packets.append(data[at + 16 : at + 16 + size])
        at += 16 + size
    return packets


class Bmv2:
    """A simple_switch, or simple_switch_grpc, in `home`, while the block lasts.

    `command`: its command line but for ports, how they are read, and Thrift; `target`: options of its own target.
    Raises OSError where it does not start, or ends.
    """

    def __init__(
        self, command: Sequence[str], home: Path, ports: Iterable[int] = range(PORTS), target: Sequence[str] = ()
    ) -> None:
        self.home, self.ports, self.thrift = home, list(ports), free_port()
        for port in self.ports:
            os.mkfifo(self._pipe(port))
        interfaces = [word for port in self.ports for word in ("-i", f"{port}@p{port}")]
        own = ["--use-files", "0", *OWN_EVENTS, "--thrift-port", str(self.thrift), *interfaces]
        self._closing = contextlib.ExitStack()
        log = self._closing.enter_context((home / "log").open("w"))
        arguments = [command[0], *own, *command[1:], *(["--", *target] if target else [])]
        self.process = subprocess.Popen(arguments, cwd=home, stdout=log, stderr=log)

    def __enter__(self) -> Bmv2:
        try:
            self._pipes = {port: self._closing.enter_context(self._open(self._pipe(port))) for port in self.ports}
            self._await()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._closing.close()

    def cli(self, commands: str) -> str:
        """What simple_switch_CLI prints at these commands."""
        return cli(self.thrift, commands)

    def send(self, packets: Sequence[tuple[int, bytes]]) -> None:
        """Send (port, packet) pairs, all that there will be: BMv2 takes one once each port has one, or has ended."""
        last = {port: at for at, (port, _) in enumerate(packets)}
        for port in self.ports:
            if port not in last:
                self._pipes[port].close()
        for at, (port, packet) in enumerate(packets):
            self._pipes[port].write(_record(at, packet))
            if last[port] == at:
                self._pipes[port].close()

    def left(self) -> dict[int, list[bytes]]:
        """What has left by each port."""
        if self.process.poll() is not None:
            raise OSError(f"{self.process.args[0]} ended with status {self.process.returncode}")  # type: ignore[index]
        return {port: read_pcap(self.home / f"p{port}_out.pcap") for port in self.ports}

    def wait_until_still(self) -> None:
        """Until for a second no packet has left and the switch has had next to nothing to do."""
        deadline = time.monotonic() + _PATIENCE_S
        size, work, since = -1, 0.0, 0.0
        while time.monotonic() < deadline and self.process.poll() is None:
            sizes = sum((self.home / f"p{port}_out.pcap").stat().st_size for port in self.ports)
            if sizes != size or self._cpu_s() > work + _IDLE * _STILL_S:
                size, work, since = sizes, self._cpu_s(), time.monotonic()
            elif time.monotonic() > since + _STILL_S:
                return
            time.sleep(0.05)

    def _cpu_s(self) -> float:
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def _pipe(self, port: int) -> Path:
        return self.home / f"p{port}_in.pcap"

    def _open(self, path: Path) -> IO[bytes]:
        """The pipe, once the switch has it open; a pcap header is its first content."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                pipe = os.fdopen(os.open(path, os.O_WRONLY | os.O_NONBLOCK), "wb", buffering=0)
            except OSError:  # ENXIO: nobody reads yet
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise OSError(f"BMv2 does not start: {self._said()}") from None
                time.sleep(0.01)
                continue
            os.set_blocking(pipe.fileno(), True)
            pipe.write(_HEADER)
            return pipe

    def _await(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while self.process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.thrift)) == 0:
                    return
            time.sleep(0.02)
        raise OSError(f"BMv2 does not answer: {self._said()}")

    def _said(self) -> str:
        return " ".join((self.home / "log").read_text().split())[-300:]


@contextlib.contextmanager
def simple_switch(program: Path, ports: Iterable[int] = range(PORTS), target: Sequence[str] = ()) -> Iterator[Bmv2]:
    """A simple_switch that runs a program, while the block lasts."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Bmv2(["simple_switch", str(program.resolve())], Path(folder), ports, target) as switch,
    ):
        yield switch


def run(
    program: Path,
    packets: Mapping[int, Sequence[bytes]],
    commands: str = "",
    target: Sequence[str] = (),
    pause_s: float = 0.0,
) -> dict[int, list[bytes]]:
    """Run packets (by ingress port) through simple_switch, after `commands` of simple_switch_CLI; packets by port.

    `target`: options of its own target. `pause_s`: between commands and packets; a queue's first packet waits a
    packet's time from when its rate was set.
    """
    with simple_switch(program, target=target) as switch:
        # Its egress queues hold 64 packets unless told otherwise, and pipes are read as fast as they can be.
        switch.cli("set_queue_depth 100000\n" + commands)
        time.sleep(pause_s)
        switch.send(in_turns(packets))
        switch.wait_until_still()
        return switch.left()


def in_turns(packets: Mapping[int, Sequence[bytes]]) -> list[tuple[int, bytes]]:
    """The first packet of each port, then the second of each, and so on."""
    order = sorted((at, port) for port, those in packets.items() for at in range(len(those)))
    return [(port, packets[port][at]) for at, port in order]


def cli(thrift: int, text: str, *, within: Sequence[str] = ()) -> str:
    """What simple_switch_CLI answers; `within`: the words that start it elsewhere. Raises OSError if it fails."""
    command = [*within, "simple_switch_CLI", "--thrift-port", str(thrift)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=_PATIENCE_S)
    if done.returncode:
        raise OSError(f"simple_switch_CLI: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


def _record(at: int, packet: bytes) -> bytes:
    """A packet as pcap has it, `at` milliseconds after the first."""
    return struct.pack("<IIII", at // 1000, at % 1000 * 1000, len(packet), len(packet)) + packet
