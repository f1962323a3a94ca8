"""The same program and packets on BMv2 and here: every packet that leaves must be the same, port by port."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from esa.switch import Pipeline
from tests.switch import bmv2_files
from tests.switch.traffic import arithmetic_packets, feature_packets

PROGRAMS = Path(__file__).parent / "programs"


def ours(pipeline: Pipeline, packets: Mapping[int, Sequence[bytes]]) -> dict[int, list[bytes]]:
    out: dict[int, list[bytes]] = defaultdict(list)
    for port, sequence in packets.items():
        for packet in sequence:
            for egress, copy in pipeline.process(port, packet):
                out[egress].append(copy)
    return {port: out[port] for port in range(bmv2_files.PORTS)}


def same(theirs: dict[int, list[bytes]], mine: dict[int, list[bytes]]) -> None:
    for port in range(bmv2_files.PORTS):
        for at, (one, other) in enumerate(zip(theirs[port], mine[port], strict=False)):
            assert one.hex() == other.hex(), f"port {port}, packet {at}"
        assert len(theirs[port]) == len(mine[port]), f"port {port}"


@pytest.mark.supports("numbers: bit and int of up to 64 bits")
@pytest.mark.bmv2
def test_arithmetic_is_bmv2s() -> None:
    packets = {0: arithmetic_packets(random.Random(1), 400)}
    pipeline = Pipeline.load((PROGRAMS / "arithmetic.json").read_text())
    same(bmv2_files.run(PROGRAMS / "arithmetic.json", packets), ours(pipeline, packets))


@pytest.mark.supports(
    "headers: stacks, with next, last, push_front, pop_front",
    "parsers: select with masks, lookahead, verify, parser errors",
    "tables: exact, lpm, ternary and range keys; constant entries",
    "externs: checksums, over the payload too",
    "externs: hashes crc16, crc32, csum16, xor16, identity",
    "externs: truncate",
    "copies: multicast",
)
@pytest.mark.bmv2
def test_features_are_bmv2s() -> None:
    packets = {0: feature_packets(random.Random(2), 600)}
    pipeline = Pipeline.load((PROGRAMS / "features.json").read_text())
    pipeline.multicast.set(1, [(1, 1), (2, 7), (3, 7)])
    nodes = ["mc_node_create 1 1", "mc_node_associate 1 0", "mc_node_create 7 2 3", "mc_node_associate 1 1"]
    commands = "\n".join(["mc_mgrp_create 1", *nodes, ""])
    same(bmv2_files.run(PROGRAMS / "features.json", packets, commands), ours(pipeline, packets))


@pytest.mark.supports("copies: clones from ingress and egress, resubmit, recirculate, with the fields that are kept")
@pytest.mark.bmv2
@pytest.mark.parametrize("what", range(6))
def test_clones_and_passes_are_bmv2s(what: int) -> None:
    packets = {0: [bytes([what, 0, 0, 0, 0, 0, 0, 0]) + b"payload"]}
    pipeline = Pipeline.load((PROGRAMS / "passes.json").read_text())
    assert pipeline.clone_sessions is not None
    pipeline.clone_sessions.set(5, [(2, 0)])
    same(bmv2_files.run(PROGRAMS / "passes.json", packets, "mirroring_add 5 2\n"), ours(pipeline, packets))
