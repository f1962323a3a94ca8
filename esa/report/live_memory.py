"""What was in the rows of a live run, as it wrote it down: `rows.jsonl`, a line for each look at the switches.

A line has "t", seconds since the run's start, and by switch what its rows hold: lists of "row", "job" (names), "seq"
and "priority", as long as each other. The first line has "switches": by name, how many rows are looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from esa.report.memory import LEFT, MAX_NAMED, Memory
from esa.report.numbers import number

ROWS = "rows.jsonl"
COLUMNS = ("row", "job", "seq", "priority")
_MOST_ROWS = 1 << 20


def live_memory(folder: Path, jobs: list[str]) -> Memory | None:
    """None where nothing was written down. jobs: of the run, in the order of their colours."""
    lines = _lines(folder / ROWS)
    first = next(lines, {})
    told = first.get("switches")
    sizes = told if isinstance(told, dict) else {}
    switches = [(name, rows) for name, rows in sizes.items() if isinstance(rows, int) and 0 <= rows <= _MOST_ROWS]
    if not switches:
        return None
    memory = Memory(switches, jobs)
    owner_of = {name: k for k, name in enumerate(jobs[:MAX_NAMED], 1)}
    for line in lines:
        at = number(line.get("t"))
        if at is not None and at >= (memory.times_s[-1] if memory.times_s else 0.0):
            _add(memory, at, line, owner_of)
    return memory


def _add(memory: Memory, at_s: float, line: dict[str, Any], owner_of: dict[str, int]) -> None:
    owner, priority = np.zeros(memory.rows, np.uint8), np.zeros(memory.rows, np.uint8)
    seq, first = np.zeros(memory.rows, np.uint32), 0
    for name, rows in memory.switches:
        held = line.get(name)
        columns = [held.get(column) for column in COLUMNS] if isinstance(held, dict) else []
        if all(isinstance(column, list) for column in columns):
            for row, job, number_, strength in zip(*columns, strict=False):
                if isinstance(row, int) and 0 <= row < rows and isinstance(number_, int) and isinstance(strength, int):
                    owner[first + row] = owner_of.get(job, LEFT) if isinstance(job, str) else LEFT
                    seq[first + row], priority[first + row] = number_ & 0xFFFFFFFF, strength & 255
        first += rows
    memory.add(at_s, owner, priority, seq)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(told, dict):
            yield told
