"""Runs that are kept: what is there from this code is not run again, and nothing else is taken for it."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from experiments.common.kept import code_of, run_kept


class Here(Executor):
    """Runs what it is given at once."""

    def __init__(self) -> None:
        self.ran: list[Any] = []

    def submit(self, function: Any, /, *arguments: Any, **_: Any) -> Future[Any]:
        self.ran.append(arguments)
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future


CALLS = {f"double {number}": (lambda number: 2 * number, number) for number in range(5)}
RESULTS = {f"double {number}": 2 * number for number in range(5)}


def test_what_was_run_is_not_run_again(tmp_path: Path) -> None:
    parts: list[float] = []
    told: list[str] = []
    assert run_kept(CALLS, tmp_path / "new", "a", Here(), progress=parts.append, each=lambda k, _: told.append(k)) == (
        RESULTS
    )
    assert parts == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert sorted(told) == sorted(CALLS)
    again, parts = Here(), []
    assert run_kept(CALLS, tmp_path / "new", "a", again, progress=parts.append) == RESULTS
    assert (again.ran, parts) == ([], [1.0])


def test_other_code_and_what_is_not_whole_is_run_again(tmp_path: Path) -> None:
    run_kept(CALLS, tmp_path, "a", Here())
    other = Here()
    assert run_kept(CALLS, tmp_path, "b", other) == RESULTS
    assert len(other.ran) == 5
    for path, text in zip(sorted(tmp_path.iterdir()), ("", "[]", '{"code": "b"}', "{", "null"), strict=True):
        path.write_text(text)
    torn = Here()
    assert run_kept(CALLS, tmp_path, "b", torn) == RESULTS
    assert len(torn.ran) == 5


def test_what_was_over_before_an_interruption_is_kept(tmp_path: Path) -> None:
    def interrupted(part: float) -> None:
        if part > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_kept(CALLS, tmp_path, "a", Here(), progress=interrupted)
    rest = Here()
    assert run_kept(CALLS, tmp_path, "a", rest) == RESULTS
    assert len(rest.ran) == 2


def test_nothing_is_over_at_once(tmp_path: Path) -> None:
    assert run_kept({}, tmp_path, "a", Here()) == {}


def test_code_is_that_of_a_file_and_all_it_imports() -> None:
    from experiments.laboratory import ones, run

    assert code_of(ones.__file__) != code_of(run.__file__)
