"""A loaded program: packets, batches, groups, counters, registers, and the cache of compiled code."""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path

import numba
import numpy as np
import pytest

from esa.switch import AssertionFailed, PacketBatch, Pipeline
from tests.switch.aggregation import fill, packet
from tests.switch.traffic import arithmetic_packets, feature_packets

PROGRAMS = Path(__file__).parent / "programs"


def load(name: str, compiled: bool = True) -> Pipeline:
    return Pipeline.load((PROGRAMS / f"{name}.json").read_text(), compiled=compiled)


@pytest.mark.parametrize("name", ["arithmetic", "features", "passes"])
def test_compiled_and_plain_agree(name: str) -> None:
    rng = random.Random(11)
    packets = {
        "arithmetic": arithmetic_packets(rng, 60),
        "features": feature_packets(rng, 120),
        "passes": [bytes([rng.randrange(6), 0, 0, 0, 0, 0, 0, 0]) + rng.randbytes(9) for _ in range(40)],
    }[name]
    both = [load(name, compiled=compiled) for compiled in (False, True)]
    for pipeline in both:
        pipeline.multicast.set(1, [(1, 1), (2, 7), (3, 7)])
        if pipeline.clone_sessions is not None:
            pipeline.clone_sessions.set(5, [(2, 0), (3, 4)])
    for at, one in enumerate(packets):
        plain, native = (pipeline.process(0, one, timestamp_us=at) for pipeline in both)
        assert plain == native, at
    assert (both[0].state.m32 == both[1].state.m32).all()
    assert (both[0].state.m64 == both[1].state.m64).all()


def test_a_batch_stops_before_its_output_is_full() -> None:
    pipeline = fill(load("lanes-4"))
    batch, out = PacketBatch(16), PacketBatch(4)
    for seq in range(4):
        for worker in range(2):
            batch.append(worker + 1, packet(worker, seq, [1, 2, 3, 4]))
    first, copies = 0, 0
    while first < batch.count:
        copies += pipeline.process_batch(batch, 0, out, first)
        assert out.count <= 4
        first = batch.done
    assert copies == 8
    assert pipeline.lost == 0


@pytest.mark.supports("copies: multicast")
def test_copies_leave_in_the_order_of_instance_then_port() -> None:
    pipeline = fill(load("lanes-4"))
    pipeline.multicast.set(5, [(9, 2), (3, 2), (8, 1)])
    assert pipeline.multicast.get(5) == [(8, 1), (3, 2), (9, 2)]
    pipeline.process(1, packet(0, 0, [1, 2, 3, 4]))
    assert [port for port, _ in pipeline.process(2, packet(1, 0, [1, 2, 3, 4]))] == [8, 3, 9]
    pipeline.multicast.delete(5)
    assert pipeline.multicast.ids() == []
    pipeline.process(1, packet(0, 1, [1, 2, 3, 4]))
    assert pipeline.process(2, packet(1, 1, [1, 2, 3, 4])) == []
    with pytest.raises(ValueError, match="twice"):
        pipeline.multicast.set(5, [(1, 1), (1, 1)])
    with pytest.raises(KeyError):
        pipeline.multicast.delete(6)


def test_reset_brings_back_the_state_after_loading() -> None:
    pipeline = load("lanes-4")
    fresh = pipeline.state.m32.copy(), pipeline.state.m64.copy()
    fill(pipeline)
    for worker in range(2):
        pipeline.process(worker + 1, packet(worker, 0, [1, 2, 3, 4]))
    pipeline.reset()
    assert (pipeline.state.m32 == fresh[0]).all()
    assert not any(len(t) for t in pipeline.tables.values() if not t.const)
    assert all(counter.packets.sum() == 0 for counter in pipeline.counters.values())
    assert pipeline.process(1, packet(0, 0, [1, 2, 3, 4])) == []


def test_packets_longer_than_the_batch_are_refused_and_short_ones_pass() -> None:
    pipeline = load("arithmetic")
    with pytest.raises(ValueError, match="does not fit"):
        pipeline.process(0, bytes(20000))
    assert len(pipeline.process(0, b"")) == 1  # too short for its header: a parser error, not a drop
    assert len(pipeline.process(0, bytes(range(20)))) == 1


@pytest.mark.supports("externs: assert and assume")
def test_an_assert_that_fails_drops_the_packet_and_is_told() -> None:
    root = json.loads((PROGRAMS / "passes.json").read_text())
    condition = {
        "op": "==",
        "left": {"type": "field", "value": ["h", "what"]},
        "right": {"type": "hexstr", "value": "0x00"},
    }
    check = {"type": "expression", "value": {"type": "expression", "value": condition}}
    for action in root["actions"]:
        action["primitives"].append({"op": "assert", "parameters": [check]})
    for compiled in (False, True):
        pipeline = Pipeline.load(root, compiled=compiled)
        assert len(pipeline.process(0, bytes(8))) == 1
        with pytest.raises(AssertionFailed, match="dropped"):
            pipeline.process(0, b"\x09" + bytes(7))
        assert len(pipeline.process(0, bytes(8))) == 1


@pytest.mark.supports("queues: the interface's length as enq_qdepth and deq_qdepth")
def test_queue_depth_reaches_the_program() -> None:
    root = json.loads((PROGRAMS / "passes.json").read_text())
    place = {"type": "field", "value": ["h", "length"]}
    depth = {"type": "field", "value": ["standard_metadata", "deq_qdepth"]}
    for action in root["actions"]:
        for primitive in action["primitives"]:
            if primitive["op"] == "assign" and primitive["parameters"][0]["value"] == ["h", "port"]:
                primitive["parameters"] = [place, depth]
    pipeline = Pipeline.load(root)
    pipeline.queue_depth[1] = 513
    ((_, out),) = pipeline.process(0, bytes(8))
    assert out[6:8] == (513).to_bytes(2, "big")


@pytest.mark.slow
def test_a_second_load_takes_the_compiled_code_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []
    text = (PROGRAMS / "passes.json").read_text()
    Pipeline.load(text, progress=said.append)
    assert [line.split()[0] for line in said] == ["compiling", "compiled"]
    assert list(tmp_path.glob("esa-switch/*/program.py"))
    Pipeline.load(text, progress=said.append)
    assert len(said) == 2, "nothing is compiled again"


def test_step_can_be_called_from_compiled_code() -> None:
    pipeline = fill(load("lanes-4"))
    step = pipeline.step

    @numba.njit
    def twice(state, data, length, port, out_data, out_length, out_port):  # type: ignore[no-untyped-def]
        first = step(state, data, length, port, 0, 1, 0, out_data, out_length, out_port)
        return first, step(state, data, length, port, 1, 2, 0, out_data, out_length, out_port)

    batch, out = PacketBatch(2), PacketBatch(8)
    for worker in range(2):
        batch.append(worker + 1, packet(worker, 0, [1, 2, 3, 4]))
    assert twice(pipeline.state, batch.data, batch.length, batch.port, out.data, out.length, out.port) == (0, 2)


def test_other_threads_run_while_packets_are_processed() -> None:
    pipeline = fill(load("lanes-64"))
    batch, out = PacketBatch(8192), PacketBatch(8192)
    for seq in range(4096):
        for worker in range(2):
            batch.append(worker + 1, packet(worker, seq, [1] * 64))
    ticks, stop = [0], threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks[0] += 1
            time.sleep(0.0001)

    thread = threading.Thread(target=tick)
    thread.start()
    before = ticks[0]
    for _ in range(20):
        pipeline.process_batch(batch, 0, out)
    during = ticks[0] - before
    stop.set()
    thread.join()
    assert during > 20


@pytest.mark.supports("externs: random")
def test_random_is_seeded() -> None:
    root = json.loads((PROGRAMS / "passes.json").read_text())
    low, high = {"type": "hexstr", "value": "0x0005"}, {"type": "hexstr", "value": "0x0050"}
    place = {"type": "field", "value": ["h", "port"]}
    for action in root["actions"]:
        for at, primitive in enumerate(action["primitives"]):
            if primitive["op"] == "assign" and primitive["parameters"][0]["value"] == ["h", "port"]:
                action["primitives"][at] = {"op": "modify_field_rng_uniform", "parameters": [place, low, high]}
    pipeline = Pipeline.load(root)

    def draw(seed: int) -> list[int]:
        pipeline.seed(seed)
        return [int.from_bytes(pipeline.process(0, bytes(8))[0][1][4:6], "big") for _ in range(300)]

    one = draw(1)
    assert one == draw(1) != draw(2)
    assert set(one) <= set(range(5, 0x51))
    assert len(set(one)) > 50
    assert abs(np.mean(one) - 42.5) < 6


@pytest.mark.supports("copies: clones cut to their session's length")
def test_clones_are_cut_to_their_sessions_length() -> None:
    pipeline = Pipeline.load((PROGRAMS / "passes.json").read_text(), compiled=False)
    assert pipeline.clone_sessions is not None
    pipeline.clone_sessions.set(5, [(2, 0)])
    cut = []
    for what in range(6):
        packet = bytes([what, 0, 0, 0, 0, 0, 0, 0]) + b"payload"
        pipeline.clone_sessions.truncate(5, 0)
        whole = pipeline.process(0, packet)
        pipeline.clone_sessions.truncate(5, 9)
        short = pipeline.process(0, packet)
        assert short == [(port, copy[:9] if port == 2 else copy) for port, copy in whole]
        cut.append(short != whole)
    assert sum(cut) >= 2, "clones from the ingress and from the egress"
    with pytest.raises(KeyError, match="does not exist"):
        pipeline.clone_sessions.truncate(6, 9)
