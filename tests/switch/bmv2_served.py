"""simple_switch_grpc over pcap pipes: what BMv2 does with packets after writes over P4Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import grpc

from tests.switch.bmv2_files import Bmv2, in_turns
from tests.switch.control import Client, p4
from tests.switches import free_port

_PATIENCE_S = 30


def run(
    message: p4.ForwardingPipelineConfig,
    write: Callable[[Client], None],
    packets: Mapping[int, Sequence[bytes]],
    afterwards: Callable[[Client], None] = lambda client: None,
) -> dict[int, list[bytes]]:
    """Load the program, let `write` write, then run packets (by ingress port); packets by egress port.

    `afterwards` gets the client once the packets have gone through.
    """
    port = free_port()
    command = ["simple_switch_grpc", "--no-p4", "--device-id", "1"]
    with (
        tempfile.TemporaryDirectory() as folder,
        Bmv2(command, Path(folder), target=["--grpc-server-addr", f"127.0.0.1:{port}"]) as switch,
    ):
        client = Client(port)
        grpc.channel_ready_future(client.channel).result(timeout=_PATIENCE_S)
        client.become_primary(1)
        client.push(message=message)
        write(client)
        switch.cli("set_queue_depth 100000\n")
        switch.send(in_turns(packets))
        switch.wait_until_still()
        afterwards(client)
        client.close()
        return switch.left()
