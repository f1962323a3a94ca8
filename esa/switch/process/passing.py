"""Packets from port to port in machine code alone: no turn waits for the interpreter lock, whoever has that.

`pass_packets` is the packet loop where it needs no Python: it waits, receives, takes the state, runs the program and
sends, again and again, until somebody stirs it, or packets are for the CPU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native
from esa.net import MessageBatch, is_ready, monotonic_ns
from esa.switch.process.frames import Counters, Int32s, Int64s, read_queues, receive, transmit
from esa.switch.process.native_step import call_step, step_address
from esa.switch.runtime.turns import end_turn, take_turn

STIRRED, TO_CPU, FAILED = range(3)
_TURNS, COUNT, FIRST, CPU_PACKETS = range(4)  # of `at`
_WAKE = 0  # the row of `polled` that says so


class Ends(NamedTuple):
    """The arrays between which packets pass, those of `frames.receive` and `frames.transmit`."""

    polled: npt.NDArray[np.int16]
    fds: Int32s
    numbers: Int32s
    slot_of_port: Int32s
    arriving: MessageBatch
    arriving_ports: Int32s
    leaving: MessageBatch
    leaving_ports: Int32s
    rows: Int32s
    starts: Int32s
    cpu_rows: Int32s
    queues: Int64s
    counters: Counters


class Program(NamedTuple):
    """What runs: where its machine code is, its state, and where this says how far a batch went, and what failed."""

    step: int
    state: tuple[Any, ...]
    queue_depth: Int64s
    consumed: int
    failed: int


def program_of(pipeline: Any) -> Program | None:
    """What of a pipeline machine code can run by itself; None where every batch needs the interpreter."""
    messages = getattr(pipeline, "messages", None)
    if getattr(pipeline, "halves", None) is not None or (messages is not None and messages.heard):
        return None
    step = step_address(getattr(pipeline, "step", None))
    if not step:
        return None
    lost = pipeline.layout.lost
    return Program(step, tuple(pipeline.state), pipeline.queue_depth, lost + 3, lost + 2)


def nothing() -> Program:
    """A program that is none: `pass_packets` returns at once."""
    words, none = np.zeros(1, np.int64), np.zeros((1, 1), np.int64)
    state = (words, words, np.zeros(1, np.uint32), words, none, np.zeros((1, 1), np.uint8), words)
    return Program(0, state, words, 0, 0)


@native
def pass_packets(ends: Ends, program: Program, turns: Int64s, start_ns: int, at: Int64s) -> int:
    """Pass packets on until something needs Python; returns why: STIRRED, TO_CPU or FAILED.

    at int64 (4,): the turn, its packets (COUNT), how many of these are done (FIRST), how many that left last are for
    the CPU (CPU_PACKETS), which `ends.cpu_rows` names. The next call goes on with the batch. None of it is done where
    the loop is stirred: what that is for may concern these packets, too. Times of the program begin at start_ns.
    """
    if program.step == 0:
        at[FIRST] = at[COUNT] = 0
        return STIRRED
    words = program.state[3]
    while True:
        while at[FIRST] < at[COUNT]:
            take_turn(turns)
            if at[FIRST]:
                read_queues(ends.fds, ends.numbers, ends.queues, program.queue_depth)
            failed = words[program.failed]
            now_us = (monotonic_ns() - start_ns) // 1000
            arriving, leaving = ends.arriving, ends.leaving
            produced = call_step(
                program.step,
                program.state,
                (arriving.data, arriving.length, ends.arriving_ports, at[FIRST], at[COUNT], now_us,
                 leaving.data, leaving.length, ends.leaving_ports),
            )  # fmt: skip
            at[FIRST] = words[program.consumed]
            failed = words[program.failed] - failed
            end_turn(turns)
            at[CPU_PACKETS] = transmit(
                ends.fds,
                ends.slot_of_port,
                leaving,
                ends.leaving_ports,
                produced,
                ends.rows,
                ends.starts,
                ends.cpu_rows,
                ends.queues,
                ends.counters,
            )
            if failed:
                return FAILED
            if at[CPU_PACKETS]:
                return TO_CPU
        at[_TURNS] += 1
        at[FIRST] = 0
        at[COUNT] = receive(
            ends.polled,
            -1,
            ends.fds,
            ends.numbers,
            at[_TURNS] % max(len(ends.fds), 1),
            ends.arriving,
            ends.arriving_ports,
            ends.counters,
            ends.queues,
            program.queue_depth,
        )
        if is_ready(ends.polled, _WAKE):
            return STIRRED
