"""simple_switch over pcap files: what BMv2 itself does with a program and packets, port by port."""

from __future__ import annotations

import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PORTS = 4


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


def run(
    program: Path, packets: Mapping[int, Sequence[bytes]], commands: str = "", target: Sequence[str] = ()
) -> dict[int, list[bytes]]:
    """Run packets (by ingress port) through simple_switch, after `commands` of simple_switch_CLI; packets by port.

    `target`: options of its own target.
    """
    with socket.socket() as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        thrift = probe.getsockname()[1]
        probe.close()
        home = Path(folder)
        for port in range(PORTS):
            write_pcap(home / f"p{port}_in.pcap", packets.get(port, []))
        interfaces = [word for port in range(PORTS) for word in ("-i", f"{port}@p{port}")]
        wait, own = 2, ["--", *target] if target else []
        process = subprocess.Popen(
            ["simple_switch", "--use-files", str(wait), "--thrift-port", str(thrift), *interfaces, str(program), *own],
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            # Its egress queues hold 64 packets unless told otherwise, and files are read as fast as they can be.
            _command(thrift, "set_queue_depth 100000\n" + commands)
            time.sleep(1.0 + wait)
        finally:
            process.terminate()
            process.wait(timeout=10)
        return {port: read_pcap(home / f"p{port}_out.pcap") for port in range(PORTS)}


def _command(thrift: int, commands: str) -> None:
    deadline = time.monotonic() + 3
    while not _listens(thrift):
        if time.monotonic() > deadline:
            raise TimeoutError("simple_switch does not answer")
        time.sleep(0.05)
    subprocess.run(
        ["simple_switch_CLI", "--thrift-port", str(thrift)],
        input=commands.encode(),
        check=True,
        timeout=20,
        stdout=subprocess.DEVNULL,
    )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
