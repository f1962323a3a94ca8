"""The ports of a test as veth pairs in a namespace of their own: frames in, frames out."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Sequence

from tests.net.veth import Veth

MIN_FRAME = 14  # Linux sends nothing shorter over Ethernet
_AUXDATA = (263, 8)  # SOL_PACKET, PACKET_AUXDATA
_VLAN_VALID, _VLAN_TPID_VALID = 0x10, 0x40
_SETTLE_S, _LINGER_S = 0.25, 4.0


class Wires:
    """Closed with `close`. `interfaces`: the switch's ends, by port; they exist in `namespace` alone."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._veths = Veth(pairs=len(ports))
        self.namespace = self._veths.name
        self.interfaces = {port: f"a{at}" for at, port in enumerate(ports)}
        self._sockets = {port: self._veths.socket(f"b{at}") for at, port in enumerate(ports)}
        self._ports = {sock: port for port, sock in self._sockets.items()}
        self._moved = False
        self.sent: dict[int, list[bytes]] = defaultdict(list)  # what the switch has sent so far

    def send(self, port: int, packet: bytes) -> None:
        if self._moved is not False and self._moved != port:  # a switch keeps the order of one port's frames alone
            self.settle()
        self._sockets[port].send(packet)
        self._moved = port

    def settle(self) -> None:
        """Wait until what was sent is through: nothing has come for a while."""
        if self._moved is False:
            return
        while self._collect(_SETTLE_S):
            pass
        self._moved = False

    def finish(self, wanted: int) -> dict[int, list[bytes]]:
        """What has left, by port, once as many frames have as are wanted, or none more come; and a while later."""
        deadline = time.monotonic() + _LINGER_S
        while sum(map(len, self.sent.values())) < wanted and time.monotonic() < deadline:
            self._collect(0.1)
        while self._collect(_SETTLE_S):
            pass
        return self.sent

    def _collect(self, timeout_s: float) -> bool:
        """Take what comes within a time; whether anything did."""
        ready, _, _ = select.select(list(self._ports), [], [], timeout_s)
        for sock in ready:
            while True:
                try:
                    self.sent[self._ports[sock]].append(_frame(sock))
                except BlockingIOError:
                    break
        return bool(ready)

    def close(self) -> None:
        for sock in self._ports:
            sock.close()
        self._veths.close()


def _frame(sock: socket.socket) -> bytes:
    """A frame as it was on the wire: Linux takes a VLAN's tag out."""
    data, ancillary, _, _ = sock.recvmsg(65536, 256)
    for level, kind, content in ancillary:
        if (level, kind) == _AUXDATA:
            status, *_, tag, protocol = struct.unpack_from("=IIIHHHH", content)
            if status & _VLAN_VALID:
                protocol = protocol if status & _VLAN_TPID_VALID else 0x8100
                data = data[:12] + struct.pack(">HH", protocol, tag) + data[12:]
    return data
