"""simple_switch_grpc over pcap files: what BMv2 does with packets after writes over P4Runtime."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import grpc

from tests.switch.bmv2_files import PORTS, read_pcap, write_pcap
from tests.switch.control import Client, p4

WAIT_S = 6  # until it reads the files: by then all is written


def run(
    message: p4.ForwardingPipelineConfig,
    write: Callable[[Client], None],
    packets: Mapping[int, Sequence[bytes]],
    afterwards: Callable[[Client], None] = lambda client: None,
) -> dict[int, list[bytes]]:
    """Load the program, let `write` write, then run packets (by ingress port); packets by egress port.

    `afterwards` gets the client once the packets have gone through.
    """
    with socket.socket() as grpc_probe, socket.socket() as thrift_probe, tempfile.TemporaryDirectory() as folder:
        for probe in (grpc_probe, thrift_probe):
            probe.bind(("127.0.0.1", 0))
        port, thrift = grpc_probe.getsockname()[1], thrift_probe.getsockname()[1]
        grpc_probe.close()
        thrift_probe.close()
        home = Path(folder)
        for number in range(PORTS):
            write_pcap(home / f"p{number}_in.pcap", packets.get(number, []))
        interfaces = [word for number in range(PORTS) for word in ("-i", f"{number}@p{number}")]
        own = ["--", "--grpc-server-addr", f"127.0.0.1:{port}"]
        command = ["simple_switch_grpc", "--no-p4", "--device-id", "1", "--use-files", str(WAIT_S)]
        started = time.monotonic()
        process = subprocess.Popen(
            [*command, "--thrift-port", str(thrift), *interfaces, *own],
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            client = Client(port)
            grpc.channel_ready_future(client.channel).result(timeout=WAIT_S)
            client.become_primary(1)
            client.push(message=message)
            write(client)
            assert time.monotonic() - started < WAIT_S, "the files were read before all was written"
            subprocess.run(
                ["simple_switch_CLI", "--thrift-port", str(thrift)],
                input=b"set_queue_depth 100000\n",
                check=True,
                timeout=20,
                stdout=subprocess.DEVNULL,
            )
            time.sleep(max(started + WAIT_S + 1.0 - time.monotonic(), 0))
            _wait_until_still(home)
            afterwards(client)
            client.close()
        finally:
            process.terminate()
            process.wait(timeout=10)
        return {number: read_pcap(home / f"p{number}_out.pcap") for number in range(PORTS)}


def _wait_until_still(home: Path) -> None:
    """Until packets have left and none has for a second; a busy machine starts BMv2 late."""
    seen, since, deadline = 0, time.monotonic(), time.monotonic() + 20
    while time.monotonic() < deadline:
        size = sum(each.stat().st_size for each in home.glob("p*_out.pcap"))
        if size != seen:
            seen, since = size, time.monotonic()
        elif seen > 24 * PORTS and time.monotonic() > since + 1:
            return
        time.sleep(0.1)
