"""Which jobs come when: drawn as a Poisson process, or read from a file.

    requests = poisson(20, 0.5, {"vgg16": 1, "resnet50": 3}, workers=(4, 8), iterations=(100, 200), seed=1)
    requests = read_trace(Path("jobs.csv"))

A trace is CSV in UTF-8 with a header line. Columns may be in any order, lines may be empty:

    name,workers,iterations,submit_s,model
    first,8,100,0.0,vgg16
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from esa.workloads.profile import MODELS

COLUMNS = ("name", "workers", "iterations", "submit_s", "model")
MAX_WORKERS = 1024  # 32 racks of 32: two levels of 32-bit bitmaps
MAX_ITERATIONS = 1_000_000
MAX_SUBMIT_S = 1e9  # in nanoseconds that fits 63 bits

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # as a scenario's jobs
_WHOLE = re.compile(r"[0-9]{1,9}")
_DECIMAL = re.compile(r"[0-9]{1,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,3})?")


class TraceError(ValueError):
    """A trace that cannot be used; one line."""


@dataclass(frozen=True)
class Request:
    """A job that somebody submits; `submit_s` in seconds since the start."""

    name: str
    model: str
    workers: int
    iterations: int
    submit_s: float


def poisson(
    count: int,
    mean_interval_s: float,
    models: Mapping[str, float],
    workers: Sequence[int],
    iterations: Sequence[int],
    seed: int,
) -> tuple[Request, ...]:
    """`count` jobs in the order of their submission, with exponential intervals; the first comes after one interval.

    models: weights by name; not all 0. workers, iterations: each value is as likely as the others; name one twice to
    have it twice as often.

    Repeatable: job n is a function of the arguments and its own four numbers of PCG64(seed). So the first jobs of a
    longer run are those of a shorter one, and changing one argument does not draw the others anew.
    Raises ValueError, in one line.
    """
    if count < 1:
        raise ValueError(f"count: {count}; allowed: from 1")
    if not 0 < mean_interval_s * count <= MAX_SUBMIT_S / 100:
        allowed = f"above 0, and {MAX_SUBMIT_S / 100:g} s for all jobs together"
        raise ValueError(f"mean_interval_s: {mean_interval_s} for {count} jobs; allowed: {allowed}")
    weights = np.array(list(models.values()), np.float64)
    if not ((weights >= 0).all() and 0 < weights.sum() < np.inf):
        raise ValueError(f"models: weights {dict(models)}; allowed: from 0, not all 0")
    for key, choices, highest in (("workers", workers, MAX_WORKERS), ("iterations", iterations, MAX_ITERATIONS)):
        if not choices or not all(1 <= choice <= highest for choice in choices):
            raise ValueError(f"{key}: {list(choices)}; allowed: one or more from 1 to {highest}")
    names = list(models)
    uniform = np.random.Generator(np.random.PCG64(seed)).random((count, 4))  # in [0, 1)
    submit_s = np.cumsum(-mean_interval_s * np.log1p(-uniform[:, 0]))
    below = np.cumsum(weights)
    below /= below[-1]
    return tuple(
        Request(
            name=f"job-{number}",
            model=names[int(np.searchsorted(below, of_model, side="right"))],
            workers=workers[int(of_workers * len(workers))],
            iterations=iterations[int(of_iterations * len(iterations))],
            submit_s=float(submit_s[number - 1]),
        )
        for number, (_, of_model, of_workers, of_iterations) in enumerate(uniform, 1)
    )


def read_trace(path: Path, models: Collection[str] = MODELS) -> tuple[Request, ...]:
    """The jobs of a trace by `submit_s`, those of the same time in the order of the file.

    models: the names that the column `model` may have. Raises TraceError, which says file, line, column and what is
    allowed, for anything that is not right; nothing is skipped but empty lines.
    """
    rows = _rows(path)
    first_line, header = rows[0]
    if sorted(header) != sorted(COLUMNS):
        raise TraceError(
            f"{path}: line {first_line}: columns {_quoted(','.join(header))}; "
            f"allowed: {','.join(COLUMNS)}, each once, in any order"
        )
    requests: list[Request] = []
    line_of: dict[str, int] = {}
    for line, row in rows[1:]:
        if len(row) != len(header):
            allowed = f"{len(header)}, {','.join(header)}"
            raise TraceError(f"{path}: line {line}: {len(row)} fields; allowed: {allowed}")
        fields = _Fields(path, line, dict(zip(header, row, strict=True)))
        request = fields.request(models)
        if request.name in line_of:
            raise fields.error("name", f"names that occur once; line {line_of[request.name]} has this one")
        line_of[request.name] = line
        requests.append(request)
    if not requests:
        raise TraceError(f"{path}: line {first_line}: no job follows the header")
    return tuple(sorted(requests, key=lambda request: request.submit_s))


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows that are not empty, at least one, with the number of their first line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # spreadsheets put a mark in front
    except OSError as error:
        raise TraceError(f"{path}: cannot read the trace: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise TraceError(f"{path}: line {line}: byte 0x{error.object[error.start]:02x} is not UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for row in reader:
            if row:
                rows.append((line, row))
            line = reader.line_num + 1
    except csv.Error as error:
        raise TraceError(f"{path}: line {line}: not CSV: {error}") from None
    if not rows:
        raise TraceError(f"{path}: line 1: the file is empty; allowed: {','.join(COLUMNS)}, then a line per job")
    return rows


@dataclass(frozen=True)
class _Fields:
    """The fields of one line by column; errors that know where they are."""

    path: Path
    line: int
    text: Mapping[str, str]

    def error(self, column: str, allowed: str) -> TraceError:
        found = _quoted(self.text[column])
        return TraceError(f"{self.path}: line {self.line}, column {column}: {found}; allowed: {allowed}")

    def request(self, models: Collection[str]) -> Request:
        if not _NAME.fullmatch(self.text["name"]):
            raise self.error("name", "letters, digits, '_', '.', '-', a letter or digit first, at most 64")
        if self.text["model"] not in models:
            raise self.error("model", ", ".join(models))
        return Request(
            name=self.text["name"],
            model=self.text["model"],
            workers=self._whole("workers", MAX_WORKERS),
            iterations=self._whole("iterations", MAX_ITERATIONS),
            submit_s=self._submit_s(),
        )

    def _whole(self, column: str, highest: int) -> int:
        text = self.text[column]
        if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= highest:
            raise self.error(column, f"a whole number from 1 to {highest}")
        return int(text)

    def _submit_s(self) -> float:
        text = self.text["submit_s"]
        if not _DECIMAL.fullmatch(text) or not float(text) <= MAX_SUBMIT_S:
            raise self.error("submit_s", f"seconds from 0 to {MAX_SUBMIT_S:g}")
        return float(text)


def _quoted(text: str) -> str:
    """What was found, on one line and not too long."""
    return repr(text if len(text) <= 80 else f"{text[:80]}...")
