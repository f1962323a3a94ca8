"""The compiled P4 program: which builds there are and where their files lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from esa.wire import LANE_COUNTS

BUILD = Path(__file__).with_name("compiled")
AGGREGATORS = {0: 65536, 64: 8192, 256: 4096}  # rows in each build, by lanes; a test compares them with the JSON


@dataclass(frozen=True)
class Program:
    """One build: `lanes` per fragment, `aggregators` rows of switch memory, the BMv2 JSON and its P4Info."""

    lanes: int
    aggregators: int
    json: Path
    p4info: Path


def program(lanes: int) -> Program:
    """The build with `lanes` lanes; ValueError names the lane counts there are."""
    if lanes not in LANE_COUNTS:
        raise ValueError(f"lanes: no build with {lanes} lanes; allowed: {', '.join(map(str, LANE_COUNTS))}")
    return Program(lanes, AGGREGATORS[lanes], BUILD / f"esa-{lanes}.json", BUILD / f"esa-{lanes}.p4info.txtpb")
