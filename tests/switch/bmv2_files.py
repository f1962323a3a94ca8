"""simple_switch over pcap files: what BMv2 itself does with a program and packets, port by port."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

PORTS = 4
_WAIT_S = 2


def write_pcap(path: Path, packets: Sequence[bytes]) -> None:
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for at, packet in enumerate(packets):
            out.write(struct.pack("<IIII", at // 1000, at % 1000 * 1000, len(packet), len(packet)) + packet)


def read_pcap(path: Path) -> list[bytes]:
    data, at, packets = path.read_bytes(), 24, []
    while at + 16 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 8)
        packets.append(data[at + 16 : at + 16 + size])
        at += 16 + size
    return packets


@contextlib.contextmanager
def simple_switch(
    program: Path, packets: Mapping[int, Sequence[bytes]], wait_s: int, target: Sequence[str] = ()
) -> Iterator[tuple[int, dict[int, list[bytes]]]]:
    """Run simple_switch over packets (by ingress port), `wait_s` after its start, while the block lasts.

    `target`: options of its own target. Yields its Thrift port, and a dict that has what left by each port afterwards.
    """
    with socket.socket() as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        thrift = probe.getsockname()[1]
        probe.close()
        home = Path(folder)
        for port in range(PORTS):
            write_pcap(home / f"p{port}_in.pcap", packets.get(port, []))
        interfaces = [word for port in range(PORTS) for word in ("-i", f"{port}@p{port}")]
        files = ["--use-files", str(wait_s), "--thrift-port", str(thrift), *interfaces]
        process = subprocess.Popen(
            ["simple_switch", *files, str(program), *(["--", *target] if target else [])],
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        left: dict[int, list[bytes]] = {}
        try:
            yield thrift, left
        finally:
            process.terminate()
            process.wait(timeout=10)
        left.update((port, read_pcap(home / f"p{port}_out.pcap")) for port in range(PORTS))


def run(
    program: Path, packets: Mapping[int, Sequence[bytes]], commands: str = "", target: Sequence[str] = ()
) -> dict[int, list[bytes]]:
    """Run packets (by ingress port) through simple_switch, after `commands` of simple_switch_CLI; packets by port.

    `target`: options of its own target.
    """
    with simple_switch(program, packets, _WAIT_S, target) as (thrift, left):
        # Its egress queues hold 64 packets unless told otherwise, and files are read as fast as they can be.
        cli(thrift, "set_queue_depth 100000\n" + commands)
        time.sleep(_WAIT_S + 1.0)
    return left


def cli(thrift: int, commands: str) -> str:
    """Carry out commands, by simple_switch_CLI, on a simple_switch that may still start; what is printed."""
    deadline = time.monotonic() + 3
    while not _listens(thrift):
        if time.monotonic() > deadline:
            raise TimeoutError("simple_switch does not answer")
        time.sleep(0.05)
    command = ["simple_switch_CLI", "--thrift-port", str(thrift)]
    return subprocess.run(command, input=commands, check=True, timeout=20, capture_output=True, text=True).stdout


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
