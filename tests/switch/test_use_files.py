"""`--use-files`: ports are pcap files, by their times, and what leaves is what leaves BMv2."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

from esa.errors import BadInput
from esa.switch import Pipeline
from esa.switch.process.files import FileLoop
from esa.switch.process.pcap import PcapWriter, read_pcap
from esa.switch.runtime.device import Device
from tests.switch import bmv2_files
from tests.switch.cli.embedded import switch as served
from tests.switch.control import PROGRAMS

PROGRAM = PROGRAMS / "control_plane.json"
COMMANDS = """table_set_default exact_dst forward 2
table_add exact_dst multicast 1 => 5
mc_mgrp_create 5
mc_node_create 1 0 3
mc_node_associate 5 0
"""
PACKETS = {port: [bytes([0, 0, 0, 0, 0, at % 3]) + bytes([port, at]) + bytes(52) for at in range(9)] for port in (0, 1)}


def wait_for(count: int, *paths: Path) -> list[list[bytes]]:
    deadline = time.monotonic() + 30
    while True:
        found = [[frame for _, frame in read_pcap(path)] for path in paths]
        if sum(map(len, found)) >= count:
            return found
        assert time.monotonic() < deadline, [len(each) for each in found]
        time.sleep(0.05)


@pytest.mark.bmv2
def test_what_leaves_is_what_leaves_bmv2(tmp_path: Path) -> None:
    theirs = bmv2_files.run(PROGRAM, PACKETS, COMMANDS)
    for port in range(bmv2_files.PORTS):
        bmv2_files.write_pcap(tmp_path / f"p{port}_in.pcap", PACKETS.get(port, []))
    with served("control_plane") as ours:
        ours.run(COMMANDS)
        with FileLoop(ours.device, {port: f"p{port}" for port in range(4)}, wait_s=0, folder=tmp_path) as loop:
            paths = [tmp_path / f"p{port}_out.pcap" for port in range(4)]
            found = wait_for(sum(map(len, theirs.values())), *paths)
        assert {port: sorted(found[port]) for port in range(4)} == {port: sorted(theirs[port]) for port in theirs}
        assert (loop.counters()[0]["rx_packets"], loop.counters()[2]["tx_packets"]) == (9, len(theirs[2]))


def test_packets_of_all_files_run_by_their_times(tmp_path: Path) -> None:
    for port, times in ((0, (5, 1, 30)), (1, (2, 4, 3))):
        with PcapWriter(tmp_path / f"p{port}_in.pcap") as pcap:
            for when in times:
                pcap.write(when * 1_000_000_000, bytes([when] * 60))
    pipeline = Pipeline.load(PROGRAM.read_text(), compiled=False)
    pipeline.tables["MyIngress.exact_dst"].set_default("MyIngress.forward", [2])
    device = Device(1, pipeline=pipeline)
    with FileLoop(device, {0: "p0", 1: "p1", 2: "p2"}, wait_s=0, folder=tmp_path):
        (found,) = wait_for(6, tmp_path / "p2_out.pcap")
    assert [frame[0] for frame in found] == [1, 2, 3, 4, 5, 30]


@pytest.mark.parametrize("content", [b"", b"no capture at all, but long enough to be", PcapWriter.__doc__.encode()])
def test_a_file_that_is_no_capture_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p0_in.pcap").write_bytes(content)
    with pytest.raises(BadInput, match=r"p0_in\.pcap is no pcap file"):
        FileLoop(Device(1), {0: "p0"}, wait_s=0, folder=tmp_path)


def test_a_capture_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p0_in.pcap"
    with PcapWriter(path) as pcap:
        pcap.write(0, bytes(60))
    for size in (30, 60):
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(ValueError, match="cut off"):
            read_pcap(path)


def test_packet_data_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: said.append(record.getMessage()))
    log = logging.getLogger("esa.switch")
    monkeypatch.setattr(log, "handlers", [handler])
    before = log.level
    log.setLevel(logging.INFO)
    with PcapWriter(tmp_path / "p0_in.pcap") as pcap:
        pcap.write(0, bytes(range(60)))
    pipeline = Pipeline.load(PROGRAM.read_text(), compiled=False)
    pipeline.tables["MyIngress.exact_dst"].set_default("MyIngress.forward", [2])
    with FileLoop(Device(1, pipeline=pipeline), {0: "p0", 2: "p2"}, wait_s=0, dump_bytes=4, folder=tmp_path):
        wait_for(1, tmp_path / "p2_out.pcap")
    log.setLevel(before)
    assert said == [
        "Received packet of length 60 on port 0: 00010203",
        "Sending packet of length 60 on port 2: 00010203",
    ]


@pytest.mark.slow
def test_as_a_process(tmp_path: Path) -> None:
    arguments = ["-i", "1@p1", "--use-files", "0", "--log-console", "--no-p4", "--", "--grpc-server-addr"]
    process = subprocess.Popen(
        [sys.executable, "-m", "esa.switch", *arguments, f"unix:{tmp_path}/grpc"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert any("ready, P4Runtime" in line for line in process.stdout)
        process.terminate()
        assert "port 1: rx_packets 0" in process.stdout.read()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.stdout.close()
    assert read_pcap(tmp_path / "p1_out.pcap") == []
