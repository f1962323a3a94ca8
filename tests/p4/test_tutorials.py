"""p4lang/tutorials' solutions on the embedded switch, by their own Makefile, with real traffic, if they are on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.p4.tutorials.__main__ import see
from tests.p4.tutorials.exercises import RUNS
from tests.p4.tutorials.mininet_run import lacking

LACKING = lacking()


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(bool(LACKING), reason=f"needs {LACKING}")
@pytest.mark.parametrize("exercise", RUNS)
def test_an_exercise_shows_what_its_readme_says(exercise: str, tmp_path: Path) -> None:
    assert see(exercise, "esa-switch-grpc", tmp_path) == RUNS[exercise][1]
