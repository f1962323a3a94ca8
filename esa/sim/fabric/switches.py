"""Switches side by side: one compiled program, one row of memory each.

The code that `esa/switch` generated is called straight from the event loop, packet by packet. Which build of the
program runs is part of the type of `Switches`: the machine code of the loop's `run` is made, and kept on disk, for each
build apart, when a simulation first asks for it. What it calls is not, where that is not given the switches.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba.extending import overload

from esa.native import native_uncounted as native
from esa.program import program
from esa.switch.runtime.pipeline import Pipeline

MAX_COPIES = 1024
PORTS = 512


class PayloadFree(NamedTuple):
    """The build with 0 lanes."""

    queue_depth: int  # where m64 has the depths of the queues


class Lanes64(NamedTuple):
    """The build with 64 lanes."""

    queue_depth: int


_BUILDS: dict[int, Callable[[int], PayloadFree | Lanes64]] = {0: PayloadFree, 64: Lanes64}
_LANES = {build: lanes for lanes, build in _BUILDS.items()}


@cache
def loaded(lanes: int) -> Pipeline:
    """The build with `lanes` lanes, for its code: a simulation's switches are pipelines of their own."""
    return Pipeline.load(program(lanes).json.read_text())


@cache
def _written(lanes: int) -> npt.NDArray[np.intp]:
    """Which words of a loaded switch's m64 are not 0: a few. Memory that nobody writes is none."""
    return np.flatnonzero(loaded(lanes).state.m64)


class Switches(NamedTuple):
    """All switches of a simulation; make one with `new_switches`."""

    m32: npt.NDArray[np.uint32]  # (switches, words)
    m64: npt.NDArray[np.int64]
    # What only lives while a packet is in hand belongs to no switch.
    f: npt.NDArray[np.int64]
    g: npt.NDArray[np.int64]
    later: npt.NDArray[np.int64]
    later_bytes: npt.NDArray[np.uint8]
    later_port: npt.NDArray[np.int64]
    line: npt.NDArray[np.int64]  # (switches, PORTS): the line that leaves by a port
    out_data: npt.NDArray[np.uint8]  # (MAX_COPIES, bytes of a packet): what left last
    out_length: npt.NDArray[np.int32]
    out_port: npt.NDArray[np.int32]
    build: PayloadFree | Lanes64


def new_switches(count: int, lanes: int, packet_bytes: int) -> tuple[Switches, list[Pipeline]]:
    """Switches, and the same ones as pipelines: for the control plane, over the same memory."""
    sample = loaded(lanes)
    empty = sample.state
    m32 = np.zeros((count, len(empty.m32)), np.uint32)
    m64 = np.zeros((count, len(empty.m64)), np.int64)
    written = _written(lanes)
    m64[:, written] = empty.m64[written]
    pipelines = [
        Pipeline(sample.program, sample.source, sample.layout, sample.step, empty._replace(m32=m32[k], m64=m64[k]))
        for k in range(count)
    ]
    switches = Switches(
        m32=m32,
        m64=m64,
        **{name: np.zeros_like(getattr(empty, name)) for name in ("f", "g", "later", "later_bytes", "later_port")},
        line=np.full((count, PORTS), -1, np.int64),
        out_data=np.zeros((MAX_COPIES, packet_bytes), np.uint8),
        out_length=np.zeros(MAX_COPIES, np.int32),
        out_port=np.zeros(MAX_COPIES, np.int32),
        build=_BUILDS[lanes](sample.layout.queue_depth),
    )
    return switches, pipelines


def _run_program(
    build: Any, m32: Any, m64: Any, scratch: Any, data: Any, length: Any, port: Any, row: Any, now_us: Any, out: Any
) -> Any:
    """Run the packet in `row` through the program of that build; compiled only."""
    raise NotImplementedError


@overload(_run_program, jit_options={"nogil": True, "_nrt": False})  # type: ignore[untyped-decorator]
def _program_of(
    build: Any, m32: Any, m64: Any, scratch: Any, data: Any, length: Any, port: Any, row: Any, now_us: Any, out: Any
) -> Callable[..., Any]:
    sample = loaded(_LANES[build.instance_class])
    step: Any = sample.step
    state: Any = type(sample.state)

    def run(
        build: Any, m32: Any, m64: Any, scratch: Any, data: Any, length: Any, port: Any, row: Any, now_us: Any, out: Any
    ) -> Any:
        f, g, later, later_bytes, later_port = scratch
        memory = state(f, g, m32, m64, later, later_bytes, later_port)
        return step(memory, data, length, port, row, row + 1, now_us, *out)

    return run


@native
def switch_step(
    switches: Switches,
    which: int,
    data: npt.NDArray[np.uint8],
    length: npt.NDArray[np.int32],
    port: npt.NDArray[np.int32],
    row: int,
    now_ns: int,
) -> int:
    """Run the packet in `row` through a switch; the copies that leave are in `out_data` ...; return their number."""
    m32, m64 = switches.m32[which], switches.m64[which]
    scratch = (switches.f, switches.g, switches.later, switches.later_bytes, switches.later_port)
    out = (switches.out_data, switches.out_length, switches.out_port)
    return int(_run_program(switches.build, m32, m64, scratch, data, length, port, row, now_ns // 1000, out))
