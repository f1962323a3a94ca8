"""Captures as tshark sees them through our dissector, and as the Scapy layer does: field by field."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from esa import wire
from esa.scapy_layer import ESA
from esa.switch.process.pcap import read_pcap
from esa.wireshark import dissector

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark on the PATH (Debian's tshark)")


def tshark(capture: Path, *options: str, lua: Path | None = None) -> str:
    """What tshark prints of a capture with our dissector, which is installed or is `lua`."""
    script = () if lua is None else ("-X", f"lua_script:{lua}")
    done = subprocess.run(
        ["tshark", *script, "-r", str(capture), *options], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Lua" not in done.stderr, done.stderr
    return done.stdout


def dissected(capture: Path, folder: Path, packets: int = 0) -> list[dict[str, Any]]:
    """tshark's layers of each packet of a capture (0: of all), by name; folder: for the dissector."""
    lua = folder / "esa.lua"
    lua.write_text(dissector())
    count = ("-c", str(packets)) if packets else ()
    printed = tshark(capture, *count, "-T", "json", "--no-duplicate-keys", lua=lua)
    return [packet["_source"]["layers"] for packet in json.loads(printed)]


def by_scapy(packet: ESA) -> dict[str, Any]:
    """The header's fields and lanes, as numbers."""
    fields = {field.name: int(getattr(packet, field.name)) for field in wire.FIELDS}
    return {**fields, "lanes": [int(lane) for lane in packet.lanes]}


def by_tshark(layer: dict[str, Any]) -> dict[str, Any]:
    """The same of tshark's layer; AssertionError where its flags one by one are not its byte of flags."""
    fields = {field.name: int(layer[f"esa.{field.name}"], 0) for field in wire.FIELDS}
    single = {name: value for key, tree in layer.items() if key == "esa.flags_tree" for name, value in tree.items()}
    assert single == {
        f"esa.flags.{flag.name.lower()}": "1" if fields["flags"] & flag else "0" for flag in wire.Flag if flag.name
    }
    lanes = layer.get("esa.lanes_tree", {}).get("esa.lane", [])
    lanes = [lanes] if isinstance(lanes, str) else lanes
    assert len(lanes) == int(layer.get("esa.lanes", "0"))
    return {**fields, "lanes": [int(lane) for lane in lanes]}


def check_capture(capture: Path, folder: Path, packets: int = 0) -> int:
    """Hold what tshark says of a capture of ours against Scapy; return how many ESA packets that were."""
    frames = [frame for _, frame in read_pcap(capture)]
    layers = dissected(capture, folder, packets)
    assert len(layers) == (min(packets, len(frames)) if packets else len(frames))
    compared = 0
    for frame, seen in zip(frames, layers, strict=False):
        packet: Packet = Ether(frame)
        assert (ESA in packet) == ("esa" in seen), packet.summary()
        if ESA in packet:
            assert by_tshark(seen["esa"]) == by_scapy(packet[ESA]), packet.summary()
            compared += 1
    return compared
