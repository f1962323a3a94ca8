"""Packets that pass in machine code alone: what reaches Python, what does not need it, and what ends it."""

from __future__ import annotations

import ctypes
import json
import sys
import threading
from types import SimpleNamespace
from typing import Any

from esa.switch import Pipeline
from esa.switch.process.passing import program_of
from esa.switch.runtime.device import Device
from tests.net.veth import Veth
from tests.switch.control import PROGRAMS
from tests.switch.test_ports import Patch, pairs, receive, send, start

__all__ = ["pairs"]

CPU_PORT = 510
PLAIN, CLONED, FAILS = 0, 1, 9  # what the first byte of a packet asks for


def programmed() -> Pipeline:
    """A program that sends every packet to port 1, and copies to the CPU, and asserts that none has FAILS."""
    root = json.loads((PROGRAMS / "passes.json").read_text())
    what, fails = {"type": "field", "value": ["h", "what"]}, {"type": "hexstr", "value": f"{FAILS:#x}"}
    check = {"type": "expression", "value": {"op": "!=", "left": what, "right": fails}}
    for action in root["actions"]:
        action["primitives"].append({"op": "assert", "parameters": [{"type": "expression", "value": check}]})
    pipeline = Pipeline.load(root)
    assert pipeline.clone_sessions is not None
    pipeline.clone_sessions.set(5, [(CPU_PORT, 0)])
    return pipeline


def frame(what: int, number: int) -> bytes:
    return bytes([what]) + bytes(17) + number.to_bytes(4, "big") + bytes(60)


def numbers(frames: list[bytes]) -> list[int]:
    return [int.from_bytes(each[18:22], "big") for each in frames]


def test_what_is_for_the_cpu_and_from_it_and_what_fails(pairs: Veth) -> None:
    device = Device(0, CPU_PORT, programmed())
    told: list[str] = []
    device.pipeline.on_failed = told.append
    packet_ins: list[bytes] = []
    arrived = threading.Semaphore(0)
    device.on_packet_in = lambda packet: (packet_ins.append(packet), arrived.release())
    with pairs.socket("a1") as one, start(pairs, device) as loop:
        send(pairs, 0, [frame(CLONED if i % 100 == 7 else PLAIN, i) for i in range(400)])
        assert numbers(receive(one, 400)) == list(range(400))
        assert all(arrived.acquire(timeout=5) for _ in range(4))
        assert numbers(packet_ins) == [7, 107, 207, 307]
        device.on_packet_out(frame(PLAIN, 1000))
        assert numbers(receive(one, 1)) == [1000]
        send(pairs, 2, [frame(FAILS if i == 2 else PLAIN, i) for i in range(5)])
        assert numbers(receive(one, 4)) == [0, 1, 3, 4]
        assert len(told) == 1
        assert loop.counters()[1]["tx_packets"] == 405


def test_packets_pass_while_somebody_has_the_interpreter(pairs: Veth) -> None:
    device = Device(0, None, programmed())
    before = sys.getswitchinterval()
    with pairs.socket("a1") as one, start(pairs, device) as loop:
        send(pairs, 0, [frame(PLAIN, 0)])
        assert len(receive(one, 1)) == 1  # it has met the program by now
        usleep: Any = ctypes.PyDLL(None).usleep  # does not let go of the interpreter
        sys.setswitchinterval(30)  # nor does what is between two calls
        try:
            send(pairs, 0, [frame(PLAIN, i) for i in range(600)])
            for _ in range(200):
                usleep(20_000)
                if loop._counters[1][3] == 601:
                    break
            left = int(loop._counters[1][3])
        finally:
            sys.setswitchinterval(before)
        assert left == 601
        assert len(receive(one, 600)) == 600


def test_another_program_takes_over(pairs: Veth) -> None:
    device = Device(0, None, programmed())
    with pairs.socket("a1") as one, pairs.socket("a2") as two, start(pairs, device):
        send(pairs, 0, [frame(2, 5)])
        assert numbers(receive(one, 1)) == [5]
        device.pipeline = Patch()  # sends to the port that is the first byte
        send(pairs, 0, [frame(2, 6)])
        assert numbers(receive(two, 1)) == [6]
        device.pipeline = programmed()
        send(pairs, 0, [frame(2, 7)])
        assert numbers(receive(one, 1)) == [7]


def test_which_programs_need_python() -> None:
    assert program_of(programmed()) is not None
    assert program_of(Pipeline.load((PROGRAMS / "passes.json").read_text(), compiled=False)) is None
    pipeline: Any = programmed()
    for heard in (True, False):  # of log_msg
        pipeline.messages = SimpleNamespace(heard=heard)
        assert (program_of(pipeline) is None) == heard
    pipeline.halves = ()  # for ports with a rate
    assert program_of(pipeline) is None
