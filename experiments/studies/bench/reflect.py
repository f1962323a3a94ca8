"""A host's end of the router benchmark: frames to a switch that sends them back; prints "ready", then packets/s.

python -m experiments.studies.bench.reflect INTERFACE KIND ENTRIES SECONDS

KIND: routes or large, whose frames they are, each for one of ENTRIES.
With 0 SECONDS it prints when the first frame came back, in ns of the monotonic clock. Waits for a line before it
measures. So many frames are on their way as fit the queue that BMv2 has for each port, so neither switch loses any; a
frame that is lost all the same is made up for after a while, and ends up in the figure.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from esa.net import message_batch, open_packet_socket, poll_set, recv_batch, send_batch, wait_ready
from experiments.studies.bench.large import FRAMES
from experiments.studies.bench.router import MTU

IN_FLIGHT = 48  # of the 64 packets that BMv2 lets wait at a port
LOST_NS = 100_000_000
EACH_NS = 1_000_000


def reflected(interface: str, packets: list[bytes], seconds: float) -> float:
    """Frames a second that came back."""
    n = len(packets)
    out, back = message_batch(n, MTU, peers=False), message_batch(256, MTU, peers=False)
    for row, packet in enumerate(packets):
        out.data[row, : len(packet)] = np.frombuffer(packet, np.uint8)
        out.length[row] = len(packet)
    with open_packet_socket(interface) as sock:
        fd = sock.fileno()
        polled = poll_set([fd])
        at, waiting, came = 0, 0, 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            count = min(IN_FLIGHT - waiting, n - at)
            if count > 0:
                sent = max(send_batch(fd, out, at, count), 0)
                waiting += sent
                at = (at + sent) % n
            wait_ready(polled, LOST_NS)
            received = max(recv_batch(fd, back, 0, 256), 0)
            came += received
            waiting = waiting - received if received else 0
    return came / seconds


def first_ns(interface: str, packet: bytes) -> int:
    """When the first of many frames, one a millisecond, came back."""
    out, back = message_batch(1, MTU, peers=False), message_batch(16, MTU, peers=False)
    out.data[0, : len(packet)] = np.frombuffer(packet, np.uint8)
    out.length[0] = len(packet)
    with open_packet_socket(interface) as sock:
        polled = poll_set([sock.fileno()])
        while True:
            send_batch(sock.fileno(), out, 0, 1)
            wait_ready(polled, EACH_NS)
            if recv_batch(sock.fileno(), back, 0, 16) > 0:
                return time.monotonic_ns()


def main() -> None:
    interface, kind, entries, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    packets = FRAMES[kind](entries)
    reflected(interface, packets, 0.2)  # compiled, and the switch's caches are warm
    print("ready", flush=True)
    sys.stdin.readline()
    print(reflected(interface, packets, seconds) if seconds else first_ns(interface, packets[0]), flush=True)


if __name__ == "__main__":
    main()
