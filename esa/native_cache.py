"""Where machine code is kept on the disk; whoever asks only whether it is there needs no compiler for that."""

from __future__ import annotations

import os
import shutil
import sys
import time
from functools import cache
from pathlib import Path
from types import TracebackType

from esa import sources
from esa.errors import BadInput

KEPT = 3  # versions of each module's code
IN_USE_S = 3600.0  # none that was used so lately is taken away: another process may be reading it


def cache_directory(name: str) -> Path:
    """$XDG_CACHE_HOME/name, or ~/.cache/name."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / name


@cache
def native_folder(file: Path) -> Path:
    """Where the machine code of this source file is kept: there now, and marked as used. BadInput if it cannot be."""
    files = sources.closure(file)
    programs = Path(__file__).with_name("compiled").glob("*.json") if sources.ROOT / "esa/program.py" in files else ()
    parent = cache_directory("esa-native") / f"{file.parent.name}.{file.stem}"
    folder = parent / sources.digest([*files, *programs])[:24]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
    except OSError as error:
        sys.excepthook = _one_line  # modules are imported before any command can catch what they raise
        raise BadInput(f"cache: cannot write {folder}: {error.strerror}; allowed: XDG_CACHE_HOME=FOLDER") from None
    _prune(parent)
    return folder


def _one_line(kind: type[BaseException], ended_by: BaseException, traceback: TracebackType | None) -> None:
    if not isinstance(ended_by, BadInput):
        sys.__excepthook__(kind, ended_by, traceback)
        return
    print(f"esa: {ended_by}", file=sys.stderr)
    raise SystemExit(ended_by.status)  # what Python makes the process's status


def _prune(parent: Path) -> None:
    """Take away the oldest versions beyond those kept."""
    used: list[tuple[float, Path]] = []
    for folder in parent.iterdir():
        try:
            used.append((folder.stat().st_mtime, folder))
        except FileNotFoundError:  # another process prunes, too
            continue
    for when, folder in sorted(used, reverse=True)[KEPT:]:
        if time.time() - when > IN_USE_S:
            shutil.rmtree(folder, ignore_errors=True)
