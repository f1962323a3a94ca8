"""Who is told what when members of a job come and go: a room without a switch, its clients lists of messages."""

from __future__ import annotations

import re
from typing import Any

import pytest

from controller.room import Room, Started
from esa.coordination import PS, Finished, Hello, Left, Notice, PolicyIs, Refuse, Start, ToMember
from esa.errors import Refused
from esa.job import Job, Pool
from esa.wire import ESA_PORT
from tests.controller.jobs import make_job, member


class Heard(list[ToMember]):
    """A member that keeps what it is told."""

    def send(self, message: ToMember) -> None:
        self.append(message)


class Scene:
    """A room for a job of `workers` workers whose runs get epochs 1, 2, ..."""

    def __init__(self, workers: int = 2) -> None:
        self.job = make_job(workers=[member(1 + place, 20001) for place in range(workers)])
        self.started = self.ended = 0
        self.problem: Exception | None = None
        self.pool: Pool | None = None  # that the switch has for the job
        self.room = Room(self.job, self._start, self._end)

    def _start(self) -> Started:
        if self.problem is not None:
            raise self.problem
        self.started += 1
        return Started(self.started, "esa", self.pool)

    def _end(self) -> None:
        self.ended += 1

    def come(self, place: int, job: Job | None = None, **hello: Any) -> Heard:
        heard = Heard()
        self.room.enter(heard, Hello(job=job or self.job, member=place, **hello))
        return heard

    def run(self, epoch: int = 1) -> tuple[Heard, Heard, Heard]:
        """Two workers in a run, and the PS."""
        a, b, server = self.come(0), self.come(1), self.come(PS)
        self.room.server_ready(server, epoch)
        return a, b, server


def test_a_run_starts_when_all_are_there_the_ps_first() -> None:
    scene = Scene()
    a, server = scene.come(0), scene.come(PS)
    assert (a, server) == ([], [])
    b = scene.come(1)
    assert (a, b, server) == ([], [], [Start(epoch=1, policy="esa")])
    scene.room.server_ready(server, 1)
    assert a == b == [Start(epoch=1, policy="esa")]


def test_of_several_pss_all_have_to_come_and_to_listen() -> None:
    scene = Scene()
    scene.job = make_job(more_servers=[member(12, ESA_PORT)])
    scene.room = Room(scene.job, scene._start, scene._end)
    a, b, first = scene.come(0), scene.come(1), scene.come(PS)
    scene.room.remind()
    assert a == [Notice(text="job alpha: waits for PS 1 (10.0.0.12) to join")]
    (refused,) = scene.come(PS)
    assert refused == Refuse(why="job alpha: PS 0 (10.0.0.11) takes part already")
    (refused,) = scene.come(PS, server=2)
    assert refused == Refuse(why="job alpha: has PSs 0..1, not 2")
    second = scene.come(PS, server=1)
    assert first == second == [Start(epoch=1, policy="esa")]
    scene.room.server_ready(second, 1)
    assert scene.room.epoch is None
    scene.room.server_ready(first, 1)
    assert scene.room.epoch == 1
    assert b[-1] == Start(epoch=1, policy="esa")
    scene.room.policy_changed("atp")
    assert first[-1] == second[-1] == PolicyIs(policy="atp")
    scene.room.leave(second, ok=False, why="died")
    assert a[-1] == Left(member=PS, ok=False, why="died")
    assert scene.come(PS, server=1) == [Start(epoch=1, policy="atp")]


def test_who_waits_is_told_for_whom() -> None:
    scene = Scene(3)
    a = scene.come(1)
    scene.room.remind()
    assert a == [
        Notice(text="job alpha: waits for worker 0 (10.0.0.1), worker 2 (10.0.0.3), the PS (10.0.0.11) to join")
    ]


@pytest.mark.parametrize(
    ("place", "hello", "why"),
    [
        (0, {}, r"worker 0 \(10.0.0.1\) takes part already"),
        (1, {"size": 3, "rank": 1}, "has 2 workers, the program's world 3"),
        (1, {"rank": 7}, r"worker 0 \(10.0.0.1\) and worker 1 \(10.0.0.2\) are both rank 7"),
        (2, {}, "has workers 0..1, not 2"),
        (1, {"job": make_job(window=100)}, "window is 100 here and 256 on the switch"),
        (1, {"job": make_job(quantisation="fixed")}, "quantisation is fixed here and adaptive on the switch"),
        (
            1,
            {"job": make_job(workers=[member(1, 20001), member(5, 20001)])},
            "workers.1.ip is 10.0.0.5 here and 10.0.0.2 on",
        ),
        (1, {"job": make_job(workers=[member(1)])}, "the number of workers is 1 here and 2 on the switch"),
    ],
)
def test_who_does_not_fit_is_refused_and_the_others_wait_on(place: int, hello: dict[str, Any], why: str) -> None:
    scene = Scene()
    a = scene.come(0, rank=7)
    (refused,) = scene.come(place, **hello)
    assert isinstance(refused, Refuse)
    assert re.search(why, refused.why), refused.why
    assert a == []


def test_a_policy_that_was_changed_on_the_switch_is_no_difference() -> None:
    scene = Scene()
    assert scene.come(0, job=make_job(policy="atp", pool={"base": 0, "size": 64})) == []


def test_what_the_switch_refuses_is_told_to_all_who_wait() -> None:
    scene = Scene()
    scene.problem = Refused("the table is full")
    a, b, server = scene.come(0), scene.come(1), scene.come(PS)
    assert a == b == [Refuse(why="the table is full")]
    assert server == []
    scene.problem = None
    scene.come(0), scene.come(1)
    assert server == [Start(epoch=1, policy="esa")]


def test_one_that_ends_ends_the_run_and_the_others_learn_who_and_why() -> None:
    scene = Scene()
    a, b, server = scene.run()
    scene.room.leave(b, ok=False, why="KeyboardInterrupt")
    assert a[1:] == [Left(member=1, ok=False, why="KeyboardInterrupt")]
    assert b[1:] == server[1:] == []
    assert scene.ended == 1
    a2, b2 = scene.come(0), scene.come(1)  # the same script again
    assert server[1:] == [Start(epoch=2, policy="esa")]
    scene.room.server_ready(server, 2)
    assert a2 == b2 == [Start(epoch=2, policy="esa")]
    scene.room.leave(a, ok=False, why="late")  # of the run that is over: nobody's business
    assert (a2, b2) == ([Start(epoch=2, policy="esa")],) * 2


def test_leaving_in_good_order_is_over_when_all_have_left() -> None:
    scene = Scene()
    a, b, _ = scene.run()
    scene.room.leave(a, ok=True, why="")
    assert b[1:] == [Left(member=0, ok=True, why="")]
    assert a[1:] == []
    scene.room.leave(b, ok=True, why="")
    assert a[1:] == [Left(member=1, ok=True, why=""), Finished()]
    assert b[2:] == [Finished()]
    assert scene.ended == 1


def test_one_that_left_in_good_order_may_come_again_before_the_others_have() -> None:
    scene = Scene()
    a, b, server = scene.run()
    scene.room.leave(a, ok=True, why="")
    again = scene.come(0)
    assert again == []
    scene.room.leave(b, ok=True, why="")
    scene.come(1)
    scene.room.server_ready(server, 2)
    assert again == [Start(epoch=2, policy="esa")]


def test_the_ps_may_go_and_come_back_in_the_middle_of_a_run() -> None:
    scene = Scene()
    a, _, server = scene.run()
    scene.room.leave(server, ok=False, why="it ended without a word")
    assert a[1:] == [Left(member=PS, ok=False, why="it ended without a word")]
    assert scene.come(PS) == [Start(epoch=1, policy="esa")]
    assert (scene.started, scene.ended) == (1, 0)


def test_a_second_ps_is_refused() -> None:
    scene = Scene()
    scene.run()
    assert scene.come(PS) == [Refuse(why="job alpha: a PS takes part already")]


def test_one_that_goes_while_the_ps_starts_stops_the_start() -> None:
    scene = Scene()
    a, b, server = scene.come(0), scene.come(1), scene.come(PS)
    scene.room.leave(b, ok=False, why="killed")
    scene.room.server_ready(server, 1)
    assert a == []
    scene.come(1)
    assert server == [Start(epoch=1, policy="esa"), Start(epoch=2, policy="esa")]
    scene.room.server_ready(server, 1)  # late news of the start that was given up
    assert a == []
    scene.room.server_ready(server, 2)
    assert a == [Start(epoch=2, policy="esa")]


def test_members_of_a_run_come_back_to_a_new_coordinator() -> None:
    scene = Scene()
    scene.room.adopt(9, "esa")
    a, b, server = scene.come(0, epoch=9), scene.come(1, epoch=9), scene.come(PS, epoch=9)
    assert (a, b) == ([], [])
    assert server == [Start(epoch=9, policy="esa")]
    assert scene.come(1, epoch=8) == [Refuse(why="job alpha: the run (epoch 8) has ended")]
    scene.room.leave(b, ok=False, why="killed")
    assert a == [Left(member=1, ok=False, why="killed")]


def test_a_changed_policy_reaches_the_ps() -> None:
    scene = Scene()
    a, _, server = scene.run()
    scene.room.policy_changed("esa")
    scene.room.policy_changed("atp")
    assert server[1:] == [PolicyIs(policy="atp")]
    assert a[1:] == []


def test_a_job_that_is_taken_off_the_switch_ends_its_run() -> None:
    scene = Scene()
    a, b, _ = scene.run()
    scene.room.close("it was removed")
    assert a[1:] == b[1:] == [Refuse(why="it was removed")]


def test_the_ps_of_a_removed_job_waits_for_it_unless_its_number_is_another_s() -> None:
    scene = Scene()
    _, _, server = scene.run()
    scene.room.close("it was removed")
    assert scene.room.idle
    assert not scene.room.empty
    assert server[1:] == []
    scene.room.dismiss("another job has its number")
    assert server[1:] == [Refuse(why="another job has its number")]
    assert scene.room.empty
