"""The compiled program is the one in p4src/, and it is what the rest of the project says it is."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from esa import wire
from esa.policy import Aging, Emit, Preempt, Release
from esa.program import AGGREGATORS, BUILD, program

SOURCE = Path(__file__).parents[2] / "p4src"
COMPILED = {lanes: json.loads(program(lanes).json.read_text()) for lanes in wire.LANE_COUNTS}

each_build = pytest.mark.parametrize("lanes", wire.LANE_COUNTS)


def _compile_module():
    spec = importlib.util.spec_from_file_location("compile_p4", SOURCE / "compile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_compiled_files_are_of_this_source():
    recorded = (BUILD / "source.sha256").read_text().strip()
    assert recorded == _compile_module().source_hash(), "p4src changed: run `make p4` and commit esa/compiled"


def test_the_hash_sees_every_part():
    parts = set(re.findall(r'#include "(.*)"', (SOURCE / "esa.p4").read_text()))
    assert parts == {path.name for path in SOURCE.glob("*.p4")} - {"esa.p4"}


@each_build
def test_esa_header_is_wires_table(lanes):
    header = next(h for h in COMPILED[lanes]["header_types"] if h["name"] == "esa_t")
    assert [tuple(f) for f in header["fields"]] == [(f.name, f.bits, f.signed) for f in wire.FIELDS]


@each_build
def test_lanes_are_signed_32_bit_fields_in_order(lanes):
    headers = [h for h in COMPILED[lanes]["header_types"] if h["name"] == "lanes_t"]
    fields = headers[0]["fields"] if headers else []
    assert fields == [[f"v{n:02x}", 32, True] for n in range(lanes)]


@each_build
def test_register_arrays_have_one_cell_per_aggregator(lanes):
    sizes = {r["size"] for r in COMPILED[lanes]["register_arrays"]}
    assert sizes == {AGGREGATORS[lanes]} == {_compile_module().AGGREGATORS[lanes]}


def _constants(pattern: str) -> dict[str, int]:
    text = (SOURCE / "headers.p4").read_text()
    return {name: int(value, 0) for name, value in re.findall(pattern, text)}


def test_constants_are_wires():
    assert _constants(r"const kind_t KIND_(\w+)\s*= (\w+);") == {kind.name: kind for kind in wire.Kind}
    assert _constants(r"const flags_t FLAG_(\w+)\s*= (\w+);") == {flag.name: flag for flag in wire.Flag}
    assert _constants(r"const \S+\s+(ESA_(?:PORT|VERSION))\s*= (\w+);") == {
        "ESA_PORT": wire.ESA_PORT,
        "ESA_VERSION": wire.VERSION,
    }


@pytest.mark.parametrize("enum", [Preempt, Aging, Release, Emit])
def test_knobs_are_the_programs(enum):
    text = (SOURCE / "headers.p4").read_text()
    body = re.search(rf"enum bit<8> {enum.__name__}\s*{{(.*?)}}", text, re.S).group(1)
    assert {name: int(value) for name, value in re.findall(r"(\w+) = (\d+)", body)} == {k.name: k for k in enum}


class Accesses:
    """Walks a pipeline's control graph and counts, on every path, how often each register array is touched."""

    def __init__(self, compiled: dict, pipeline: str):
        self.actions = {a["id"]: a for a in compiled["actions"]}
        graph = next(p for p in compiled["pipelines"] if p["name"] == pipeline)
        self.init = graph["init_table"]
        self.nodes = {n["name"]: n for n in [*graph["tables"], *graph["conditionals"]]}
        self.worst: dict[tuple[str, str], int] = {}
        self.indices: set[str] = set()
        self._seen: set[tuple] = set()
        self._walk(self.init, frozenset())

    def _walk(self, name: str | None, counts: frozenset) -> None:
        # The same node with the same counts so far has the same future: visit once.
        if name is None or (name, counts) in self._seen:
            return
        self._seen.add((name, counts))
        node = self.nodes[name]
        if "actions" not in node:
            self._walk(node["true_next"], counts)
            self._walk(node["false_next"], counts)
            return
        successors = set(node["next_tables"].values()) | {node.get("base_default_next")}
        for action_id in node["action_ids"]:
            after = dict(counts)
            for op, array, index in self._register_operations(self.actions[action_id]):
                after[op, array] = after.get((op, array), 0) + 1
                self.worst[op, array] = max(self.worst.get((op, array), 0), after[op, array])
                self.indices.add(json.dumps(index))
            for successor in successors:
                self._walk(successor, frozenset(after.items()))

    @staticmethod
    def _register_operations(action: dict):
        for primitive in action["primitives"]:
            parameters = primitive["parameters"]
            if primitive["op"] == "register_read":
                yield "read", parameters[1]["value"], parameters[2]
            elif primitive["op"] == "register_write":
                yield "write", parameters[0]["value"], parameters[1]


@each_build
def test_each_register_is_read_once_and_written_once_at_one_index(lanes):
    ingress = Accesses(COMPILED[lanes], "ingress")
    arrays = {r["name"] for r in COMPILED[lanes]["register_arrays"]}
    assert {array for _, array in ingress.worst} == arrays
    assert set(ingress.worst.values()) == {1}
    assert len(ingress.indices) == 1
    assert not Accesses(COMPILED[lanes], "egress").worst


def test_the_walk_would_notice_a_second_read():
    doubled = json.loads(json.dumps(COMPILED[0]))
    for action in doubled["actions"]:
        reads = [p for p in action["primitives"] if p["op"] == "register_read"]
        action["primitives"] += reads[:1]
    assert max(Accesses(doubled, "ingress").worst.values()) == 2


def test_hash_changes_with_the_source(tmp_path: Path):
    copy = tmp_path / "p4src"
    copy.mkdir()
    for path in [*SOURCE.glob("*.p4"), SOURCE / "compile.py"]:
        (copy / path.name).write_bytes(path.read_bytes())
    spec = importlib.util.spec_from_file_location("compile_copy", copy / "compile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before = module.source_hash()
    assert before == _compile_module().source_hash()
    (copy / "policy.p4").write_text("// changed\n")
    assert module.source_hash() != before
