"""What is said while nothing is done yet: that the simulator is compiled, where it is, and by nobody else."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from esa.native_cache import native_folder
from esa.sources import ROOT
from experiments.common import part_progress
from experiments.common.part_progress import PartProgress

LOOP = ROOT / "esa" / "sim" / "loop.py"


@pytest.fixture(autouse=True)
def nothing_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(part_progress, "PATIENCE_S", 0.01)
    native_folder.cache_clear()
    yield
    native_folder.cache_clear()


def said(*, packets: bool) -> str:
    """Until it has looked whether there is something to say."""
    text = io.StringIO()
    with PartProgress(Console(file=text), "it", packets=packets):
        for timer in threading.enumerate():
            if isinstance(timer, threading.Timer):
                timer.join()
    return text.getvalue().strip()


def test_a_first_run_says_what_it_is_busy_with() -> None:
    assert "a first run compiles the simulator" in said(packets=True)


def test_where_it_is_compiled_nothing_is_said() -> None:
    (native_folder(LOOP) / "loop.run-1.py311.1.nbc").touch()
    assert said(packets=True) == ""


def test_what_simulates_no_packets_says_nothing() -> None:
    assert said(packets=False) == ""
