"""Two controllers on one switch whose calls come in any order: what was asked for is so in the end.

One reason to change: what controllers that write at the same time leave behind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import BadInput, Controller, Entry, Group, InstalledJob, Switch, placing
from controller import controller as controllers
from controller.run_control import RunControl
from esa.entries import job_entries as e
from esa.errors import EsaError
from esa.job import MAX_EPOCH, Pool
from tests.controller.jobs import make_job, make_run
from tests.effort import tries
from tests.switches import SwitchProcess

Do = Callable[[Controller], Any]
TURNS = st.lists(st.integers(0, 12), max_size=8)  # how many calls, of one and of the other by turns


class Turns:
    """Two threads, one at a time: as many calls each as it is told; then the first to its end, and the second."""

    def __init__(self, calls: Sequence[int]) -> None:
        self._order = [turn % 2 for turn, number in enumerate(calls) for _ in range(number)]
        self._ended = [False, False]
        self._changed = threading.Condition()

    def take(self, who: int) -> None:
        """Wait for one's turn to make a call."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._next() == who, 30), "nobody's turn"
            if self._order:
                self._order.pop(0)
            self._changed.notify_all()

    def rest(self, who: int) -> None:
        """Sleep for longer than the other needs for all that it does."""
        with self._changed:
            self._order = [1 - who] * 1000
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._ended[1 - who], 30), "the other does not end"

    def end(self, who: int) -> None:
        with self._changed:
            self._ended[who] = True
            self._changed.notify_all()

    def _next(self) -> int:
        while self._order and self._ended[self._order[0]]:
            self._order.pop(0)
        return self._order[0] if self._order else int(self._ended[0])


class Taking(Switch):
    """Makes no call to read or write entries and groups before it is its turn."""

    turns: Turns
    who: int

    def insert(self, items: Iterable[Entry | Group]) -> None:
        self.turns.take(self.who)
        super().insert(items)

    def modify(self, items: Iterable[Entry | Group]) -> None:
        self.turns.take(self.who)
        super().modify(items)

    def delete(self, items: Iterable[Entry | Group]) -> None:
        self.turns.take(self.who)
        super().delete(items)

    def read_entries(self, tables: Sequence[str]) -> list[Entry]:
        """A table at a time: no switch promises that nobody writes between two."""
        found = []
        for table in tables:
            self.turns.take(self.who)
            found += super().read_entries([table])
        return found


def by_turns(process: SwitchProcess, saved: Path, calls: Sequence[int], *do: Do) -> list[Any]:
    """Do two things, on a connection each; what each returned or raised."""
    turns = Turns(calls)

    def run(who: int) -> Any:
        try:
            with Taking.connect(process.address, process.device_id) as switch:
                assert isinstance(switch, Taking)
                switch.turns, switch.who = turns, who
                return do[who](Controller(switch, saved))
        except EsaError as error:
            return error
        finally:
            turns.end(who)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, range(2)))


def start(controller: RunControl) -> InstalledJob:
    return controller.start_run(1)


def resume(controller: RunControl) -> InstalledJob:
    return controller.resume_run(1, MAX_EPOCH - 1)


def resume_an_older(controller: RunControl) -> InstalledJob:
    """One of before the switch forgot everything."""
    return controller.resume_run(1, 1)


def beginning(controller: Controller) -> None:
    """Two jobs on a switch that holds nothing else."""
    controller.switch.delete(controller.switch.read_entries([*e.JOB_TABLES, e.RUN]))
    controller.switch.delete([group for group in controller.switch.read_groups() if group.id != e.FLOOD_GROUP])
    pool = {"base": 0, "size": 1024}
    controller.add_job(make_job(pool=pool))
    controller.add_job(make_job("beta", 2, pool=pool))


def both_whole(controller: Controller) -> tuple[InstalledJob, InstalledJob]:
    """The two jobs, of which each has one run, and beside whose entries there are none."""
    alpha, beta = controller.jobs()
    assert alpha.problems == beta.problems == ()
    assert set(controller.switch.read_entries(e.JOB_TABLES)) == {*e.job_entries(alpha), *e.job_entries(beta)}
    return alpha, beta


@pytest.fixture
def fresh(controller: Controller) -> Controller:
    controller.add_job(make_job("beta", 2))  # so that a group is there when examples begin
    return controller


@pytest.mark.parametrize("begin", [start, resume, resume_an_older])
def test_a_policy_that_is_set_while_a_run_begins_is_that_of_the_run(
    fresh: Controller, process: SwitchProcess, saved: Path, begin: Do
) -> None:
    names = ["atp", "ps", "esa-coin"]

    def set_policies(controller: Controller) -> InstalledJob:
        return [controller.set_policy(1, name) for name in names][-1]

    @settings(deadline=None, max_examples=tries(12))
    @given(TURNS)
    def check(calls: list[int]) -> None:
        beginning(fresh)
        began, changed = by_turns(process, saved, calls, begin, set_policies)
        assert isinstance(began, InstalledJob), began
        assert isinstance(changed, InstalledJob), changed
        alpha, _ = both_whole(fresh)
        assert (alpha.epoch, alpha.policy.name) == (began.epoch, names[-1])

    check()


@pytest.mark.parametrize("where", ["by hand", "all"])
def test_rows_that_are_given_while_a_run_begins_are_those_of_the_run(
    fresh: Controller, process: SwitchProcess, saved: Path, where: str
) -> None:
    def give_rows(controller: Controller) -> Any:
        if where == "all":
            return placing.re_place_jobs(controller, {"alpha": 1.0, "beta": 0.0})
        return placing.move(controller, 1, Pool(base=2048, size=512))

    @settings(deadline=None, max_examples=tries(12))
    @given(TURNS)
    def check(calls: list[int]) -> None:
        beginning(fresh)
        began, given_rows = by_turns(process, saved, calls, start, give_rows)
        assert isinstance(began, InstalledJob), began
        assert not isinstance(given_rows, EsaError), given_rows
        alpha, _ = both_whole(fresh)
        if where == "by hand":
            assert alpha.pool == Pool(base=2048, size=512)
        else:
            assert [place.name for place in placing.places(fresh, {"alpha": 1.0, "beta": 0.0}) if place.moves] == []

    check()


@pytest.mark.parametrize("begin", [start, resume, resume_an_older])
def test_a_job_that_is_removed_while_a_run_begins_is_removed(
    fresh: Controller, process: SwitchProcess, saved: Path, begin: Do
) -> None:
    @settings(deadline=None, max_examples=tries(12))
    @given(TURNS)
    def check(calls: list[int]) -> None:
        beginning(fresh)
        began, removed = by_turns(process, saved, calls, begin, lambda controller: controller.remove_job(1))
        assert isinstance(removed, InstalledJob), removed
        assert isinstance(began, InstalledJob | EsaError)
        (beta,) = fresh.jobs()
        assert set(fresh.switch.read_entries(e.JOB_TABLES)) == set(e.job_entries(beta))
        assert {group.id for group in fresh.switch.read_groups()} == {e.FLOOD_GROUP, beta.group}

    check()


@pytest.mark.parametrize("begin", [start, resume, resume_an_older])
def test_what_is_left_over_is_no_run_that_begins(
    fresh: Controller, process: SwitchProcess, saved: Path, begin: Do, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = replace(InstalledJob.of(make_run("dead", 3), 200), epoch=7)  # a controller began it, and no more

    def reconcile(controller: Controller) -> list[str]:
        switch = controller.switch
        assert isinstance(switch, Taking)
        monkeypatch.setattr(controllers, "time", SimpleNamespace(sleep=lambda _: switch.turns.rest(switch.who)))
        return controller.reconcile()

    @settings(deadline=None, max_examples=tries(12))
    @given(TURNS)
    def check(calls: list[int]) -> None:
        beginning(fresh)
        fresh.switch.insert(e.job_entries(dead)[:-1])
        began, deleted = by_turns(process, saved, calls, begin, reconcile)
        assert isinstance(began, InstalledJob), began
        assert len(deleted) == len(e.job_entries(dead)) - 1
        alpha, _ = both_whole(fresh)
        assert alpha.epoch == began.epoch

    check()


def test_of_two_jobs_that_take_a_slice_at_a_time_one_at_most_has_it(
    fresh: Controller, process: SwitchProcess, saved: Path
) -> None:
    rows = Pool(base=2048, size=1024)

    def takes(job: int) -> Do:
        return lambda controller: controller.set_policy(job, "switchml", pool=rows)

    @settings(deadline=None, max_examples=tries(12))
    @given(TURNS)
    def check(calls: list[int]) -> None:
        beginning(fresh)
        done = by_turns(process, saved, calls, takes(1), takes(2))
        jobs = fresh.jobs()
        assert [job.policy.name for job in jobs] == [
            "switchml" if isinstance(each, InstalledJob) else "esa" for each in done
        ]
        assert sum(job.pool == rows for job in jobs) <= 1
        assert all(isinstance(each, InstalledJob | BadInput) for each in done), done

    check()
