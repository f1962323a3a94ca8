"""The order in which files of tests begin."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import FIRST


def test_the_files_that_begin_first_are_there() -> None:
    root = Path(__file__).parents[1]
    assert [file for file in FIRST if not (root / file).is_file()] == []
