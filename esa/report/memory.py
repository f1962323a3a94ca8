"""What was in a switch's rows over time: whose fragment, which one, at what priority; plain values, for who draws it.

memory = Memory([("s1", 256)], ["a", "b"])
memory.add(0.001, owner, priority, seq)       # of every row, all switches in a row
memory.as_data(after=0)                       # for JSON
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from esa.report.plain import plain

FREE = 0  # owners: nobody, then a job's number from 1 on
LEFT = 255  # what belongs to no job that runs
MAX_NAMED = 254
MAX_BYTES = 8_000_000  # of all frames
MAX_FRAMES = 400
_ROW_BYTES = 6


@dataclass
class Memory:
    """switches: name and rows of each. jobs: by number. note: what is to be said of it, empty: nothing.

    series: what was counted besides, a value for each frame: by what it is, then by job.
    """

    switches: list[tuple[str, int]]
    jobs: list[str]
    note: str = ""
    times_s: list[float] = field(default_factory=list)
    owner: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    priority: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    seq: list[npt.NDArray[np.uint32]] = field(default_factory=list)
    series: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Over all switches."""
        return sum(rows for _, rows in self.switches)

    def add(
        self,
        at_s: float,
        owner: npt.NDArray[np.uint8],
        priority: npt.NDArray[np.uint8],
        seq: npt.NDArray[np.uint32],
        counted: dict[str, dict[str, float]] | None = None,
    ) -> None:
        """A frame, (rows,) each. counted: for `series`, by what it is, then by job; jobs that lack are 0."""
        self.times_s.append(at_s)
        self.owner.append(owner)
        self.priority.append(priority)
        self.seq.append(seq)
        for what, by_job in (counted or {}).items():
            lines = self.series.setdefault(what, {job: [] for job in self.jobs})
            for job, line in lines.items():
                line.append(by_job.get(job, 0))

    def rows_by_job(self) -> dict[str, list[int]]:
        """Rows that hold something of each job, a value for each frame."""
        counts = [np.bincount(frame, minlength=256) for frame in self.owner]
        return {job: [int(one[number]) for one in counts] for number, job in enumerate(self.jobs[:MAX_NAMED], 1)}

    def as_data(self, after: int = 0) -> dict[str, Any]:
        """All frames from the number `after` on: octets as base64, seqs little-endian."""
        return {
            "switches": [{"name": plain(name), "rows": rows} for name, rows in self.switches],
            "jobs": [plain(job) for job in self.jobs],
            "note": self.note,
            "first": after,
            "times_s": self.times_s[after:],
            "owner": _text(self.owner[after:], "<u1"),
            "priority": _text(self.priority[after:], "<u1"),
            "seq": _text(self.seq[after:], "<u4"),
            "rows_by_job": [line[after:] for line in self.rows_by_job().values()],
            "series": {what: [line[after:] for line in lines.values()] for what, lines in self.series.items()},
        }


def frames_of(rows: int) -> int:
    """How many frames of so many rows may be kept."""
    return max(10, min(MAX_FRAMES, MAX_BYTES // max(1, rows * _ROW_BYTES)))


def _text(frames: list[Any], kind: str) -> str:
    return base64.b64encode(b"".join(np.asarray(frame).astype(kind).tobytes() for frame in frames)).decode()
