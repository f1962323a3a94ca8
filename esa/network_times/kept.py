"""Answers that are kept on disk: in the folder of the code that they come from, as machine code is.

    kept = Kept(LEVEL, Path(packets.__file__))
    answers = kept.answers(component, network, answer_by_packets)

A file's name is a hash of the question, its content the answers of the component's members. Another version of any
source file that the level rests on has a folder of its own; `esa.native` takes the oldest folders away.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from esa.cluster.times import Answer
from esa.native_cache import native_folder
from esa.network_times.component import Component
from esa.network_times.network import Network
from esa.workloads.architectures import SHAPES

By = Callable[[Component, Network], list[Answer]]


class Kept:
    """Of one level. source: the file that answers; folder: in place of the one of its code."""

    def __init__(self, level: int, source: Path, folder: Path | None = None) -> None:
        self._level = level
        self._folder = native_folder(source.resolve()) if folder is None else folder
        self.reckoned = 0  # answers that were not there

    def answers(self, component: Component, network: Network, by: By) -> list[Answer]:
        """Those kept, or new ones."""
        path = self.path(component, network)
        found = _read(path, len(component.members))
        if found is None:
            self.reckoned += 1
            found = by(component, network)
            _write(path, json.dumps([[*answer] for answer in found]) + "\n")
        return found

    def path(self, component: Component, network: Network) -> Path:
        """Where the answers to a question are."""
        question = json.dumps([self._level, vars(network), component, _shapes()])
        return self._folder / f"answer-{hashlib.sha256(question.encode()).hexdigest()[:32]}.json"


@cache
def _shapes() -> str:
    """Of the models: no source file, and an answer rests on it."""
    return hashlib.sha256(SHAPES.read_bytes()).hexdigest()


def _read(path: Path, members: int) -> list[Answer] | None:
    """None if there is none that is whole."""
    try:
        found = [Answer(*values) for values in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        return None
    return found if len(found) == members else None


def _write(path: Path, text: str) -> None:
    """Whole or not at all, whoever else writes the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    beside.write_text(text)
    beside.replace(path)
