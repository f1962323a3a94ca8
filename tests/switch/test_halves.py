"""Headers of lanes take half a cell per field, and do what they do in whole cells; machine code moves bytes as said."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit

from esa.switch import Pipeline
from esa.switch.compiler import codegen, memory_helpers
from esa.switch.compiler.machine import MACHINE
from tests.switch.aggregation import fill, packet

PROGRAM = Path(__file__).parent / "programs" / "lanes-64.json"
EDGES = (0, 1, -1, 2**31 - 1, -(2**31), 2**15, 2**7, -(2**15))


def program(bits: int = 32, signed: bool = True) -> dict[str, Any]:
    """The program, its lanes of another type."""
    root: dict[str, Any] = json.loads(PROGRAM.read_text())
    lanes = next(each for each in root["header_types"] if each["name"] == "lanes_t")
    lanes["fields"] = [[name, bits, signed] for name, *_ in lanes["fields"]]
    return root


def seat(root: dict[str, Any]) -> list[dict[str, Any]]:
    """The primitives of the action that writes the lanes to a row."""
    found: list[dict[str, Any]] = next(a for a in root["actions"] if a["name"] == "I.seat")["primitives"]
    return found


def answers(pipeline: Pipeline, seed: int) -> list[Any]:
    """What leaves for packets of two workers on a few rows, and the registers in the end."""
    rng, out = random.Random(seed), []
    for _ in range(60):
        lanes = [rng.choice(EDGES) if rng.random() < 0.3 else rng.randint(-(2**31), 2**31 - 1) for _ in range(64)]
        worker = rng.randrange(2)
        given = packet(worker, rng.choice((1, 2, 1026)), lanes, priority=rng.randrange(1, 9))
        out.append(pipeline.process(worker + 1, given))
    return [*out, *(register.read_all().tolist() for register in pipeline.registers.values())]


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "signed"), [(32, True), (32, False), (16, True), (16, False), (8, True)])
def test_half_a_cell_holds_what_a_cell_does(bits: int, signed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    halves = fill(Pipeline.load(program(bits, signed), compiled=False))
    monkeypatch.setattr(codegen, "halved_headers", lambda program: frozenset())
    cells = fill(Pipeline.load(program(bits, signed), compiled=False))
    assert len(halves.layout.halves) == 64
    assert not cells.layout.halves
    assert halves.layout.n_cells == cells.layout.n_cells - 32
    assert answers(halves, bits) == answers(cells, bits)


def test_what_else_is_done_with_a_lane_takes_whole_cells() -> None:
    root = program()
    seat(root).append({"op": "add_header", "parameters": [{"type": "header", "value": "v"}]})
    pipeline = fill(Pipeline.load(root, compiled=False))
    assert not pipeline.layout.halves
    assert answers(pipeline, 7) == answers(fill(Pipeline.load(program(), compiled=False)), 7)


def test_what_lives_inside_a_pass_of_a_loop_is_no_part_of_the_packet() -> None:
    layout = Pipeline.load(program(), compiled=False).layout
    assert layout.passing >= 64
    assert layout.n_cells < 250


def test_a_temporary_that_is_read_after_its_loop_is_kept() -> None:
    root = program()
    primitives = seat(root)
    temporary, last = primitives[2 * 5]["parameters"][0], copy.deepcopy(primitives[1])
    last["parameters"][2] = temporary
    primitives.append(last)
    pipeline = fill(Pipeline.load(root, compiled=False))
    pipeline.process(1, packet(0, 3, list(range(100, 164))))
    assert [pipeline.registers[f"I.lane_{lane}"].read(3) for lane in (0, 1, 5)] == [105, 101, 105]


def _moves(names: dict[str, Any]) -> Any:
    """Every function once, of those that Python or machine code are given for."""
    be8, be16, be32, be48, be64 = (names[f"be{bits}"] for bits in (8, 16, 32, 48, 64))
    put8, put16, put32, put48, put64 = (names[f"put{bits}"] for bits in (8, 16, 32, 48, 64))
    int32s, uint32s, copy_bytes, copy_cells = (names[x] for x in ("int32s", "uint32s", "copy_bytes", "copy_cells"))
    load_be32s, store_be32s, lanes, ask_for = (names[x] for x in ("load_be32s", "store_be32s", "lanes", "ask_for"))

    def move(rows: Any, f: Any, g: Any, out: Any) -> None:
        pkt = rows[1]
        f[0], f[1], f[2], f[3], f[4] = be8(pkt, 3), be16(pkt, 5), be32(pkt, 7), be48(pkt, 11), be64(pkt, 17)
        put8(out, 0, f[3])
        put16(out, 1, f[3])
        put32(out, 3, f[3])
        put48(out, 7, f[4])
        put64(out, 13, f[4])
        load_be32s(f, 12, pkt, 1, 19)
        store_be32s(out, 21, f, 12, 19)
        for i in range(lanes(8)):
            f[20 + i] = np.int64(int32s(f)[12 + i]) + np.int64(uint32s(f)[12 + i])
        copy_bytes(out, 100, pkt, 2, 37)
        copy_bytes(out, 99, pkt, 2, -1)
        copy_cells(g, f, 27)
        ask_for(rows, 1, 500)
        ask_for(rows, 2, 64)  # there is no such row

    return move


def test_machine_code_does_what_its_python_says() -> None:
    rng = np.random.default_rng(2)
    rows = rng.integers(0, 256, (2, 200)).astype(np.uint8)
    found = []
    with np.errstate(over="ignore"):
        for move in (_moves(vars(memory_helpers)), njit(nogil=True, _nrt=False)(_moves(MACHINE))):
            f, g, out = np.zeros(40, np.int64), np.zeros(40, np.int64), np.zeros(200, np.uint8)
            move(rows, f, g, out)
            found.append((f.tolist(), g.tolist(), out.tolist()))
    assert found[0] == found[1]
    assert MACHINE.keys() == memory_helpers.MACHINE
