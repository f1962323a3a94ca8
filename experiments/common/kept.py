"""Runs whose results are kept as soon as each is over, with the code that they came from: what is interrupted goes on.

code = code_of(__file__)
found = run_kept({key: (simulate, scenario)}, Path("results/studies"), code, executor)      # found[key]: its result
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, as_completed
from functools import lru_cache
from pathlib import Path
from typing import Any

from esa import sources
from experiments.common.folders import write_whole


@lru_cache
def code_of(file: str) -> str:
    """A hash of all sources that this one imports, and their imports."""
    return sources.digest(sources.closure(Path(file).resolve()))


def run_kept(
    calls: Mapping[str, tuple[Any, ...]],
    folder: Path,
    code: str,
    executor: Executor,
    *,
    progress: Callable[[float], None] = lambda part: None,
    each: Callable[[str, Any], None] = lambda key, result: None,
) -> dict[str, Any]:
    """The results by key; of those that the folder has none of from this code, by calling the executor, in their order.

    calls: a function and its arguments, by what says all that its result depends on. Results are what JSON has.
    each: told of every one that was run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {key: kept for key in calls if (kept := _kept(folder, key, code)) is not None}
    running: dict[Future[Any], str] = {executor.submit(*calls[key]): key for key in calls if key not in found}
    progress(len(found) / max(len(calls), 1))
    for future in as_completed(running):
        key = running[future]
        found[key] = result = future.result()
        write_whole(_file(folder, key), json.dumps({"run": key, "result": result, "code": code}) + "\n")
        each(key, result)
        progress(len(found) / len(calls))
    return found


def _file(folder: Path, key: str) -> Path:
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _kept(folder: Path, key: str, code: str) -> Any:
    try:
        kept = json.loads(_file(folder, key).read_text())
        return kept["result"] if kept["code"] == code else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
