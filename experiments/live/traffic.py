"""One end of a flow on a socket. Started by the run on one of its hosts:

    python -m experiments.live.traffic receive --kind tcp --port 20000
    python -m experiments.live.traffic send --kind constant --port 20000 --to 10.0.0.3 --rate-bps 5e6

It says "ready" when it listens, and waits for lines on stdin: "go T" when it begins, "stop T" when it is cut off, "sent
N" how many packets a constant flow's receiver is to wait for. It says "bytes" while some come, and "end" when it is
through. What it says are JSON objects on stdout, one a line. Times are seconds of the machine's monotonic clock, which
all its hosts share. Without anybody at the other end of stdin it ends.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import select
import socket
import struct
import sys
import time
from typing import Any

TCP, CONSTANT = "tcp", "constant"  # as in a scenario; its schema, and pydantic, are not for here
DATAGRAM_BYTES = 1500 - 28  # behind IPv4's and UDP's headers
HEADER = struct.Struct("!QI")  # a packet's number, and how many bytes of payload it stands for: a last one may be short
CHUNK_BYTES = 1 << 16
NOT_SENT_BYTES = 1 << 17  # that may wait in a TCP sender's buffer, so that it can be cut off
CATCH_UP_S = 0.05  # so late may a constant flow's packet be sent; what is later makes the flow slower
LATE_S = 1.0  # for a constant flow's last packets, and between what the two ends of a flow are told
SAY_S = 1.0
CONNECT_S = 30.0
_RESENDS_AT = 100  # tcpi_total_retrans in struct tcp_info
_NO_LINGER = struct.pack("ii", 1, 0)


class Orders:
    """What the run has said so far."""

    def __init__(self) -> None:
        self.start = self.stop = math.inf
        self.sent: int | None = None
        self.wait_until = math.inf  # for the last packets
        self._line = b""
        os.set_blocking(0, False)

    @property
    def cut_off(self) -> bool:
        return time.monotonic() >= self.stop

    def ready(
        self, reading: socket.socket | None = None, writing: socket.socket | None = None, until: float = math.inf
    ) -> bool:
        """Wait for a socket; False: something was said, or it is `until`, or time to stop."""
        timeout = max(0.0, min(until, self.stop, self.wait_until) - time.monotonic())
        readers = [0] if reading is None else [0, reading]
        writers = [] if writing is None else [writing]
        can_read, can_write, _ = select.select(readers, writers, [], None if math.isinf(timeout) else timeout)
        if 0 in can_read:
            self.hear()
        return reading in can_read or bool(can_write)

    def hear(self) -> None:
        try:
            heard = os.read(0, 4096)
        except BlockingIOError:
            return
        if not heard:  # nobody is there any more
            self.stop = 0.0
        *lines, self._line = (self._line + heard).split(b"\n")
        for word, value in (line.split() for line in lines):
            if word == b"go":
                self.start = float(value)
            elif word == b"stop":
                self.stop = min(self.stop, float(value))
            elif word == b"sent":
                self.sent, self.wait_until = int(value), time.monotonic() + LATE_S

    def until_start(self) -> None:
        while not self.cut_off and time.monotonic() < self.start:
            self.ready(until=self.start)


class Said:
    """Says how many bytes have come, from time to time."""

    def __init__(self) -> None:
        self._next = 0.0

    def bytes(self, octets: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SAY_S
            say("bytes", bytes=octets)


def say(event: str, **more: Any) -> None:
    print(json.dumps({"event": event, "t": time.monotonic(), **more}), flush=True)


def receive_stream(port: int, orders: Orders) -> dict[str, Any]:
    """Take one connection, and what comes on it until its end."""
    said, octets = Said(), 0
    with socket.create_server(("", port)) as listener:
        say("ready")
        while not orders.ready(listener):
            if orders.cut_off:
                return {"bytes": 0}
        connection, _ = listener.accept()
    buffer = bytearray(4 * CHUNK_BYTES)
    with connection:
        connection.setblocking(False)
        try:
            while not orders.cut_off:
                if orders.ready(connection):
                    count = connection.recv_into(buffer)
                    if count == 0:
                        return {"bytes": octets}
                    octets += count
                    said.bytes(octets)
        except ConnectionError:
            _unless_cut_off(orders)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    return {"bytes": octets}


def send_stream(target: tuple[str, int], size: float, congestion: str | None, orders: Orders) -> dict[str, Any]:
    """Send so many bytes as fast as can be; the end is when the other side has them all.

    congestion: control, as the kernel calls it; None: its own.
    """
    left, zeros = size, memoryview(bytes(CHUNK_BYTES))
    say("ready")
    orders.until_start()
    if orders.cut_off:
        return {"resends": 0}
    with socket.create_connection(target, timeout=CONNECT_S) as connection:
        connection.setblocking(False)
        if congestion is not None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)
        try:
            while left > 0 and not orders.cut_off:
                if orders.ready(writing=connection):
                    left -= connection.send(zeros[: int(min(left, CHUNK_BYTES))])
            if left == 0:
                connection.shutdown(socket.SHUT_WR)
            while left == 0 and not orders.cut_off and not orders.ready(connection):
                pass
        except ConnectionError:
            _unless_cut_off(orders)
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        if orders.cut_off:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    return {"resends": struct.unpack_from("I", info, _RESENDS_AT)[0]}


def _unless_cut_off(orders: Orders) -> None:
    """The other end may have been cut off a little earlier, and the connection with it."""
    until = time.monotonic() + LATE_S
    while not orders.cut_off and time.monotonic() < until:
        orders.ready(until=until)
    if not orders.cut_off:
        raise


def receive_datagrams(port: int, orders: Orders) -> dict[str, Any]:
    """Count what comes, and what does not."""
    said, octets, packets, newest, last = Said(), 0, 0, -1, math.nan
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        listener.bind(("", port))
        listener.setblocking(False)
        say("ready")
        while not orders.cut_off:
            if orders.ready(listener):
                number, payload = HEADER.unpack_from(listener.recv(DATAGRAM_BYTES))
                octets, packets, newest = octets + payload, packets + 1, max(newest, number)
                last = time.monotonic()
                said.bytes(octets)
            all_came = orders.sent is not None and newest + 1 >= orders.sent
            if all_came or time.monotonic() >= orders.wait_until:
                break
    ended = {} if orders.cut_off or math.isnan(last) else {"t": last}
    return {"bytes": octets, "lost": max(0, newest + 1 - packets)} | ended


def send_datagrams(target: tuple[str, int], rate_bps: float, size: float, orders: Orders) -> dict[str, Any]:
    """Send so many bytes at a rate, whatever becomes of them."""
    left, packets, zeros = size, 0, bytes(DATAGRAM_BYTES)
    say("ready")
    orders.until_start()
    gap, due = 8 * DATAGRAM_BYTES / rate_bps, orders.start
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        while left > 0 and not orders.cut_off:
            now = time.monotonic()
            if now < due:
                orders.ready(until=due)
            elif orders.ready(writing=sender):
                payload = int(min(left, DATAGRAM_BYTES))
                sender.sendto(HEADER.pack(packets, payload) + zeros[HEADER.size : payload], target)
                due = max(due, now - CATCH_UP_S) + gap
                left, packets = left - payload, packets + 1
    return {"packets": packets}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.live.traffic", description=__doc__)
    parser.add_argument("side", choices=["send", "receive"])
    parser.add_argument("--kind", choices=[TCP, CONSTANT], required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--to", help="the receiver's address")
    parser.add_argument("--rate-bps", type=float, help="of a constant flow's payload")
    parser.add_argument("--congestion", help="of a TCP flow, as the kernel calls it")
    parser.add_argument("--size-bytes", type=int, help="without: until it is cut off")
    options = parser.parse_args()
    orders = Orders()
    size = math.inf if options.size_bytes is None else options.size_bytes
    target = (options.to, options.port)
    try:
        if options.side == "receive":
            found = (receive_stream if options.kind == TCP else receive_datagrams)(options.port, orders)
        elif options.kind == TCP:
            found = send_stream(target, size, options.congestion, orders)
        else:
            found = send_datagrams(target, options.rate_bps, size, orders)
    except OSError as error:
        print(f"{options.side} {options.kind}: {error}", file=sys.stderr)
        return 1
    say("end", **found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
