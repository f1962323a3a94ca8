"""p4c's packet tests through the embedded switch, where they are found; and the language they are written in."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from esa.switch import Pipeline
from tests.p4.stf import bmv2, embedded, wired
from tests.p4.stf.entries import TableNames, entry
from tests.p4.stf.not_passed import NOT_PASSED
from tests.p4.stf.script import Add, Call, CheckCounter, Cli, Expect, Packet, ScriptError, SetDefault, parse
from tests.p4.stf.suite import PASSED, Test, find, lacking, run_embedded, sample
from tests.p4.stf.verdict import difference

PROGRAM = Path(__file__).parents[1] / "switch" / "programs" / "control_plane.json"
TABLES = [
    TableNames("In.t", "ternary", {"h.a": "ternary", "h.b": "exact", "h.c": "lpm"}, {"In.go": ("port", "tag")}),
    TableNames("In.other", "exact", {"h.$valid$": "exact"}, {"In.go": ("port", "tag"), "In.stay": ()}),
]
# Every way in which the program passes a packet on, and what it counts.
SCRIPT = """
mc_mgrp_create 1
mc_node_create 0 2
mc_node_create 3 1 2
mc_node_associate 1 0
mc_node_associate 1 1
mirroring_add 7 2
add exact_dst ethernet.dst:1 forward(port:1)
add MyIngress.exact_dst dst:2 MyIngress.multicast(group:1)
add exact_dst dst:3 mirror(port:1) = mirrored
packet 1 000000000001 000000000009 9999 aabb
expect 1 000000000001 000000000009 9999 AABB $
packet 1 000000000002 000000000009 9999
expect 2 000000000002 000000000009 9999 $
expect 1 000000000002 000000000003
expect 2 000000000002 00000000000* 9999
packet 2 000000000003 000000000009 9999
expect 2
expect 1 000000000003
setdefault exact_dst forward(port:2)
packet 2 000000000004 000000000009 9999
expect 2 000000000004
"""
COUNTS = """
check_counter port_counter(1) packets == 2
check_counter port_counter(2) bytes == 28
check_counter forward_hits(mirrored) packets == 1
"""


def test_commands_are_read() -> None:
    text = """
    # a remark
    Packet 0 01 02ab  # the rest
    expect 3 01** $
    expect 4
    add a.b 12 h.x:0x1* h$0.y:10/8 "odd name":3 a.go(port:1, tag:0xff) = A
    setdefault t[1].u stay()
    check_counter c($A) packets >= 2
    check_counter c(1)
    mc_node_create 400 6 7
    wait
    """
    assert parse(text) == (
        Packet(0, b"\x01\x02\xab"),
        Expect(3, "01**", True),
        Expect(4, None, False),
        Add(
            "a.b",
            12,
            (("h.x", "0x1*"), ("h$0.y", "10/8"), ("odd name", "3")),
            Call("a.go", (("port", "1"), ("tag", "0xff"))),
            "A",
        ),
        SetDefault("t[1].u", Call("stay", ())),
        CheckCounter("c", "$A", "packets", ">=", 2),
        Cli(("mc_node_create", "400", "6", "7")),
    )


@pytest.mark.parametrize(
    "line", ["packet 1 0g", "packet x 00", "expect 1 0z", "add t h.x", "add t h.x:1 go", "add t go(port 1)", "jump 1"]
)
def test_what_is_no_command_is_refused_by_line(line: str) -> None:
    with pytest.raises(ScriptError, match="line 2: "):
        parse(f"wait\n{line}\n")


def test_entries_have_whole_names_and_every_key() -> None:
    (added,) = parse("add t 10 h.a:0x**0a c:0x0a000000/8 go(tag:0b11, port:2)")
    assert isinstance(added, Add)
    made = entry(TABLES, added)
    assert made.match == ((0x0A, 0xFF), 0, (0x0A000000, 8))
    assert made.params == (2, 3)
    assert made.command() == "table_add In.t In.go 0xa&&&0xff 0x0 0xa000000/8 => 0x2 0x3 9990"
    (default,) = parse("setdefault other stay()")
    assert isinstance(default, SetDefault)
    assert entry(TABLES, default).command() == "table_set_default In.other In.stay"
    (valid,) = parse("add other h.valid:1 stay()")
    assert isinstance(valid, Add)
    assert entry(TABLES, valid).match == (1,)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("add none h.a:0x1 go(port:1, tag:1)", "table"),
        ("add other valid:1 run()", "action"),
        ("add other valid:1 go(port:1)", "parameters"),
        ("add other h.z:1 stay()", "key"),
        ("add t 1 h.a:5 go(port:1, tag:1)", "decimal"),
    ],
)
def test_what_the_program_has_not_is_named(line: str, named: str) -> None:
    (command,) = parse(line)
    assert isinstance(command, Add)
    with pytest.raises(ValueError, match=named):
        entry(TABLES, command)


@pytest.mark.parametrize(
    ("packets", "found"),
    [
        ([b"\x01\x2f"], None),
        ([b"\x01\x3f"], "port 1, packet 0"),
        ([b"\x01\x2f\x00"], "port 1, packet 0"),
        ([b"\x01"], "port 1, packet 0"),
        ([], "1 packets are expected, 0 left"),
    ],
)
def test_a_difference_is_named(packets: Sequence[bytes], found: str | None) -> None:
    got = difference(parse("expect 1 01 2* $"), {1: packets, 9: [b"no port of the test"]})
    assert got is None if found is None else got is not None and found in got


def test_a_script_runs_on_the_embedded_switch() -> None:
    program = json.loads(PROGRAM.read_text())
    commands = parse(SCRIPT)
    assert difference(commands, embedded.run(Pipeline.load(program, compiled=False), program, commands)) is None
    counted = parse(SCRIPT + COUNTS)
    embedded.run(Pipeline.load(program, compiled=False), program, counted)
    with pytest.raises(ValueError, match=r"port_counter\(1\): 2 packets, not == 3"):
        embedded.run(Pipeline.load(program, compiled=False), program, parse(SCRIPT + COUNTS.replace("== 2", "== 3")))


@pytest.mark.bmv2
def test_a_script_runs_on_bmv2() -> None:
    program = json.loads(PROGRAM.read_text())
    commands = parse(SCRIPT + COUNTS)
    assert difference(commands, bmv2.run(PROGRAM, program, commands)) is None
    wrong = parse(SCRIPT + COUNTS.replace("== 28", "== 36") + "packet 1 000000000009 000000000009 9999")
    with pytest.raises(ValueError, match=r"port_counter\(2\): 28 bytes, not == 36"):
        bmv2.run(PROGRAM, program, wrong)


@pytest.mark.parametrize("kind", ["embedded", "bmv2"])
def test_a_script_runs_over_veth(kind: str, root: None) -> None:
    program = json.loads(PROGRAM.read_text())
    commands = parse(SCRIPT + COUNTS)
    if kind == "bmv2":
        sent = wired.run_bmv2(PROGRAM, program, commands)
    else:
        sent = wired.run_embedded(PROGRAM, PROGRAM.with_suffix(".p4info.txt"), program, commands)
    assert difference(commands, sent) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"packet 1 {'00' * 14}\nexpect 1 00", None),
        (f"packet 1 {'00' * 13}", "a packet of 13 bytes"),
        (f"packet 1 {'00' * 14}\nexpect 1 {'00' * 13}$", "13 bytes are expected"),
    ],
)
def test_what_no_frame_carries_is_told(text: str, reason: str | None) -> None:
    found = wired.too_short(parse(text))
    assert found is None if reason is None else found is not None and found.startswith(reason)


def test_a_sample_is_spread_over_all() -> None:
    tests = [Test(str(at), Path(), Path()) for at in range(10)]
    assert [int(test.name) for test in sample(tests, 3)] == [0, 3, 6]
    assert sample(tests, 20) == tests


SAMPLES = Path(os.environ["P4C_SAMPLES"]) if "P4C_SAMPLES" in os.environ else None
LACKING = lacking(SAMPLES)


@pytest.mark.timeout(900)
@pytest.mark.skipif(bool(LACKING), reason=f"needs {LACKING}")
def test_p4cs_own_packet_tests_pass_but_those_named() -> None:
    assert SAMPLES is not None
    tests = find(SAMPLES)
    assert tests, f"{SAMPLES} has no pairs of .p4 and .stf"
    results = {test.name: run_embedded(test, Path("results/stf")) for test in tests}
    wrong = {name: f"{r.outcome}: {r.reason}" for name, r in results.items() if r.outcome != PASSED}
    assert {name: why for name, why in wrong.items() if Path(name).name not in NOT_PASSED} == {}
    passing = {name for name in results if name not in wrong}
    stale = {Path(name).name for name in passing} & set(NOT_PASSED)
    assert not stale, "these pass now: take them off tests/p4/stf/not_passed.py"
