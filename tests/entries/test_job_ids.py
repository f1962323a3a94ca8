"""Ids of jobs: taken and given back, never twice with the same epoch."""

from __future__ import annotations

import pytest

from esa.entries import job_ids
from esa.entries.job_ids import JobIds
from esa.errors import BadInput


def test_a_wish_is_granted_while_it_can_be() -> None:
    ids = JobIds(3)
    assert ids.take(2) == (2, 0)
    assert ids.take(2) == (1, 0)
    assert ids.take(9) == (3, 0)


def test_an_id_comes_back_in_a_new_epoch() -> None:
    ids = JobIds(2)
    assert ids.take(1) == (1, 0)
    ids.give_back(1)
    assert ids.take(1) == (1, 1)
    ids.give_back(1)
    assert ids.take(2) == (2, 0)
    assert ids.take(2) == (1, 2)


def test_no_more_at_a_time_than_there_are() -> None:
    ids = JobIds()
    assert {ids.take(k)[0] for k in range(255)} == set(range(1, 256))
    with pytest.raises(BadInput, match=r"^job: 255 of 255 ids are taken"):
        ids.take(1)


def test_an_id_without_epochs_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_ids, "MAX_EPOCH", 1)
    ids = JobIds(2)
    given = []
    for _ in range(4):
        given.append(ids.take(1))
        ids.give_back(given[-1][0])
    assert given == [(1, 0), (1, 1), (2, 0), (2, 1)]
    with pytest.raises(BadInput, match=r"^job: 0 of 2 ids are taken; none has an epoch left$"):
        ids.take(1)
