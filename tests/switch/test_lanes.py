"""Runs of primitives that differ in the lane alone become loops over one contiguous row."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esa.switch import Pipeline
from esa.switch.compiler.bmv2json import load_program
from esa.switch.compiler.lanes import find_runs
from tests.switch.aggregation import fill, packet, values

PROGRAMS = Path(__file__).parent / "programs"


def text(lanes: int) -> str:
    return (PROGRAMS / f"lanes-{lanes}.json").read_text()


@pytest.mark.slow
def test_the_text_does_not_grow_with_the_lanes() -> None:
    few, many = (Pipeline.load(text(lanes), compiled=False).source for lanes in (4, 64))
    assert abs(len(few.splitlines()) - len(many.splitlines())) < 100
    assert many.count("for i in range(lanes(64)):") >= 5


def test_a_slots_lanes_lie_together() -> None:
    pipeline = Pipeline.load(text(64), compiled=False)
    places = [pipeline.layout.registers[f"I.lane_{lane}"] for lane in range(64)]
    assert [place.offset - places[0].offset for place in places] == list(range(64))
    assert {place.stride for place in places} == {64}
    assert places[0].offset % 16 == 0
    pipeline.registers["I.lane_7"].write(5, 1234)
    assert pipeline.registers["I.lane_7"].read(5) == 1234
    assert int(pipeline.state.m32[places[0].offset + 5 * 64 + 7]) == 1234
    assert pipeline.registers["I.lane_8"].read_all().sum() == 0


def shuffled(program: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The same program with registers and temporaries declared in another order."""
    rng.shuffle(program["register_arrays"])
    for header in program["header_types"]:
        if header["name"].startswith("scalars"):
            rng.shuffle(header["fields"])
    return program


def test_runs_are_found_whatever_the_order_of_declaration() -> None:
    program = shuffled(json.loads(text(64)), random.Random(3))
    pipeline = Pipeline.load(program, compiled=False)
    assert pipeline.source.count("for i in range(lanes(64)):") >= 5
    places = [pipeline.layout.registers[f"I.lane_{lane}"].offset for lane in range(64)]
    assert np.ptp(places) == 63


def test_no_run_where_lanes_are_out_of_step() -> None:
    program = json.loads(text(4))
    action = next(a for a in program["actions"] if a["name"] == "I.seat")
    one, two, three, four = (action["primitives"][at : at + 2] for at in (0, 2, 4, 6))
    action["primitives"] = [*one, *three, *two, *four]
    typed = load_program(program)
    layout = Pipeline.load(program, compiled=False).layout
    body = next(a for a in typed.actions.values() if a.name == "I.seat").primitives
    runs = find_runs(body, typed, layout.position)
    assert not runs


@pytest.mark.parametrize("compiled", [False, True])
def test_sums_and_swaps(compiled: bool) -> None:
    lanes = 4
    pipeline = fill(Pipeline.load(text(lanes), compiled=compiled))
    first, second = [5, -7, 2**31 - 2, -(2**31)], [-9, -8, 100, -100]
    assert pipeline.process(1, packet(0, 3, first)) == []
    copies = pipeline.process(2, packet(1, 3, second))
    assert [port for port, _ in copies] == [1, 2]
    want = [-4, -15, 2**31 - 1, -(2**31)]
    assert [values(copy, lanes) for _, copy in copies] == [want, want]
    assert copies[0][1][:6].hex() == "0000aabb0001"
    # another sequence number on the same slot: priority decides who stays
    assert pipeline.process(1, packet(0, 4, first)) == []
    ((port, partial),) = pipeline.process(2, packet(1, 1028, second, priority=9))
    assert port == 9
    assert values(partial, lanes) == first
    assert [pipeline.registers[f"I.lane_{lane}"].read(4) for lane in range(lanes)] == [v % 2**32 for v in second]
    assert pipeline.counters["I.seen"].packets[7] == 4
    assert pipeline.counters["I.collided"].bytes[7] == len(packet(1, 1028, second))


def test_a_slot_beyond_the_registers_touches_nothing() -> None:
    pipeline = fill(Pipeline.load(text(4)), mask=0xFFFFFFFF)
    before = pipeline.state.m32.copy()
    for index in (1024, 2**31, 2**32 - 1):
        pipeline.process(1, packet(0, index, [1, 2, 3, 4]))
    assert (pipeline.state.m32 == before).all()


def test_random_traffic_sums_exactly() -> None:
    rng = random.Random(5)
    pipeline = fill(Pipeline.load(text(64)))
    for seq in range(50):
        one, other = ([rng.randint(-(2**30), 2**30 - 1) for _ in range(64)] for _ in range(2))
        assert pipeline.process(1, packet(0, seq, one)) == []
        copies = pipeline.process(2, packet(1, seq, other))
        assert len(copies) == 2
        assert values(copies[1][1], 64) == [a + b for a, b in zip(one, other, strict=True)]
        assert struct.unpack(">H", copies[1][1][24:26])[0] != 0  # the IPv4 checksum is there


@pytest.mark.parametrize("compiled", [False, True])
def test_an_if_per_lane_is_an_if_in_the_loop(compiled: bool) -> None:
    program = json.loads(text(4))
    action = next(a for a in program["actions"] if a["name"] == "I.seat")
    guarded: list[Any] = []
    for lane in range(4):
        value = {"type": "field", "value": ["v", f"v{lane}"]}
        after = {"type": "hexstr", "value": hex(len(guarded) + 3)}
        guarded += [{"op": "_jump_if_zero", "parameters": [value, after]}]
        guarded += action["primitives"][2 * lane : 2 * lane + 2]
    action["primitives"] = guarded
    pipeline = fill(Pipeline.load(program, compiled=compiled))
    assert "for i in range(4):" in pipeline.source[pipeline.source.index("def action_I_seat") :][:200]
    for lane in range(4):
        pipeline.registers[f"I.lane_{lane}"].write(3, 99)
    pipeline.process(1, packet(0, 3, [5, 0, -1, 0]))
    assert [pipeline.registers[f"I.lane_{lane}"].read(3) for lane in range(4)] == [5, 99, 2**32 - 1, 99]
