"""`--dump-packet-data`: the first bytes of each packet on the log, in BMv2's words."""

from __future__ import annotations

import logging

_log = logging.getLogger("esa.switch")


class PacketDump:
    """Takes packets of one direction at one port, as a capture does."""

    def __init__(self, words: str, port: int, most: int) -> None:
        self._words, self._port, self._most = words, port, most

    def write(self, time_ns: int, frame: bytes) -> None:
        """Log a packet."""
        _log.info(
            "%s packet of length %d on port %d: %s", self._words, len(frame), self._port, frame[: self._most].hex()
        )

    def flush(self) -> None:
        """Nothing waits here."""


class PortDump:
    """What one port received and sent."""

    def __init__(self, port: int, most: int) -> None:
        self.received = PacketDump("Received", port, most)
        self.sent = PacketDump("Sending", port, most)

    def close(self) -> None:
        """The log stays open."""
