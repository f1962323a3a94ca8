"""Packet traces: they tell what happens, and what happens is what happens without them."""

from __future__ import annotations

import copy
import json
import random
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from esa.switch import AssertionFailed, Group, Member, PacketBatch, Pipeline, TableError, UnsupportedError
from esa.switch.runtime.profiles import IndirectTable
from esa.switch.runtime.queue_limits import QueueLimit
from esa.switch.runtime.queues import Queues, split
from tests.effort import tries
from tests.switch.aggregation import fill, packet
from tests.switch.mutation import mutate_json
from tests.switch.random_programs import Program
from tests.switch.test_queues import Switch
from tests.switch.test_random_programs import COMPILER
from tests.switch.traffic import arithmetic_packets, feature_packets

PROGRAMS = Path(__file__).parent / "programs"
GOLDEN = Path(__file__).parent / "traced.txt"
NAMES = sorted(path.stem for path in PROGRAMS.glob("*.json"))
ESA = Path(__file__).parents[2] / "esa" / "compiled" / "esa-64.json"


def load(name: str) -> Pipeline:
    return Pipeline.load((PROGRAMS / f"{name}.json").read_text(), compiled=False)


def match(rng: random.Random, kind: str, bits: int) -> Any:
    value = rng.choice([0, 1, 2, rng.getrandbits(bits)]) & ((1 << bits) - 1)
    if kind in ("exact", "valid"):
        return value
    if kind == "lpm":
        return value, rng.randint(0, bits)
    if kind == "range":
        return value, rng.randint(value, (1 << bits) - 1)
    return value if kind == "optional" else (value, rng.choice([0, (1 << bits) - 1, rng.getrandbits(bits)]))


def set_up(pipeline: Pipeline, seed: int) -> None:
    """Entries, members, groups and sessions, as the seed says."""
    rng = random.Random(seed)
    actions = {action.name: action for action in pipeline.program.actions.values()}

    def chosen(names: tuple[str, ...]) -> tuple[str, list[int]]:
        name = rng.choice(names)
        return name, [rng.choice([1, 2, 3]) & ((1 << bits) - 1) for _, bits in actions[name].params]

    for profile in pipeline.action_profiles.values():
        members = [profile.add_member(*chosen(profile.actions)) for _ in range(4)]
        if profile.selects:
            profile.add_group(members[:2])
            profile.add_group(members)
    for table in pipeline.tables.values():
        if table.const or not table.key:
            continue
        for at in range(3):
            wanted = [match(rng, key.match_type, key.bits) for key in table.key]
            action, params = chosen(table.actions)
            if isinstance(table, IndirectTable):
                selects = pipeline.action_profiles[table.profile.name].selects
                action, params = Group(rng.randrange(2)) if selects and at else Member(at), []
            try:
                table.add(wanted, action, params, at + 1 if table.needs_priority else 0)
            except TableError:
                continue  # there is such an entry already
    pipeline.multicast.set(1, [(1, 1), (2, 7), (3, 7)])
    if pipeline.clone_sessions is not None:
        pipeline.clone_sessions.set(5, [(2, 0), (3, 4)])


@cache
def pair(name: str) -> tuple[Pipeline, Pipeline]:
    both = load(name), load(name)
    for pipeline in both:
        set_up(pipeline, 7)
    return both


def run(pipeline: Pipeline, port: int, one: bytes, now_us: int) -> Any:
    try:
        return tuple(pipeline.process(port, one, now_us))
    except AssertionFailed:
        return ()


def same_state(one: Pipeline, other: Pipeline) -> None:
    """All but the words of log_msg, which a traced program has no need of."""
    assert (one.state.m32 == other.state.m32).all()
    end = one.layout.log if one.layout.messages else None
    assert np.array_equal(one.state.m64[:end], other.state.m64[:end])


SMALL = st.lists(st.integers(0, 8), max_size=60).map(bytes)


@pytest.mark.parametrize("name", NAMES)
@given(packets=st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=90) | SMALL), min_size=1, max_size=3))
@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_a_traced_packet_does_what_it_does_untraced(name: str, packets: list[tuple[int, bytes]]) -> None:
    plain, traced = pair(name)
    for at, (port, one) in enumerate(packets):
        assert traced.trace(port, one, at).packets == run(plain, port, one, at)
    same_state(plain, traced)


@pytest.mark.parametrize("name", ["arithmetic", "features"])
def test_packets_that_pass_every_part_of_a_program_do_the_same_traced(name: str) -> None:
    rng = random.Random(3)
    packets = arithmetic_packets(rng, 25) if name == "arithmetic" else feature_packets(rng, 40)
    plain, traced = load(name), load(name)
    for pipeline in (plain, traced):
        pipeline.multicast.set(1, [(1, 1), (2, 7), (3, 7)])
    for at, one in enumerate(packets):
        assert traced.trace(0, one, at).packets == tuple(plain.process(0, one, at)), at
    same_state(plain, traced)


def test_a_traced_aggregation_is_the_compiled_one() -> None:
    text = (PROGRAMS / "lanes-4.json").read_text()
    native, traced = fill(Pipeline.load(text)), fill(Pipeline.load(text))
    for seq in range(3):
        for worker in range(2):
            one = packet(worker, seq, [seq, -worker, 1 << 30, -5])
            assert traced.trace(worker + 1, one).packets == tuple(native.process(worker + 1, one))
    same_state(native, traced)


def test_the_esa_program_can_be_traced() -> None:
    trace = Pipeline.load(ESA.read_text(), compiled=False).trace(1, bytes(60))
    assert trace.packets == ()
    assert trace.steps[-1].text == "dropped at the end of the ingress"


def traced_program() -> Pipeline:
    pipeline = load("traced")
    pipeline.multicast.set(9, [(1, 1), (2, 7)])
    assert pipeline.clone_sessions is not None
    pipeline.clone_sessions.set(5, [(6, 3)])
    route = pipeline.tables["I.route"]
    route.add(((0x020000000000, 8), 1), "I.to", (2, 0))
    route.add(((0x020000000000, 8), 3), "I.to", (3, 77))
    route.add(((0x020000000000, 16), 2), "I.flood", (9,))
    return pipeline


def frame(kind: int, type_: int = 0x9001) -> bytes:
    addresses = bytes.fromhex("020000000005020000000006")
    return addresses + type_.to_bytes(2, "big") + bytes([kind, 0, 0, 0]) + b"payload"


@pytest.mark.supports("programs: packet traces, step by step")
def test_the_text_of_a_trace(request: pytest.FixtureRequest) -> None:
    """traced.txt is what a person has read: a miss, a clone, a digest and a group, another pass, errors of a parser."""
    pipeline = traced_program()
    packets = [*map(frame, (0, 1, 2, 3, 7)), frame(0, 0x0800), frame(0)[:16]]
    text = "\n".join(str(pipeline.trace(4, each, 10 * at)) for at, each in enumerate(packets)) + "\n"
    assert text == GOLDEN.read_text()


def test_messages_are_told_at_their_place_and_to_who_listens() -> None:
    pipeline, heard = traced_program(), []
    pipeline.on_message(heard.append)
    kinds = [step.kind for step in pipeline.trace(4, frame(2)).steps]
    assert heard == ["packet 0 of kind 2"]
    assert kinds.index("primitive") < kinds.index("log") < kinds.index("table")


def test_every_packet_is_traced_until_it_is_enough() -> None:
    plain, pipeline, lines = traced_program(), traced_program(), []
    pipeline.trace_to(lines.append)
    assert pipeline.process(4, frame(3)) == plain.process(4, frame(3))
    pipeline.trace_to(None)
    before = len(lines)
    assert pipeline.process(4, frame(3)) == plain.process(4, frame(3))
    assert lines[0] == "packet 1 at 0.000000 s: 25 bytes on port 4\n"
    assert len(lines) == before
    same_state(plain, pipeline)


def test_a_failed_assertion_is_a_step() -> None:
    root = json.loads((PROGRAMS / "passes.json").read_text())
    what, zero = {"type": "field", "value": ["h", "what"]}, {"type": "hexstr", "value": "0x00"}
    equal = {"type": "expression", "value": {"op": "==", "left": what, "right": zero}}
    asserted = {"type": "expression", "value": equal}
    for action in root["actions"]:
        action["primitives"].append({"op": "assert", "parameters": [asserted]})
    pipeline = Pipeline.load(root, compiled=False)
    assert len(pipeline.trace(0, bytes(8)).packets) == 1
    trace = pipeline.trace(0, b"\x05" + bytes(7))
    assert (trace.packets, trace.steps[-1].text) == ((), "dropped: an assert() or assume() does not hold")


def test_both_halves_of_a_program_with_queues_are_traced() -> None:
    plain, traced = (
        Switch((PROGRAMS / "passes.json").read_text(), {1: QueueLimit(rate_pps=1000, depth=2)}) for _ in range(2)
    )
    lines: list[str] = []
    traced.pipeline.trace_to(lines.append)
    first = bytes([2, 0, 0, 0, 0, 0, 0, 0]), bytes(8)
    assert traced.turn(1_000_000, *first) == plain.turn(1_000_000, *first)
    assert traced.drain() == plain.drain()
    heads = [line.strip() for line in lines if ("packet " in line and "bytes" not in line) or "queue" in line]
    assert heads == [
        "to the queue of port 1",
        "to the queue of port 1",
        "packet 1 at 0.001000 s: waited 0 us, 0 before it",
        "packet 2 at 0.002000 s: waited 1000 us, 0 before it",
    ]
    traced.turn(10_000_000, *[bytes(8)] * 4)
    assert "packet 6: dropped, no queue of its port has its priority, or room\n" in lines
    assert len(traced.pipeline.trace(0, bytes(8)).packets) == 1  # no queue holds this one up


def test_a_name_cannot_write_to_the_terminal() -> None:
    text = (PROGRAMS / "traced.json").read_text().replace("I.route", "I.ro\\u001b[31mute").replace("h.eth.dst", "\\n")
    lines = str(Pipeline.load(text, compiled=False).trace(0, frame(1))).split("\n")
    assert any("I.ro?[31mute" in line and "key ? = 0x20000000005" in line for line in lines)


@settings(derandomize=True, max_examples=tries(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(rng=st.randoms(use_true_random=False), name=st.sampled_from(["features", "idioms", "members", "traced", "wide"]))
def test_any_program_that_takes_packets_is_traced(rng: random.Random, name: str) -> None:
    root = json.loads((PROGRAMS / f"{name}.json").read_text())
    for _ in range(rng.randint(1, 3)):
        mutate_json(root, rng)
    try:
        plain, traced = (Pipeline.load(copy.deepcopy(root), compiled=False) for _ in range(2))
    except UnsupportedError:
        return
    for at in range(4):
        one = bytes([rng.randrange(14), rng.randrange(4)]) + bytes(rng.choices(range(6), k=rng.randrange(80)))
        assert traced.trace(at, one, at).packets == run(plain, at, one, at)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"needs {COMPILER} on the PATH")
@pytest.mark.parametrize("seed", [5, 29])
def test_a_random_program_is_traced(seed: int, tmp_path: Path) -> None:
    made = Program(seed)
    source, compiled = tmp_path / "program.p4", tmp_path / "program.json"
    source.write_text(made.text)
    subprocess.run([COMPILER, "-o", str(compiled), str(source)], check=True, capture_output=True, timeout=60)
    plain, traced = (Pipeline.load(compiled.read_text(), compiled=False) for _ in range(2))
    for at in range(20):
        one = made.packet()
        assert traced.trace(0, one, at).packets == run(plain, 0, one, at)
    same_state(plain, traced)


def test_a_traced_program_may_be_split_at_queues() -> None:
    pipeline, lines = load("passes"), []
    pipeline.trace_to(lines.append)
    split(pipeline)
    queues, batch, out = Queues(pipeline, {}, frame_bytes=64, batch=8), PacketBatch(1, 64), PacketBatch(8, 64)
    batch.append(0, bytes(8))
    assert queues.turn(batch, 0, 0, out) == 1
    assert any("to the queue of port 1" in line for line in lines)
    assert len(pipeline.process(0, bytes(8))) == 1
