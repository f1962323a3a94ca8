"""ONES decides: limits double and halve, who has just been moved stays, free GPUs are had at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.cluster.inventory import Cluster, Gpu
from esa.cluster.kinds import Kind
from esa.cluster.ones.policy import Ones
from esa.cluster.ones.settings import ARTEFACT, NETWORK, REPAIRED, Settings
from esa.cluster.scheduler import JobInfo, Running
from esa.cluster.times import COMPUTING, Answer, Asked, Times
from esa.cluster.training import Training
from esa.cluster.validate import check_decision
from esa.errors import BadInput
from tests.cluster.clusters import asked, cluster
from tests.effort import tries

SECOND = 10**9
FOUR = cluster((2,), gpus=2)


def job(number: int, epochs: float = 0, workers: int = 2, most: int = 8) -> JobInfo:
    """After so many epochs of 100 samples, at 10 a second."""
    training = Training(100, int(epochs), 100.0 * epochs, 10.0, 1.0, 1.0 / (1 + epochs), 0.0)
    kind = Kind(batch=64)
    return asked(number, workers, aggregates=False, has_server=False, elastic=(1, most), training=training, kind=kind)


class World:
    """A cluster on which whatever is decided is checked and done, and every GPU trains `rate` epochs a tick."""

    def __init__(self, decide: Ones, where: Cluster, rate: float = 0.5, times: Times = COMPUTING) -> None:
        self.decide, self.where, self.rate, self.times = decide, where, rate, times
        self.done: dict[int, float] = {}
        self.on: dict[int, tuple[Gpu, ...]] = {}
        self.moved_at: dict[int, float] = {}
        self.widest: dict[int, int] = {}
        self.now = 0

    def tick(self) -> None:
        infos = {number: job(number, done) for number, done in self.done.items()}
        waiting = [infos[number] for number in infos if number not in self.on]
        running = [Running(infos[number], 0, gpus, None) for number, gpus in self.on.items()]
        self.now += SECOND
        decision = self.decide(self.now, self.where, waiting, running, self.times)
        check_decision(decision, self.where, waiting, running)
        for stop in decision.stops:
            self._may_move(stop.job)
            del self.on[stop.job]
        for resize in decision.resizes:
            self._may_move(resize.job)
            assert len(resize.workers) <= 2 * self.widest[resize.job]  # limits double from what was had
            self._put(resize.job, resize.workers)
        for start in decision.starts:
            self._put(start.job, start.workers)
        for number, gpus in self.on.items():
            self.done[number] += self.rate * len(gpus)

    def _may_move(self, number: int) -> None:
        """Not twice within an epoch; the evaluation before the first counts as one."""
        assert int(self.done[number]) - int(self.moved_at[number]) >= (self.moved_at[number] > 0)

    def _put(self, number: int, gpus: tuple[Gpu, ...]) -> None:
        self.moved_at[number] = self.done[number]
        self.on[number] = gpus
        self.widest[number] = max(len(gpus), self.widest.get(number, 0))


@settings(max_examples=tries(25), deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=9), st.sampled_from([ARTEFACT, REPAIRED]), st.integers(0, 99))
def test_whatever_it_decides_can_be_done_and_nobody_is_moved_twice_in_an_epoch(
    arrivals: list[int], settings_: Settings, seed: int
) -> None:
    world = World(Ones(settings_, seed), FOUR)
    ends = 0
    for tick in range(60):
        for number, at in enumerate(arrivals):
            if at == tick:
                world.done[number] = 0.0
        gone = [number for number, done in world.done.items() if done >= 12]
        ends += len(gone)
        for number in gone:
            del world.done[number]
            world.on.pop(number, None)
        world.tick()
    assert ends


def test_a_start_on_free_gpus_is_not_put_off_by_who_may_not_move() -> None:
    for settings_ in (ARTEFACT, REPAIRED):
        world = World(Ones(settings_, 3), FOUR, rate=0.01)
        for number in range(4):
            world.done[number] = 0.0
            world.tick()
            assert [*world.on] == [*range(number + 1)]


def test_who_is_stopped_comes_back_with_half_of_his_limit() -> None:
    world = World(Ones(REPAIRED, 1), FOUR)
    world.done[0] = 0.0
    for _ in range(30):
        world.tick()
    assert len(world.on[0]) == 4
    world.done |= dict.fromkeys(range(1, 9), 0.0)
    known = world.decide._known
    while 0 in world.on:
        world.tick()
    assert known[0].waiting == known[0].limit == 4
    world.tick()
    assert 0 not in world.on
    assert known[0].waiting == known[0].limit == 2


def test_a_job_starts_with_one_gpu_and_doubles_by_twos_of_epochs() -> None:
    world = World(Ones(REPAIRED, 1), cluster((4,), gpus=4))
    world.done[0] = 0.0
    sizes = []
    for _ in range(40):
        world.tick()
        sizes.append(len(world.on[0]))
    assert sorted(set(sizes)) == [1, 2, 4, 8]  # it asks for 2: no more than 4 times as many
    assert sizes == sorted(sizes)
    assert sizes.count(1) >= 2


def test_the_same_seed_decides_the_same() -> None:
    worlds = [World(Ones(REPAIRED, 5), FOUR) for _ in range(2)]
    for world in worlds:
        world.done = dict.fromkeys(range(6), 0.0)
        for _ in range(25):
            world.tick()
    assert worlds[0].on == worlds[1].on
    assert worlds[0].done == worlds[1].done


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        (replace(job(0), training=None), "job job-0: it says nothing of its training; allowed under ones: jobs that"),
        (replace(job(0), elastic=None), "job job-0: 2 workers, at least 2; allowed under ones: 1 GPU, and no PS"),
    ],
)
def test_jobs_that_it_is_not_for_are_refused(given_: JobInfo, problem: str) -> None:
    with pytest.raises(BadInput) as refused:
        Ones(REPAIRED, 1)(0, FOUR, [given_], [], COMPUTING)
    assert str(refused.value).startswith(problem)
    with pytest.raises(BadInput, match="max_jobs: 3; allowed under ones: as many as GPUs, 4, or more"):
        Ones(REPAIRED, 1)(0, replace(FOUR, max_jobs=3), [job(0)], [], COMPUTING)


def test_constants_are_checked() -> None:
    with pytest.raises(BadInput, match=r"mutation: 1.5; allowed: 0 to 1"):
        Settings(mutation=1.5)


class InOneHost:
    """Whoever is on more than one host takes a thousand times as long."""

    isolated = False

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, running: Sequence[Asked], /) -> Sequence[Answer]:
        self.asked += 1
        return [Answer(1000.0 if len(asked.hosts) > 1 else 1.0) for asked in running]


def test_of_the_best_schedules_the_one_that_is_fastest_by_times_is_installed() -> None:
    """Wide jobs on hosts of two GPUs: who asks has fewer of them on two hosts than who does not."""
    crossing = []
    for settings_ in (REPAIRED, replace(NETWORK, asked=16)):
        times, apart, ticks = InOneHost(), 0, 0
        for seed in range(6):
            world = World(Ones(settings_, seed), cluster((3,), gpus=2), times=times)
            world.done = dict.fromkeys(range(3), 0.0)
            for _ in range(30):
                world.tick()
                apart += sum(len({gpu.host for gpu in gpus}) > 1 for gpus in world.on.values())
                ticks += 1
        crossing.append(apart / ticks)
        assert (times.asked > 0) == (settings_.asked > 0)
    assert crossing[1] < 0.9 * crossing[0]
