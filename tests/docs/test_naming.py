"""docs/naming.md speaks of names that there are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from esa.protocol import (
    ServerState,
    Timers,
    WorkerState,
    rtt,
    server,
    server_ring,
    server_send,
    server_state,
    worker,
    worker_loss,
    worker_ring,
    worker_state,
)
from esa.sim import loop
from esa.sim.engine import lines

ROOT = Path(__file__).parents[2]
MODULES = (rtt, server, server_ring, server_send, worker, worker_loss, worker_ring)


def _names_of_states() -> set[str]:
    states = (
        worker_state(job=1, epoch=1, rank=0, window=1, lanes=0),
        server_state(job=1, epoch=1, workers_per_rack=[1], window=1, lanes=0),
    )
    names = {*WorkerState._fields, *ServerState._fields, *Timers.__dataclass_fields__}
    names |= {name for module in MODULES for name in vars(module)}
    names |= set(rtt.rto_ns.py_func.__code__.co_varnames)  # type: ignore[attr-defined]

    def fields(dtype: np.dtype) -> None:
        for name in dtype.names or ():
            names.add(name)
            fields(dtype[name])

    for state in states:
        for array in state:
            fields(array.dtype)
    return names


def _first_columns(heading: str) -> set[str]:
    """The words in code marks in the first column of the table under a heading."""
    text = (ROOT / "docs" / "naming.md").read_text().split(f"## {heading}")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {word for cell in cells for code in re.findall("`(.*?)`", cell) for word in re.findall(r"[\w.]+", code)}


def test_states_have_the_fields_of_the_tables() -> None:
    words = _first_columns("Worker") | _first_columns("PS") | _first_columns("Options")
    assert len(words) > 50
    assert {word for word in words if not word.startswith("Job.")} <= _names_of_states()


def test_a_simulation_has_the_fields_of_the_table() -> None:
    words = _first_columns("Virtual time")
    dtypes = (loop.SCALARS, lines.LINE)
    there = {
        *vars(loop),
        *loop.SimState._fields,
        *lines.PacketPool._fields,
        *(name for d in dtypes for name in d.names),
    }
    assert len(words) > 15
    assert words <= there


def test_the_program_has_the_typedefs_of_the_table() -> None:
    text = (ROOT / "p4src" / "types.p4").read_text()
    assert _first_columns("P4\n") == set(re.findall(r"typedef \S+\s+(\w+);", text))
