"""The Wireshark dissector says of every packet what the Scapy layer says, and names what is no ESA packet."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from typer.testing import CliRunner

from esa import wire
from esa.scapy_layer import ESA
from esa.switch.process.pcap import PcapWriter
from esa.wireshark import dissector
from experiments.cli import app
from tests.dissecting import by_scapy, by_tshark, check_capture, dissected, needs_tshark, tshark


def written(path: Path, packets: list[object]) -> Path:
    with PcapWriter(path) as pcap:
        for number, packet in enumerate(packets):
            pcap.write(1_700_000_000_000_000_000 + number, bytes(packet))  # type: ignore[call-overload]
    return path


def around(payload: object, dport: int = wire.ESA_PORT, sport: int = 49152) -> Ether:
    return Ether() / IP(src="10.0.0.1", dst="10.0.0.3") / UDP(sport=sport, dport=dport) / payload


def any_packet(draw: random.Random, kind: wire.Kind, lanes: int) -> ESA:
    return ESA(
        kind=int(kind),
        flags=draw.getrandbits(8),
        priority=draw.getrandbits(8),
        exponent=draw.randint(-128, 127),
        lanes=[draw.randint(-(2**31), 2**31 - 1) for _ in range(lanes)],
        **{name: draw.getrandbits(16) for name in ("job", "epoch")},
        **{name: draw.getrandbits(32) for name in ("seq", "index", "bitmap0", "bitmap1")},
    )


@needs_tshark
def test_tshark_and_scapy_agree_on_every_field(tmp_path: Path) -> None:
    draw = random.Random(4)
    kinds = [draw.choice(list(wire.Kind)) for _ in range(60)] + list(wire.Kind)
    packets = [around(any_packet(draw, kind, draw.choice([0, 1, 64, 256]))) for kind in kinds]
    packets += [around(any_packet(draw, wire.Kind.RESULT, 64), dport=6000, sport=wire.ESA_PORT)]
    packets += [around(b"something else", dport=53, sport=54)]
    assert check_capture(written(tmp_path / "x.pcap", packets), tmp_path) == len(packets) - 1


@needs_tshark
def test_a_packet_inside_a_tunnel_is_dissected(tmp_path: Path) -> None:
    inner = any_packet(random.Random(5), wire.Kind.GRADIENT, 64)
    outer = Ether() / IP(src="192.168.7.1", dst="192.168.7.2") / UDP(dport=4789) / VXLAN(vni=1) / around(inner)
    (layers,) = dissected(written(tmp_path / "x.pcap", [outer]), tmp_path)
    assert by_tshark(layers["esa"]) == by_scapy(inner)
    assert "vxlan" in layers


@needs_tshark
@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"\x11" + bytes(9), "10 bytes; an ESA header has 24"),
        (b"\x71" + bytes(27), "version 7; there is 1"),
        (b"\x11" + bytes(25), "lanes have 4 bytes each; here are 2"),
    ],
)
def test_what_is_no_esa_packet_is_named(payload: bytes, said: str, tmp_path: Path) -> None:
    (layers,) = dissected(written(tmp_path / "x.pcap", [around(payload)]), tmp_path)
    assert said in str(layers["esa"])


@needs_tshark
def test_an_installed_dissector_is_found_and_its_filters_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    done = CliRunner().invoke(app, ["wireshark", "--install"])
    assert done.exit_code == 0, done.output
    assert str(tmp_path / ".local/lib/wireshark/plugins/esa.lua") in done.output
    resend = ESA(kind="GRADIENT", flags="RESEND", job=7, epoch=2, seq=11, lanes=[1])
    capture = written(tmp_path / "x.pcap", [around(resend), around(ESA(kind="RESULT", job=7, epoch=2, seq=11))])
    printed = tshark(capture, "-Y", "esa.flags.resend == 1 && esa.job == 7")
    assert printed.strip().endswith("ESA 70 GRADIENT job 7 epoch 2 seq 11 [RESEND]"), printed
    assert len(printed.splitlines()) == 1


def test_the_command_prints_the_dissector_and_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["wireshark"]).output == dissector()
    (tmp_path / "file").touch()
    done = CliRunner().invoke(app, ["wireshark", "--install", "--to", os.fspath(tmp_path / "file" / "x")])
    assert done.exit_code == 2
    assert "cannot write" in done.output
    assert CliRunner().invoke(app, ["wireshark", "--to", "."]).exit_code == 2
