"""Runs in folders, as the page asks for them: finished ones, and one that is under way, which is read on as it grows.

    shown = ShownRun(folder, deeper)
    shown.view()                     # for JSON
    shown.memory(after=0)            # what was in the rows, or how far that is

What a run has not written down is found out again, where that can be: `Deeper` is who knows how.
"""

from __future__ import annotations

import fcntl
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from esa.dashboard.background import Done, Failed, Progress, Work, Working
from esa.dashboard.view import view_of
from esa.report.memory import Memory
from esa.report.plain import plain
from esa.report.reading import SCENARIO, ReadRun, read_run
from esa.report.records import RECORDS, SUMMARY

FINISHED, UNDER_WAY, INCOMPLETE = "finished", "under way", "incomplete"
MAX_RUNS = 200
_KEPT_FRAGMENTS = 32


@dataclass(frozen=True)
class Deeper:
    """What is found out of a run beyond its records. BadInput, one line, where it cannot be.

    memory: told the run and whom to tell how far it is. fragment: likewise, with job (empty: the only one, or the
    first) and seq; returns what `esa.report.life.Life.as_data` does.
    """

    memory: Callable[[ReadRun, Progress], Memory]
    fragment: Callable[[ReadRun, str, int, Progress], dict[str, Any]]


class ShownRun:
    """One folder."""

    def __init__(self, folder: Path, deeper: Deeper) -> None:
        self.folder = folder
        self._deeper = deeper
        self._lock = threading.Lock()
        self._run: ReadRun | None = None
        self._state = ""
        self._size = 0  # of the records that are read
        self._memory: Work[Memory] | None = None
        self._fragments: OrderedDict[tuple[str, int], Work[dict[str, Any]]] = OrderedDict()

    @property
    def name(self) -> str:
        return plain(self.folder.resolve().name)

    def state(self) -> str:
        """As it is on the disk now."""
        try:
            told = json.loads((self.folder / SUMMARY).read_text())
            return FINISHED if told.get("incomplete") is None else INCOMPLETE
        except (OSError, ValueError, AttributeError, RecursionError):
            return UNDER_WAY if is_under_way(self.folder) else INCOMPLETE

    def run(self) -> ReadRun:
        """The run, with what has come since the last call."""
        with self._lock:
            state = self.state()
            if self._run is None or state != self._state:
                self._size = _size(self.folder / RECORDS) if state == UNDER_WAY else 0
                self._run, self._state = read_run(self.folder), state
                if state == UNDER_WAY:
                    self._run = replace(self._run, notes=())
            elif state == UNDER_WAY:
                self._read_on()
            return self._run

    def _read_on(self) -> None:
        assert self._run is not None
        try:
            with (self.folder / RECORDS).open("rb") as file:
                file.seek(self._size)
                news = file.read()
        except OSError:
            return
        whole = news[: news.rfind(b"\n") + 1]
        self._size += len(whole)
        records = []
        for line in whole.splitlines():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict):
                records.append(record)
        if records:
            self._run = replace(self._run, records=[*self._run.records, *records])

    def brief(self) -> dict[str, Any]:
        """For a list of runs; costs no more than a look at its folder."""
        return {"name": self.name, "state": self.state(), "when": _when(self.folder)}

    def view(self) -> dict[str, Any]:
        run = self.run()
        return view_of(run, self._state)

    def memory(self, after: int = 0) -> dict[str, Any]:
        """Frames from a number on; or {"working": part}, {"failed": why}."""
        run = self.run()
        if self._memory is None or self._state == UNDER_WAY:
            self._memory = Work(lambda progress: self._deeper.memory(run, progress))
            if self._state == UNDER_WAY:
                self._memory.wait()
        return _answer(self._memory, lambda memory: memory.as_data(after))

    def fragment(self, job: str, seq: int) -> dict[str, Any]:
        """What happened to one; or {"working": part}, {"failed": why}."""
        run, key = self.run(), (job, seq)
        with self._lock:
            work = self._fragments.pop(key, None) if self._state != UNDER_WAY else None
            if work is None:
                work = Work(lambda progress: self._deeper.fragment(run, job, seq, progress))
            self._fragments[key] = work
            while len(self._fragments) > _KEPT_FRAGMENTS:
                self._fragments.popitem(last=False)[1].stop()
        work.wait(0.05)
        return _answer(work, lambda life: life)

    def close(self) -> None:
        for work in (self._memory, *self._fragments.values()):
            if work is not None:
                work.stop()


class Runs:
    """The runs at some paths, and in folders there, each with a number of its own for as long as this lives."""

    def __init__(self, paths: Sequence[Path], deeper: Deeper) -> None:
        self._paths, self._deeper = paths, deeper
        self._number: dict[Path, int] = {}
        self._shown: list[ShownRun] = []
        self.problems: list[str] = []

    def look(self) -> list[tuple[int, ShownRun]]:
        """Those that are there now: in the order of the paths, in a folder the newest first. `problems`: the others."""
        self.problems = []
        found = dict.fromkeys(one for path in self._paths for one in self._at(path))
        for folder in found:
            if folder not in self._number:
                self._number[folder] = len(self._shown)
                self._shown.append(ShownRun(folder, self._deeper))
        return [(self._number[folder], self._shown[self._number[folder]]) for folder in found][:MAX_RUNS]

    def __getitem__(self, number: int) -> ShownRun:
        """IndexError if `look` has found none with that number."""
        return self._shown[number]

    def _at(self, path: Path) -> list[Path]:
        if _is_run(path):
            return [path]
        try:
            inner = sorted((one for one in path.iterdir() if _is_run(one)), key=_when, reverse=True)
        except OSError as error:
            self.problems.append(plain(f"{path}: {error.strerror}", 400))
            return []
        if not inner:
            self.problems.append(plain(f"{path}: not the folder of a run: it has no {SUMMARY}", 400))
        return inner

    def close(self) -> None:
        for run in self._shown:
            run.close()


def is_under_way(folder: Path) -> bool:
    """Whether whoever writes a run's records still does: he holds a lock on them."""
    try:
        with (folder / RECORDS).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _is_run(path: Path) -> bool:
    return any((path / name).is_file() for name in (SUMMARY, RECORDS, SCENARIO)) and not (path / "sweep.json").exists()


def _when(folder: Path) -> float:
    """When a run began, as far as its folder tells: seconds since 1970."""
    for name in (SCENARIO, SUMMARY, RECORDS):
        try:
            return (folder / name).stat().st_mtime
        except OSError:
            continue
    return 0.0


def _size(path: Path) -> int:
    """Of the whole lines in a file."""
    try:
        return path.read_bytes().rfind(b"\n") + 1
    except OSError:
        return 0


def _answer(work: Work[Any], shown: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    state = work.state()
    if isinstance(state, Working):
        return {"working": round(state.part, 3)}
    if isinstance(state, Failed):
        return {"failed": plain(state.why, 400)}
    assert isinstance(state, Done)
    return shown(state.value)
