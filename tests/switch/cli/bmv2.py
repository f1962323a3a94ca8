"""simple_switch over pcap files, with commands of simple_switch_CLI before the packets and after them."""

from __future__ import annotations

import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.switch.bmv2_files import read_pcap, write_pcap
from tests.switch.control import PROGRAMS

PORTS = 4
_WAIT_S = 3


def run(
    program: str, before: str, packets: Sequence[tuple[int, bytes]], after: str
) -> tuple[list[str], dict[int, list[bytes]], list[str]]:
    """What the commands before and after print, and what left in between, by port."""
    with socket.socket() as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        thrift = probe.getsockname()[1]
        probe.close()
        home = Path(folder)
        for port in range(PORTS):
            write_pcap(home / f"p{port}_in.pcap", [packet for into, packet in packets if into == port])
        interfaces = [word for port in range(PORTS) for word in ("-i", f"{port}@p{port}")]
        command = ["simple_switch", "--use-files", str(_WAIT_S), "--thrift-port", str(thrift), *interfaces]
        process = subprocess.Popen(
            [*command, str(PROGRAMS / f"{program}.json")],
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started = time.monotonic()
        try:
            said = _cli(thrift, before)
            time.sleep(max(0.0, started + _WAIT_S + 1.5 - time.monotonic()))
            read = _cli(thrift, after)
        finally:
            process.terminate()
            process.wait(timeout=10)
        return said, {port: found for port in range(PORTS) if (found := read_pcap(home / f"p{port}_out.pcap"))}, read


def _cli(thrift: int, commands: str) -> list[str]:
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", thrift)) == 0:
                break
        time.sleep(0.05)
    done = subprocess.run(
        ["simple_switch_CLI", "--thrift-port", str(thrift)],
        input="".join(
            f"{line.strip()}\n" for line in commands.splitlines() if line.strip()
        ),  # it repeats at a blank one
        check=True,
        timeout=20,
        capture_output=True,
        text=True,
    )
    return [re.sub("^(RuntimeCmd: )+", "", line) for line in done.stdout.splitlines()]
