"""An STF on simple_switch, over pcap pipes: all commands, then all packets, in order of their time.

So p4c's own runner does it, too: the switch waits for a packet, or the end, of every port before it takes one. That
runner leaves counters alone; here, each look at them is a run of its own that ends there.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from tests.p4.stf.cli_lines import CliLines, count
from tests.p4.stf.play import check
from tests.p4.stf.script import CheckCounter, Command, Expect, Packet
from tests.p4.stf.verdict import ports
from tests.switch.bmv2_files import read_pcap

_PATIENCE_S = 60
# How long packets may take through the switch, and how long it takes until one that nobody expects is out as well.
_LINGER_S = 4.0
_SETTLE_S = 0.4


def run(path: Path, program: dict[str, Any], commands: Sequence[Command]) -> dict[int, list[bytes]]:
    """The packets that left, by port.

    Raises ValueError or OSError where a command or the switch fails, or a counter is not as a command says.
    """
    last = max((at for at, command in enumerate(commands) if isinstance(command, Packet)), default=0)
    for stop in range(1, last + 1):
        if isinstance(commands[stop - 1], CheckCounter) and not isinstance(commands[stop], CheckCounter):
            _run(path, program, commands[:stop])
    return _run(path, program, commands)


def _run(path: Path, program: dict[str, Any], commands: Sequence[Command]) -> dict[int, list[bytes]]:
    """Run commands, then look at the counters that no packet comes after."""
    lines = CliLines(program)
    text = "".join(lines.line(command) for command in commands)
    last = max((at for at, command in enumerate(commands) if isinstance(command, Packet)), default=-1)
    checks = [command for command in commands[last + 1 :] if isinstance(command, CheckCounter)]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        home = Path(folder)
        for port in ports(commands):
            os.mkfifo(home / f"p{port}_in.pcap")
        thrift = _free_port()
        interfaces = [word for port in ports(commands) for word in ("-i", f"{port}@p{port}")]
        command = ["simple_switch", "--use-files", "0", "--thrift-port", str(thrift), *interfaces, str(path)]
        log = stack.enter_context((home / "log").open("w"))
        switch = subprocess.Popen(command, cwd=home, stdout=log, stderr=log)
        try:
            pipes = {port: stack.enter_context(_open(home / f"p{port}_in.pcap", switch)) for port in ports(commands)}
            _await(thrift, switch)
            if text:
                cli(thrift, text)
            packets = [command for command in commands if isinstance(command, Packet)]
            for at, packet in enumerate(packets):
                pipes[packet.port].write(struct.pack("<IIII", at // 1000, at % 1000 * 1000, *[len(packet.data)] * 2))
                pipes[packet.port].write(packet.data)
            for pipe in pipes.values():
                pipe.close()
            wanted = sum(isinstance(command, Expect) for command in commands)
            sent = _sent(home, ports(commands), wanted)
            if switch.poll() is not None:
                raise OSError(f"simple_switch ended with status {switch.returncode}")
            for command in checks:
                check(command, count(cli(thrift, lines.read(command))))
        finally:
            switch.kill()
            switch.wait(timeout=_PATIENCE_S)
        return sent


def _sent(home: Path, numbers: Sequence[int], wanted: int) -> dict[int, list[bytes]]:
    """What has left once as many packets have as are wanted, or none more come; and a while later."""
    deadline = time.monotonic() + _LINGER_S
    sent: dict[int, list[bytes]] = {}
    while sum(map(len, sent.values())) < wanted and time.monotonic() < deadline:
        time.sleep(0.1)
        sent = {port: read_pcap(home / f"p{port}_out.pcap") for port in numbers}
    time.sleep(_SETTLE_S)
    return {port: read_pcap(home / f"p{port}_out.pcap") for port in numbers}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _open(path: Path, switch: subprocess.Popen[bytes]) -> IO[bytes]:
    """The pipe, once the switch has it open; a pcap header is its first content."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            pipe = os.fdopen(os.open(path, os.O_WRONLY | os.O_NONBLOCK), "wb", buffering=0)
        except OSError:  # ENXIO: nobody reads yet
            if switch.poll() is not None or time.monotonic() > deadline:
                raise OSError("simple_switch does not start") from None
            time.sleep(0.01)
            continue
        os.set_blocking(pipe.fileno(), True)
        pipe.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        return pipe


def _await(thrift: int, switch: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while switch.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", thrift)) == 0:
                return
        time.sleep(0.02)
    raise OSError("simple_switch does not answer")


def cli(thrift: int, text: str, *, within: Sequence[str] = ()) -> str:
    """What simple_switch_CLI answers; `within`: the words that start it elsewhere. Raises OSError if it fails."""
    command = [*within, "simple_switch_CLI", "--thrift-port", str(thrift)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=_PATIENCE_S)
    if done.returncode:
        raise OSError(f"simple_switch_CLI: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout
