"""Packet captures per port, as BMv2 names them: `<interface>_in.pcap` and `<interface>_out.pcap`."""

from __future__ import annotations

import struct
from pathlib import Path
from types import TracebackType

_MAGIC_NANOSECONDS = 0xA1B23C4D
_LINKTYPE_ETHERNET = 1
_SNAPLEN = 262144
_NS_PER_S = 1_000_000_000
_MAGICS = {0xA1B2C3D4: 1000, _MAGIC_NANOSECONDS: 1}  # nanoseconds of a time stamp's fraction
_FILE_HEADER_BYTES = 24
_PACKET_HEADER_BYTES = 16


class PcapWriter:
    """A capture file with nanosecond timestamps.

    with PcapWriter(Path("s1-eth1_in.pcap")) as pcap:
        pcap.write(time.time_ns(), frame)
    """

    def __init__(self, path: Path) -> None:
        # Line-by-line durability is not worth a system call per packet; `flush` and `close` write the rest.
        self._file = path.open("wb", buffering=1 << 18)
        self._file.write(struct.pack("<IHHiIII", _MAGIC_NANOSECONDS, 2, 4, 0, 0, _SNAPLEN, _LINKTYPE_ETHERNET))

    def write(self, time_ns: int, frame: bytes) -> None:
        """Append a frame seen at `time_ns` (ns since the epoch)."""
        self._file.write(struct.pack("<IIII", *divmod(time_ns, _NS_PER_S), len(frame), len(frame)))
        self._file.write(frame)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> PcapWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PortCapture:
    """What one interface received and sent."""

    def __init__(self, directory: Path, interface: str) -> None:
        self.received = PcapWriter(directory / f"{interface}_in.pcap")
        self.sent = PcapWriter(directory / f"{interface}_out.pcap")

    def flush(self) -> None:
        self.received.flush()
        self.sent.flush()

    def close(self) -> None:
        self.received.close()
        self.sent.close()


def read_pcap(path: Path) -> list[tuple[int, bytes]]:
    """(time in ns, frame) of each packet in a capture file of Ethernet frames. Raises ValueError for what is none."""
    data = path.read_bytes()
    order = {magic: order for magic in _MAGICS for order in "<>" if data[:4] == struct.pack(f"{order}I", magic)}
    if not order or len(data) < _FILE_HEADER_BYTES:
        raise ValueError(f"{path} is no pcap file")
    ((magic, end),) = order.items()
    packets, at = [], _FILE_HEADER_BYTES
    while at < len(data):
        if at + _PACKET_HEADER_BYTES > len(data):
            raise ValueError(f"{path}: the last packet is cut off")
        seconds, fraction, length, _ = struct.unpack_from(f"{end}IIII", data, at)
        at += _PACKET_HEADER_BYTES
        if at + length > len(data):
            raise ValueError(f"{path}: the last packet is cut off")
        packets.append((seconds * _NS_PER_S + fraction * _MAGICS[magic], data[at : at + length]))
        at += length
    return packets
