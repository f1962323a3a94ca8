"""A program is data from outside that becomes code: no name or value in it may become a statement of its own."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esa.switch import AssertionFailed, Pipeline, UnsupportedError
from esa.switch.compiler.bmv2json import load_program
from esa.switch.compiler.codegen import generate
from esa.switch.compiler.screen import screen
from tests.effort import tries
from tests.switch.mutation import mutate_json

PROGRAMS = Path(__file__).parent / "programs"
WIDE = ("chosen", "indexed", "ipv6", "kept", "members", "unions", "varbit", "wide")
HOSTILE = [
    'x"""\nimport os\nos.mkdir("{there}")\n"""',
    "x'''\n__import__('os').mkdir('{there}')",
    "x\\",
    'x"',
    "x\n__import__('os').mkdir('{there}')",
    "{{decorators}}",
    "x): pass\n__import__('os').mkdir('{there}') #",
    "ﬁ⁵ª\u2028\u0000",
    "def",
    "__import__",
    "",
]


def document(name: str) -> dict[str, Any]:
    root: dict[str, Any] = json.loads((PROGRAMS / f"{name}.json").read_text())
    return root


def renamed(root: Any, old: str, new: str) -> Any:
    """The document with every string `old`, as value or key, replaced."""
    if isinstance(root, dict):
        return {new if key == old else key: renamed(value, old, new) for key, value in root.items()}
    if isinstance(root, list):
        return [renamed(value, old, new) for value in root]
    return new if root == old else root


def names(root: dict[str, Any]) -> dict[str, str]:
    """One name of each kind that the program lets a stranger choose."""
    tables = [table for pipeline in root["pipelines"] for table in pipeline["tables"]]
    conditions = [condition for pipeline in root["pipelines"] for condition in pipeline["conditionals"]]
    own = [kind for kind in root["header_types"] if kind["name"] not in ("scalars_0", "standard_metadata")]
    found: dict[str, list[str]] = {
        "program": [root["program"]],
        "action": [action["name"] for action in root["actions"] if action["runtime_data"] and "." in action["name"]],
        "parameter": [param["name"] for action in root["actions"] for param in action["runtime_data"]],
        "state": [root["parsers"][0]["parse_states"][-1]["name"]],
        "table": [table["name"] for table in tables if table["key"]],
        "key": [key["name"] for table in tables for key in table["key"]],
        "condition": [condition["name"] for condition in conditions],
        "header": [header["name"] for header in root["headers"] if header["header_type"] in {k["name"] for k in own}],
        "field": [field[0] for kind in own for field in kind["fields"] if not field[0].startswith("_padding")],
        "register": [register["name"] for register in root["register_arrays"]],
        "counter": [counter["name"] for counter in root["counter_arrays"]],
        "profile": [each["name"] for pipeline in root["pipelines"] for each in pipeline.get("action_profiles", ())],
        "value_set": [each["name"] for each in root["parse_vsets"]],
        "digest": [each["name"] for each in root["learn_lists"]],
        "meter": [meter["name"] for meter in root["meter_arrays"]],
        "calculation": [calculation["name"] for calculation in root["calculations"]],
    }
    return {kind: there[0] for kind, there in found.items() if there}


KINDS = names(document("features"))
CASES = [("features", kind) for kind in KINDS]
for _name in ("control_plane", "digests", "meters", "selectors", "value_sets"):
    CASES += [(_name, kind) for kind in names(document(_name)) if kind not in {known for _, known in CASES}]


@pytest.mark.parametrize(
    ("name", "kind"), [*CASES[:1], *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES[1:])]
)
def test_a_name_is_never_code(name: str, kind: str, tmp_path: Path) -> None:
    root = document(name)
    packet = bytes(range(64))
    expected = Pipeline.load(copy.deepcopy(root), compiled=False).process(1, packet)
    for text in HOSTILE:
        hostile = text.format(there=tmp_path / "there")
        try:
            pipeline = Pipeline.load(renamed(root, names(root)[kind], hostile), compiled=False)
        except UnsupportedError:
            continue
        assert pipeline.process(1, packet) == expected
        assert pipeline.source.isascii()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("offset", ["__import__('os').system('true')", "0", 1.5, -8, None, [0]])
def test_a_number_is_a_number(offset: Any) -> None:
    root = document("features")
    state = root["parsers"][0]["parse_states"][0]
    state["transition_key"] = [{"type": "lookahead", "value": [offset, 8]}]
    state["transitions"] = [{"type": "default", "value": None, "mask": None, "next_state": None}]
    with pytest.raises(UnsupportedError, match="lookahead"):
        Pipeline.load(root, compiled=False)


@pytest.mark.parametrize(
    "name",
    [
        "groups",
        "cells",
        "lost",
        "clones",
        "random",
        "cursor",
        "largest_group",
        "buffer",
        "given_up",
        "log",
        "log_records",
    ],
)
def test_a_part_may_have_a_name_that_the_target_uses(name: str) -> None:
    root = document("control_plane")
    pipeline = Pipeline.load(renamed(root, root["register_arrays"][0]["name"], name), compiled=False)
    expected = Pipeline.load(root, compiled=False)
    for one in (pipeline, expected):
        one.multicast.set(1, [(1, 1), (2, 7)])
    assert pipeline.process(1, bytes(range(64))) == expected.process(1, bytes(range(64)))


def test_names_that_become_one_are_refused() -> None:
    root = document("features")
    states = root["parsers"][0]["parse_states"]
    twins = {states[-1]["name"]: "a.b", states[-2]["name"]: "a_b"}
    for old, new in twins.items():
        root = renamed(root, old, new)
    with pytest.raises(UnsupportedError, match="names that become one: state_a_b"):
        Pipeline.load(root, compiled=False)


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "X = open",
        "X = 1\nX()",
        "@compiled\ndef step(f):\n    __import__('os')",
        "@compiled\ndef step(f):\n    return f.__class__",
        "@compiled\ndef step(f):\n    return [k for k in f]",
        "@compiled\ndef step(f):\n    return (lambda: 0)()",
        "@print\ndef step(f):\n    return 0",
        "@compiled\ndef step(f):\n    return open('x')",
        "@compiled\ndef step(f):\n    return np.fromfile",
        "@compiled\ndef step(f=print(1)):\n    import os",
        "@compiled\nclass Step:\n    pass",
        "@compiled\ndef step(f):\n    return f'{f}'",
    ],
)
def test_the_last_look_refuses_what_is_not_arithmetic(text: str) -> None:
    with pytest.raises(UnsupportedError):
        screen(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_program_logs_is_never_code(text: str, tmp_path: Path) -> None:
    root = renamed(document("idioms"), "nothing to do", text.format(there=tmp_path / "made"))
    said: list[str] = []
    if "{" in text.format(there="there"):
        with pytest.raises(UnsupportedError, match="places for"):
            Pipeline.load(root, compiled=False)
    else:
        pipeline = Pipeline.load(root, compiled=False)
        pipeline.on_message(said.append)
        pipeline.process(1, bytes([1, 1, *bytes(20)]))
        assert len(said) == 1
    assert list(tmp_path.iterdir()) == []


@settings(derandomize=True, max_examples=tries(80), deadline=None, suppress_health_check=list(HealthCheck))
@given(rng=st.randoms(use_true_random=False), name=st.sampled_from(WIDE))
def test_any_program_is_refused_or_takes_packets(rng: random.Random, name: str) -> None:
    """Plain Python finds words beyond the program's own, which machine code would not."""
    root = document(name)
    for _ in range(rng.randint(1, 3)):
        mutate_json(root, rng)
    try:
        pipeline = Pipeline.load(root, compiled=False)
    except UnsupportedError:
        return
    for _ in range(6):
        packet = bytes([rng.randrange(14), rng.randrange(4)]) + bytes(rng.choices(range(6), k=rng.randrange(80)))
        with contextlib.suppress(AssertionFailed):
            pipeline.process(rng.randrange(4), packet)


def test_what_the_generator_writes_passes() -> None:
    names = "arithmetic checksums control_plane copies features idioms lanes-4 matches meters passes selectors"
    for name in (*names.split(), *WIDE):
        generate(load_program(document(name)))
