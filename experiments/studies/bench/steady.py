"""A host's end of the interruption benchmark: frames at a steady pace to a switch that sends them back.

python -m experiments.studies.bench.steady INTERFACE KIND ENTRIES RATE

KIND: routes or large, whose frames they are, each for one of ENTRIES.
Prints "ready"; for each line it then reads prints what came since the last, as JSON: packets sent and returned, and the
longest interruption in ms: how much further apart two frames that came back one after the other left the switch than
they were sent. The kernel says when a frame came, so it does not matter when this process gets to it.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time

from esa.net import open_packet_socket
from experiments.studies.bench.large import FRAMES
from experiments.studies.bench.router import MTU

SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("qq")
NUMBER = struct.Struct(">Q")
LAST_NS = 200_000_000  # a frame that is not back by then is lost


class Steady:
    """Frames at `rate` a second; `take` is what came of those since the last time."""

    def __init__(self, sock: socket.socket, frames: list[bytes], rate: int) -> None:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._sock = sock
        self._frames = [frame[: -NUMBER.size] for frame in frames]  # the rest of each is its number
        self._gap_ns = 1_000_000_000 // rate
        self._sent_ns: list[int] = []
        self._came: list[tuple[int, int]] = []  # (number, ns)

    def run(self, until: int | None) -> None:
        """Send until there is something to read from `until`; without it, only wait for what is still to come."""
        due = time.clock_gettime_ns(time.CLOCK_REALTIME)
        end = due + LAST_NS
        watched = [self._sock] if until is None else [self._sock, until]
        while True:
            now = time.clock_gettime_ns(time.CLOCK_REALTIME)
            if until is not None and now >= due:
                self._send(now)
                due = max(due + self._gap_ns, now - self._gap_ns)  # what was missed is not made up for
            ready, _, _ = select.select(watched, [], [], max(due - now, 0) / 1e9 if until is not None else 0.01)
            if self._sock in ready:
                self._receive()
            if until in ready or (until is None and now > end):
                return

    def _send(self, now: int) -> None:
        frame = self._frames[len(self._sent_ns) % len(self._frames)] + NUMBER.pack(len(self._sent_ns))
        self._sent_ns.append(now)
        self._sock.send(frame)

    def _receive(self) -> None:
        try:
            while True:
                frame, extra, _, _ = self._sock.recvmsg(MTU, 256)
                stamps = [data for _, kind, data in extra if kind == SO_TIMESTAMPNS]
                seconds, ns = TIMESPEC.unpack(stamps[0][: TIMESPEC.size])
                (number,) = NUMBER.unpack(frame[-NUMBER.size :])
                if number < len(self._sent_ns):
                    self._came.append((number, seconds * 1_000_000_000 + ns))
        except BlockingIOError:
            return

    def take(self) -> dict[str, float]:
        """What came of what was sent, which is then forgotten."""
        pairs = zip(self._came, self._came[1:], strict=False)
        longest = max(
            (after - before - (self._sent_ns[b] - self._sent_ns[a]) for (a, before), (b, after) in pairs), default=0
        )
        found = {"sent": len(self._sent_ns), "returned": len(self._came), "longest_ms": longest / 1e6}
        self._sent_ns.clear()
        self._came.clear()
        return found


def main() -> None:
    interface, kind, entries, rate = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    with open_packet_socket(interface) as sock:
        steady = Steady(sock, FRAMES[kind](entries, 256), rate)
        print("ready", flush=True)
        while sys.stdin.readline():  # a line begins to send, the next one ends it
            steady.run(sys.stdin.fileno())
            sys.stdin.readline()
            steady.run(None)
            print(json.dumps(steady.take()), flush=True)


if __name__ == "__main__":
    main()
