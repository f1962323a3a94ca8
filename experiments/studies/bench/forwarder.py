"""The null forwarder: every frame goes back out of the interface that it came in by, unread, a batch per system call.

python -m experiments.studies.bench.forwarder [--answer] INTERFACE...

What a program on packet sockets that moves batches reaches at best, on one core. With --answer a UDP packet is turned
round first, to reach the socket that sent it. Prints "ready"; runs until ended.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from esa.native import native
from esa.net import (
    MessageBatch,
    is_ready,
    message_batch,
    open_packet_socket,
    poll_set,
    recv_batch,
    send_batch,
    wait_ready,
)
from esa.net.poll import PollSet
from experiments.studies.bench.errors import BenchError
from topologies.network import Network

BATCH, MTU = 64, 2048
ROUNDS, WAIT_NS = 1000, 100_000_000  # signals are heard after so many
FORWARDER = "forwarder"  # what parts of the bench call it where they name a switch
ANSWER = "--answer"
PYTHON = ("setpriv", "--pdeathsig", "KILL", sys.executable)  # ends with this process, whatever ends it
_PAIRS = ((0, 6, 6), (26, 30, 4), (34, 36, 2))  # of a UDP packet without IP's options: MACs, addresses, ports


@contextmanager
def in_place_of_the_switch(net: Network, *, answer: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """Kill the network's one switch; until the block is left its ports are a forwarder's. BenchError."""
    (switch,) = net.switches
    switch.kill()
    interfaces = [interface.name for port, interface in sorted(switch.intfs.items()) if port]
    command = [*PYTHON, "-m", __name__, *([ANSWER] if answer else []), *interfaces]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        wait_until_ready(process, "the forwarder")
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def wait_until_ready(process: subprocess.Popen[bytes], what: str) -> None:
    """Return when it has printed "ready"; BenchError where it ended before."""
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        raise BenchError(f"{what} ended (status {process.wait()}) before anything was measured")


@native
def turn_round(batch: MessageBatch, count: int) -> None:
    """Make of UDP packets 0..count-1 (Ethernet, IPv4 without options) answers; checksums are the same."""
    for i in range(count):
        for a, b, octets in _PAIRS:
            for k in range(octets):
                batch.data[i, a + k], batch.data[i, b + k] = batch.data[i, b + k], batch.data[i, a + k]


@native
def _forward(polled: PollSet, batch: MessageBatch, answer: bool, rounds: int) -> None:
    """Forward for so many rounds; what does not go back at once is lost."""
    for _ in range(rounds):
        if wait_ready(polled, WAIT_NS) == 0:
            break
        for i in range(len(polled)):
            if is_ready(polled, i):
                fd = int(polled[i, 0]) & 0xFFFF | int(polled[i, 1]) << 16
                count = recv_batch(fd, batch, 0, BATCH)
                if count > 0:
                    if answer:
                        turn_round(batch, count)
                    send_batch(fd, batch, 0, count)


def main() -> None:
    answer = ANSWER in sys.argv
    sockets = [open_packet_socket(interface) for interface in sys.argv[1:] if interface != ANSWER]
    polled, batch = poll_set([sock.fileno() for sock in sockets]), message_batch(BATCH, MTU, peers=False)
    _forward(polled, batch, answer, 1)  # compiled
    print("ready", flush=True)
    while True:
        _forward(polled, batch, answer, ROUNDS)


if __name__ == "__main__":
    main()
