"""The null forwarder: every frame goes back out of the interface that it came in by, unread, a batch per system call.

python -m experiments.studies.bench.forwarder INTERFACE...

What a program on packet sockets that moves batches reaches at best, on one core. Prints "ready"; runs until ended.
"""

from __future__ import annotations

import sys

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

BATCH, MTU = 64, 2048
ROUNDS, WAIT_NS = 1000, 100_000_000  # signals are heard after so many


@native
def _forward(polled: PollSet, batch: MessageBatch, rounds: int) -> None:
    """Forward for so many rounds; what does not go back at once is lost."""
    for _ in range(rounds):
        if wait_ready(polled, WAIT_NS) == 0:
            break
        for i in range(len(polled)):
            if is_ready(polled, i):
                fd = int(polled[i, 0]) & 0xFFFF | int(polled[i, 1]) << 16
                count = recv_batch(fd, batch, 0, BATCH)
                if count > 0:
                    send_batch(fd, batch, 0, count)


def main() -> None:
    sockets = [open_packet_socket(interface) for interface in sys.argv[1:]]
    polled, batch = poll_set([sock.fileno() for sock in sockets]), message_batch(BATCH, MTU, peers=False)
    _forward(polled, batch, 1)  # compiled
    print("ready", flush=True)
    while True:
        _forward(polled, batch, ROUNDS)


if __name__ == "__main__":
    main()
