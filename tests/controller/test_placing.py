"""Jobs on a real switch are given other rows when jobs come and go: who is moved, who stays, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller import BadInput, Controller, Entry, Group, Refused, Switch
from controller.placing import LONG_RUN, measured_demands, move, places, re_place_jobs
from esa.entries import job_entries as e
from esa.job import Pool
from tests.controller.jobs import make_job

ROWS = 8192


def add(controller: Controller, names: str, **settings: Any) -> None:
    for name in names:
        number = ord(name) - ord("a") + 1
        controller.add_job(make_job(name, number, **{"pool": {"base": 0, "size": 256}, **settings}))


def pools(controller: Controller) -> dict[str, Pool | None]:
    return {controller.name(job): job.pool for job in controller.jobs()}


def test_jobs_make_room_for_one_that_comes_and_take_that_of_one_that_goes(controller: Controller) -> None:
    add(controller, "abcd")
    assert len(re_place_jobs(controller)) == 4
    assert pools(controller) == {name: Pool(base=2048 * k, size=2048) for k, name in enumerate("abcd")}
    add(controller, "e")
    moved = re_place_jobs(controller)
    assert [place.name for place in moved] == ["d", "e"]
    assert pools(controller) == {
        **{name: Pool(base=2048 * k, size=2048) for k, name in enumerate("abc")},
        "d": Pool(base=6144, size=1024),
        "e": Pool(base=7168, size=1024),
    }
    controller.remove_job("e")
    assert [(place.pool, place.wanted) for place in re_place_jobs(controller)] == [
        (Pool(base=6144, size=1024), Pool(base=6144, size=2048))
    ]
    assert re_place_jobs(controller) == []
    assert not any(job.problems for job in controller.jobs())


def test_a_move_changes_the_rows_and_nothing_else(controller: Controller) -> None:
    add(controller, "ab", ttl_us=77)
    before = controller.jobs()
    re_place_jobs(controller)
    after = controller.jobs()
    assert [job.pool for job in after] != [job.pool for job in before]
    assert [replace(job, pool=None) for job in after] == [replace(job, pool=None) for job in before]


def test_a_job_of_which_the_file_knows_nothing_stays_and_so_do_slices(controller: Controller, saved: Path) -> None:
    Controller(controller.switch).add_job(make_job("x", 9, pool={"base": 0, "size": 512}))
    add(controller, "s", policy="switchml", window=128, pool={"base": 512, "size": 256})
    add(controller, "t", policy="atp", pool={"base": 1024, "size": 1024})
    add(controller, "a")
    re_place_jobs(controller)
    found = pools(controller)
    assert (found["job-9"], found["s"], found["t"]) == (
        Pool(base=0, size=512),
        Pool(base=512, size=256),
        Pool(base=1024, size=1024),
    )
    assert found["a"] == Pool(base=2048, size=2048)


def test_a_run_of_many_packets_keeps_its_rows(controller: Controller) -> None:
    add(controller, "ab")
    controller.switch.write_counters([(e.COUNTERS["gradients"], 1, LONG_RUN)])
    assert [place.name for place in re_place_jobs(controller)] == ["b"]
    with pytest.raises(BadInput, match=f"job a has sent {LONG_RUN} packets or more in this run"):
        move(controller, "a", Pool(base=0, size=64))
    controller.start_run("a")
    assert move(controller, "a", Pool(base=0, size=64)).pool == Pool(base=0, size=64)


def test_demand_is_the_files_or_what_jobs_send(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    add(controller, "a", demand=0.25)
    add(controller, "b")
    assert [place.demand for place in places(controller)] == [0.25, 1.0]
    read = controller.read_counters
    looks = iter((0, 1))

    def sending(indices: list[int]) -> list[dict[str, int]]:
        look = next(looks)
        return [{**each, "gradients": look * 300 * index} for index, each in zip(indices, read(indices), strict=True)]

    monkeypatch.setattr(controller, "read_counters", sending)
    assert measured_demands(controller, 0.01) == {"a": 0.5, "b": 1.0}
    monkeypatch.undo()
    assert [place.demand for place in places(controller, {"a": 0.5})] == [0.5, 1.0]


class Racing(Switch):
    """Somebody gives the first job a new run, once, just before rows are written."""

    raced = False

    def modify(self, items: list[Entry | Group]) -> None:
        if not self.raced:
            self.raced = True
            Controller(self).start_run(1)
        super().modify(items)


def test_a_run_that_starts_meanwhile_is_placed_by_the_next_look(controller: Controller, saved: Path) -> None:
    add(controller, "ab")
    with Racing.connect(controller.switch.address, controller.switch.device_id) as switch:
        re_place_jobs(Controller(switch, saved))
    assert pools(controller) == {name: Pool(base=2048 * k, size=2048) for k, name in enumerate("ab")}


class Refusing(Switch):
    """Takes no change of entries."""

    def modify(self, items: list[Entry | Group]) -> None:
        raise Refused("the table is read-only")


def test_a_switch_that_refuses_is_said(controller: Controller, saved: Path) -> None:
    add(controller, "ab")
    with (
        Refusing.connect(controller.switch.address, controller.switch.device_id) as switch,
        pytest.raises(Refused, match="read-only"),
    ):
        re_place_jobs(Controller(switch, saved))
