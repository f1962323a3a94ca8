"""Switches side by side: one compiled program, one row of memory each.

The code that `esa/switch` generated is called straight from the event loop, packet by packet. A packet-free build and
the build with 64 lanes are different programs; the loop contains both, and `lanes` says which one runs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native_uncounted as native
from esa.program import program
from esa.switch.runtime.pipeline import Pipeline

LANES = (0, 64)
MAX_COPIES = 1024
PORTS = 512

# One of each for its code; the switches of a simulation are pipelines of their own, over the memory below.
_SAMPLES = {lanes: Pipeline.load(program(lanes).json.read_text()) for lanes in LANES}
_step_0: Any = _SAMPLES[0].step
_step_64: Any = _SAMPLES[64].step
_State0: Any = type(_SAMPLES[0].state)
_State64: Any = type(_SAMPLES[64].state)


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
    place: npt.NDArray[np.int64]  # (2,): lanes; where m64 has the depths of the queues


def new_switches(count: int, lanes: int, packet_bytes: int) -> tuple[Switches, list[Pipeline]]:
    """Switches, and the same ones as pipelines: for the control plane, over the same memory."""
    sample = _SAMPLES[lanes]
    empty = sample.state
    m32 = np.zeros((count, len(empty.m32)), np.uint32)
    m64 = np.tile(empty.m64, (count, 1))
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
        place=np.array([lanes, sample.layout.queue_depth]),
    )
    return switches, pipelines


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
    later, later_bytes, later_port = switches.later, switches.later_bytes, switches.later_port
    out = (switches.out_data, switches.out_length, switches.out_port)
    now_us = now_ns // 1000
    if switches.place[0] == 0:
        state_0 = _State0(switches.f, switches.g, m32, m64, later, later_bytes, later_port)
        return int(_step_0(state_0, data, length, port, row, row + 1, now_us, *out))
    state_64 = _State64(switches.f, switches.g, m32, m64, later, later_bytes, later_port)
    return int(_step_64(state_64, data, length, port, row, row + 1, now_us, *out))
