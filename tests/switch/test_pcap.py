"""Captures are read back by another implementation."""

from __future__ import annotations

from pathlib import Path

from scapy.utils import rdpcap

from esa.switch.process.pcap import PcapWriter


def test_frames_and_times_are_read_back(tmp_path: Path) -> None:
    frames = [bytes([i]) * (60 + i) for i in range(5)]
    with PcapWriter(tmp_path / "s1-eth1_in.pcap") as pcap:
        for i, frame in enumerate(frames):
            pcap.write(1_700_000_000_000_000_000 + i * 1_001, frame)
    packets = rdpcap(str(tmp_path / "s1-eth1_in.pcap"))
    assert [bytes(packet) for packet in packets] == frames
    assert [int(packet.time * 10**9) for packet in packets] == [1_700_000_000_000_000_000 + i * 1_001 for i in range(5)]
