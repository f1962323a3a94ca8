"""Drops on a copy of the metadata, actions that only log, packets that go round many times: `programs/idioms.p4`."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from esa.switch import PacketBatch, Pipeline, UnsupportedError
from esa.switch.compiler.layout import LOG_WORDS
from esa.switch.compiler.log_text import fill, places
from esa.switch.compiler.target import PASSES
from tests.switch import bmv2_files
from tests.switch.test_differential import ours, same

PROGRAM = Path(__file__).parent / "programs" / "idioms.json"
FORWARD, GROUP, SAY, VALUES, RESUBMIT, RECIRCULATE, EGRESS_DROP = range(1, 8)


def packet(op: int, v: int = 0, want: int = 0, wide: int = 0, signed: int = 0) -> bytes:
    return struct.pack("!BBHHQb", op, v, want, 0, wide, signed) + b"rest"


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline.load(PROGRAM.read_text(), compiled=False)


@pytest.mark.supports("copies: mark_to_drop of a copy of standard_metadata")
def test_a_drop_of_a_copy_drops_the_packet(pipeline: Pipeline) -> None:
    pipeline.multicast.set(1, [(2, 0)])
    assert pipeline.process(0, packet(99)) == []
    assert pipeline.process(0, packet(GROUP)) == []
    assert pipeline.process(0, packet(EGRESS_DROP)) == []
    assert [port for port, _ in pipeline.process(0, packet(FORWARD))] == [1]


@pytest.mark.refuses("copies: mark_to_drop of a header without egress_spec")
def test_a_copy_without_a_port_is_refused_by_name() -> None:
    program = json.loads(PROGRAM.read_text())
    for action in program["actions"]:
        for primitive in action["primitives"]:
            if primitive["op"] == "mark_to_drop":
                primitive["parameters"] = [{"type": "header", "value": "h"}]
    with pytest.raises(UnsupportedError, match="mark_to_drop of h, which has no field egress_spec"):
        Pipeline.load(program, compiled=False)


@pytest.mark.supports("externs: log_msg")
def test_messages_have_their_values(pipeline: Pipeline) -> None:
    said: list[str] = []
    pipeline.on_message(said.append)
    pipeline.process(9, packet(SAY))
    pipeline.process(0, packet(FORWARD, v=1))
    pipeline.process(0, packet(VALUES, wide=(1 << 64) - 1, signed=-3))
    assert said == ["op 3 of 9", "nothing to do", "is 18446744073709551615 -3 1"]
    pipeline.on_message(None)
    pipeline.process(9, packet(SAY))
    assert len(said) == 3


def test_braces_with_a_backslash_are_no_places() -> None:
    assert places(r"\{{}\} {x}") == 2
    assert fill(r"\{{}\} {x}", [1, 2]) == "{1} 2"


def test_messages_beyond_the_room_are_counted(pipeline: Pipeline) -> None:
    count = LOG_WORDS // 3 + 10
    batch, out = PacketBatch(count, 64), PacketBatch(count, 64)
    for _ in range(count):
        batch.append(0, packet(SAY))
    said: list[str] = []
    pipeline.on_message(said.append)
    pipeline.process_batch(batch, 0, out)
    assert len(said) == LOG_WORDS // 3 + 1
    assert said[-1] == "log_msg: 10 messages found no room"


@pytest.mark.refuses("externs: log_msg with more or fewer values than places")
@pytest.mark.parametrize(("text", "values"), [("{} {}", 1), ("none", 1), ("{}", 0)])
def test_a_message_with_the_wrong_number_of_values_is_refused(text: str, values: int) -> None:
    program = json.loads(PROGRAM.read_text())
    value = {"type": "field", "value": ["h", "op"]}
    for action in program["actions"]:
        for primitive in action["primitives"]:
            if primitive["op"] == "log_msg":
                primitive["parameters"] = [
                    {"type": "string", "value": text},
                    {"type": "parameters_vector", "value": [value] * values},
                ]
    with pytest.raises(UnsupportedError, match="places for"):
        Pipeline.load(program, compiled=False)


@pytest.mark.supports("copies: recirculate and resubmit, 4,096 times")
@pytest.mark.parametrize("op", [RESUBMIT, RECIRCULATE])
def test_packets_go_round_a_thousand_times_and_no_more_than_the_limit(pipeline: Pipeline, op: int) -> None:
    ((port, sent),) = pipeline.process(0, packet(op, want=1000))
    assert (port, sent[4:6]) == (1, struct.pack("!H", 1000))
    assert pipeline.given_up == 0
    assert pipeline.process(0, packet(op, want=PASSES + 10)) == []
    assert (pipeline.given_up, pipeline.lost) == (1, 0)
    assert pipeline.process(0, packet(op, want=2)) != []


@pytest.mark.supports("copies: mark_to_drop of a copy of standard_metadata")
@pytest.mark.bmv2
def test_idioms_are_bmv2s() -> None:
    pipeline: Any = Pipeline.load(PROGRAM.read_text(), compiled=False)
    # What is resubmitted a thousand times may overtake what BMv2's other threads recirculate, so it comes by itself.
    ordinary = [packet(op, v, 3) for op in range(9) for v in range(3)]
    for some in ([*ordinary, packet(RECIRCULATE, want=1000)], [packet(RESUBMIT, want=1000)]):
        same(bmv2_files.run(PROGRAM, {0: some}), ours(pipeline, {0: some}))
