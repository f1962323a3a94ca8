"""Runs on real switches: no epoch is given twice, whoever asks and whatever was lost; a run starts whole or not.

One reason to change: when a run starts, and which epoch it gets.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller import (
    BadInput,
    Controller,
    Entry,
    Group,
    InstalledJob,
    Refused,
    Supervisor,
    Switch,
    Wanted,
    run_entries,
)
from controller import controller as controllers
from controller import supervisor as supervisors
from controller.job_counters import Occupancy
from controller.runs import draw_epoch, epochs
from esa import wire
from esa.entries import job_entries as e
from esa.errors import AlreadyExists, SwitchError
from esa.job import MAX_EPOCH, Job
from esa.policy import policy
from tests.controller.jobs import make_job, member
from tests.controller.test_controller import Failing, contents, count
from tests.controller.test_traffic import Network, network  # noqa: F401 - a fixture
from tests.switches import KINDS, SwitchProcess, running_switch

Draw = Callable[[Switch, int], int]


# Never twice


class Meeting(Switch):
    """Waits, before it first writes what `meets` says, for another to do so: both have read, neither has written."""

    meets: Callable[[Entry | Group], bool]
    barrier: threading.Barrier

    def insert(self, items: Iterable[Entry | Group]) -> None:
        items = list(items)
        self._meet(items)
        super().insert(items)

    def modify(self, items: Iterable[Entry | Group]) -> None:
        items = list(items)
        self._meet(items)
        super().modify(items)

    def _meet(self, items: list[Entry | Group]) -> None:
        if any(map(self.meets, items)):
            self.meets = lambda _: False
            with suppress(threading.BrokenBarrierError):
                self.barrier.wait(10)


def at_once(process: SwitchProcess, meets: Callable[[Entry | Group], bool], *do: Callable[[Switch], Any]) -> list[Any]:
    """Do two things on two connections that meet; what each returned or raised."""
    barrier = threading.Barrier(len(do))

    def run(each: Callable[[Switch], Any]) -> Any:
        with Meeting.connect(process.address, process.device_id) as switch:
            assert isinstance(switch, Meeting)
            switch.meets, switch.barrier = meets, barrier
            try:
                return each(switch)
            except (SwitchError, BadInput) as error:
                return error

    with ThreadPoolExecutor(len(do)) as pool:
        return list(pool.map(run, do))


def is_run(item: Entry | Group) -> bool:
    return isinstance(item, Entry) and item.table == e.RUN


def is_job_group(item: Entry | Group) -> bool:
    return isinstance(item, Group) and item.id != e.FLOOD_GROUP


def check_draws(process: SwitchProcess, draw: Draw) -> None:
    """Two that draw at the same instant get two epochs, and so does whoever comes later."""
    drawn = [epoch for _ in range(3) for epoch in at_once(process, is_run, *[lambda switch: draw(switch, 1)] * 2)]
    with Switch.connect(process.address, process.device_id) as switch:
        drawn.append(draw(switch, 1))
        assert len(set(drawn)) == len(drawn), f"given twice: {drawn}"
        assert epochs(switch, 1)[-1] == max(drawn)


def check_jobs_that_come_and_go(process: SwitchProcess, saved: Path, seed: int, steps: int) -> None:
    """Two controllers add, remove and start the same jobs at random; every run that starts is one that never was."""
    started: list[tuple[int, int]] = []

    def work(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        with Switch.connect(process.address, process.device_id) as switch:
            for _ in range(steps):
                controller = Controller(switch, saved if chance.random() < 0.5 else None)  # comes anew each time
                job = chance.randint(1, 2)
                with suppress(SwitchError, BadInput):  # the other was quicker
                    do = chance.choice(["add", "remove", "start", "start"])
                    if do == "remove":
                        controller.remove_job(job)
                    else:
                        new = controller.add_job(make_job(f"j{job}", job)) if do == "add" else controller.start_run(job)
                        started.append((job, new.epoch))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    assert len(set(started)) == len(started), f"seed {seed}: given twice: {sorted(started)}"
    assert len(started) > 2, f"seed {seed}: hardly anything came to be"


@pytest.mark.usefixtures("controller")
def test_two_who_draw_at_once_get_two_epochs(process: SwitchProcess) -> None:
    check_draws(process, draw_epoch)


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("seed", [1, 2])
def test_no_run_starts_twice_whoever_starts_it(process: SwitchProcess, saved: Path, seed: int) -> None:
    check_jobs_that_come_and_go(process, saved, seed, steps=24)
    with Switch.connect(process.address, process.device_id) as switch:
        controller = Controller(switch)
        controller.reconcile()
        assert controller.leftovers() == []
        for job in (1, 2):
            with suppress(BadInput):
                controller.remove_job(job)
        assert contents(switch)[1] == {group for group in contents(switch)[1] if group.id == e.FLOOD_GROUP}


def always_the_same(switch: Switch, job: int) -> int:
    return 7


def beyond_what_is_installed(switch: Switch, job: int) -> int:
    """Forgets a job that was removed."""
    there = (entry.match for entry in switch.read_entries([e.POLICY]))
    return max((epoch for number, epoch in there if number == job), default=0) + 1


def whether_or_not_it_was_taken(switch: Switch, job: int) -> int:
    epoch = max(epochs(switch, job), default=0) + 1
    with suppress(AlreadyExists):
        switch.insert([e.run_entry(job, epoch)])
    return epoch


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("mutant", [always_the_same, whether_or_not_it_was_taken])
def test_who_gives_an_epoch_twice_at_once_is_found_out(process: SwitchProcess, mutant: Draw) -> None:
    with pytest.raises(AssertionError, match="given twice"):
        check_draws(process, mutant)


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("mutant", [always_the_same, beyond_what_is_installed])
def test_who_gives_an_epoch_again_later_is_found_out(
    process: SwitchProcess, saved: Path, monkeypatch: pytest.MonkeyPatch, mutant: Draw
) -> None:
    monkeypatch.setattr(controllers, "draw_epoch", mutant)
    monkeypatch.setattr(run_entries, "is_newest", lambda *_: True)
    with pytest.raises(AssertionError, match="given twice"):
        check_jobs_that_come_and_go(process, saved, 1, steps=24)


def test_a_controller_that_comes_later_knows(controller: Controller, process: SwitchProcess) -> None:
    given = [controller.add_job(make_job()).epoch, controller.start_run("alpha").epoch]
    controller.remove_job("alpha")
    with Switch.connect(process.address, process.device_id) as switch:
        given.append(Controller(switch).add_job(make_job()).epoch)
        given.append(Controller(switch).start_run(1).epoch)
    first = given[0]
    assert given == [first, first + 1, first + 2, first + 3]
    assert epochs(controller.switch, 1) == given[-1:], "older ones are not kept"


def test_a_program_that_is_loaded_anew_starts_anywhere(controller: Controller) -> None:
    first = set()
    for _ in range(3):
        controller.load(64)
        first.add(controller.add_job(make_job()).epoch)
    assert len(first) > 1


def test_the_last_epoch_is_the_end(controller: Controller) -> None:
    controller.add_job(make_job())
    controller.switch.insert([e.run_entry(1, MAX_EPOCH - 1)])
    assert controller.start_run(1).epoch == MAX_EPOCH
    before = contents(controller.switch)
    with pytest.raises(Refused, match=r"^job: 1 has used all its 65535 epochs on the switch at .*: give it") as caught:
        controller.start_run(1)
    assert "\n" not in str(caught.value)
    assert contents(controller.switch) == before
    controller.remove_job(1)
    before = contents(controller.switch)
    with pytest.raises(Refused, match="give it another number"):
        controller.add_job(make_job())
    assert contents(controller.switch) == before
    controller.add_job(make_job(job=2))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_epochs_go_on_when_the_switch_was_killed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisors, "COMPARE_S", 0.0)
    with running_switch(kind) as first:
        current = [first]
        supervisor = Supervisor(lambda: Switch.connect(current[0].address), lambda: Wanted([make_job()]))
        try:
            supervisor.look()
            with Switch.connect(first.address) as switch:
                controller = Controller(switch)
                seen = [controller.start_run(1), controller.add_job(make_job("gone", 2))]
                controller.remove_job(2)
                supervisor.look()
                unseen = controller.start_run(1)
            first.process.kill()
            first.process.wait()
            supervisor.look()
            with running_switch(kind) as second:
                current[0] = second
                supervisor.look()
                with Switch.connect(second.address) as switch:
                    controller = Controller(switch)
                    assert [job.epoch for job in controller.jobs()] == [seen[0].epoch]
                    assert controller.start_run(1).epoch > unseen.epoch
                    assert controller.add_job(make_job("gone", 2)).epoch > seen[1].epoch
        finally:
            supervisor.close()


# Whole or not at all


@pytest.mark.parametrize("name", ["esa", "atp", "switchml", "ps", "esa-coin"])
def test_a_run_keeps_everything_of_its_job_but_the_epoch(controller: Controller, name: str) -> None:
    controller.add_job(make_job())
    controller.add_job(make_job("beta", 2))
    changed = controller.set_policy("alpha", name, pool=None if name != "switchml" else make_job().pool.model_copy(
        update={"base": 4096, "size": 4096}))  # fmt: skip
    beta = controller.find("beta")
    hosts, groups = controller.hosts(), contents(controller.switch)[1]
    new = controller.start_run("alpha")
    assert new == replace(changed, epoch=changed.epoch + 1)
    assert controller.jobs() == [new, beta]
    assert controller.find("alpha").policy == policy(name)
    assert (controller.hosts(), contents(controller.switch)[1]) == (hosts, groups)
    assert set(controller.switch.read_entries(e.JOB_TABLES)) == {*e.job_entries(new), *e.job_entries(beta)}


def test_rows_of_the_last_run_count_for_nobody(controller: Controller) -> None:
    controller.add_job(make_job())
    count(controller.switch, 1, seated=100, released=60, gradients=7)
    controller.start_run("alpha")
    assert controller.occupancy() == Occupancy({"alpha": 0}, 40, 8192)
    assert controller.counters("alpha") == dict.fromkeys(e.COUNTERS, 0)
    count(controller.switch, 0, released=40)  # reclaimed
    controller.start_run("alpha")
    assert controller.occupancy().total == 0


@pytest.mark.parametrize("full", e.JOB_TABLES)
def test_a_run_that_cannot_start_leaves_the_last_one(controller: Controller, process: SwitchProcess, full: str) -> None:
    old = controller.add_job(make_job(more_servers=[member(20, wire.ESA_PORT)]))
    before = contents(controller.switch)
    with Failing.connect(process.address, process.device_id) as failing:
        assert isinstance(failing, Failing)
        failing.full = full
        with pytest.raises(Refused, match="the table is full"):
            Controller(failing).start_run(1)
    assert contents(controller.switch) == before
    assert controller.jobs() == [old]
    assert controller.start_run(1).epoch > old.epoch + 1


def test_a_run_of_what_is_not_there_or_damaged_is_refused(controller: Controller) -> None:
    with pytest.raises(BadInput, match="no job 'alpha' in the switch"):
        controller.start_run("alpha")
    job = controller.add_job(make_job())
    controller.switch.delete([e.owner_entry(job)])
    with pytest.raises(Refused, match=r"job alpha is damaged in the switch \(no owner entry\): add it anew"):
        controller.start_run("alpha")


def test_what_a_controller_that_died_while_it_started_a_run_left_is_cleared(
    controller: Controller, process: SwitchProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisors, "COMPARE_S", 0.0)
    monkeypatch.setattr(supervisors, "COMPARE_AGAIN_S", 0.0)
    old = controller.add_job(make_job())
    for present in range(1, len(e.job_entries(old)) + 1):
        (old,) = controller.jobs()
        new = replace(old, epoch=draw_epoch(controller.switch, 1))
        controller.switch.insert(e.job_entries(new)[:present])
        whole = new if present == len(e.job_entries(new)) else old
        assert controller.jobs() == [whole]
        supervisor = Supervisor(
            lambda: Switch.connect(process.address, process.device_id), lambda: Wanted([make_job()], exclusive=True)
        )
        with supervisor:
            supervisor.look()
            supervisor.look()
            assert supervisor.whole
        assert controller.jobs() == [whole], "the run goes on"
        assert set(controller.switch.read_entries(e.JOB_TABLES)) == set(e.job_entries(whole))
    controller.switch.insert(e.job_entries(replace(new, epoch=draw_epoch(controller.switch, 1))))
    started = controller.start_run(1)
    assert set(controller.switch.read_entries(e.JOB_TABLES)) == set(e.job_entries(started))
    controller.switch.insert(e.job_entries(replace(new, epoch=draw_epoch(controller.switch, 1))))
    controller.remove_job(1)
    assert controller.switch.read_entries(e.JOB_TABLES) == []


# At the same time


def check_two_jobs(process: SwitchProcess, controller: Controller) -> None:
    jobs = [make_job(f"j{number}", number) for number in (1, 2)]
    at_once(process, is_job_group, *[lambda switch, job=job: Controller(switch).add_job(job) for job in jobs])
    installed = controller.jobs()
    assert [job.job for job in installed] == [1, 2]
    assert len({job.group for job in installed}) == 2
    assert [job.problems for job in installed] == [(), ()]
    assert contents(controller.switch)[1] >= {e.job_group(job) for job in installed}


def test_two_jobs_at_once_have_an_index_each(process: SwitchProcess, controller: Controller) -> None:
    check_two_jobs(process, controller)


def test_who_takes_an_index_without_asking_is_found_out(
    process: SwitchProcess, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def claim(self: Controller, job: InstalledJob) -> InstalledJob:
        used = e.used_indices(self.switch.read_entries(e.JOB_TABLES), self.switch.read_groups())
        claimed = replace(job, index=min(set(range(1, 9)) - used))
        try:
            self.switch.insert([e.job_group(claimed)])
        except AlreadyExists:
            self.switch.modify([e.job_group(claimed)])
        return claimed

    monkeypatch.setattr(Controller, "_claim", claim)
    with pytest.raises(AssertionError):
        check_two_jobs(process, controller)


@pytest.mark.parametrize("meets", [is_run, is_job_group], ids=["drawing", "claiming"])
def test_of_one_job_at_once_one_at_most_is_installed(
    process: SwitchProcess, controller: Controller, meets: Any
) -> None:
    done = at_once(process, meets, *[lambda switch: Controller(switch).add_job(make_job())] * 2)
    installed = [job for job in done if isinstance(job, InstalledJob)]
    assert controller.jobs() == installed
    assert len(installed) <= 1
    assert controller.leftovers() == []
    controller.add_job(make_job("beta", 2))


def test_of_two_runs_at_once_the_newer_stays(process: SwitchProcess, controller: Controller) -> None:
    first = controller.add_job(make_job())
    for _ in range(3):
        done = at_once(process, is_run, *[lambda switch: Controller(switch).start_run(1)] * 2)
        runs = [job.epoch for job in done if isinstance(job, InstalledJob)]
        assert runs, done
        assert [job.epoch for job in controller.jobs()] == [max(runs)]
        assert set(controller.switch.read_entries(e.JOB_TABLES)) == set(e.job_entries(controller.find(1)))
        assert max(runs) > first.epoch


def test_slices_that_are_claimed_at_once_do_not_overlap(process: SwitchProcess, controller: Controller) -> None:
    pool = {"base": 0, "size": 512}
    jobs = [make_job(f"j{number}", number, "switchml", pool=pool) for number in (1, 2)]
    at_once(process, is_job_group, *[lambda switch, job=job: Controller(switch).add_job(job) for job in jobs])
    assert len(controller.jobs()) <= 1
    assert controller.leftovers() == []


def test_hosts_that_are_added_at_once_all_get_broadcasts(process: SwitchProcess, controller: Controller) -> None:
    controller.add_host("00:00:0a:00:00:63", 99)
    hosts = [{f"00:00:0a:00:00:{port:02x}": port} for port in (1, 2)]
    add = [lambda switch, each=each: Controller(switch).add_hosts(each) for each in hosts]
    assert at_once(process, lambda item: isinstance(item, Group), *add) == [None, None]
    assert contents(controller.switch)[1] == {e.flood_group([1, 2, 99])}


# From two processes, with packets


def add_at_once(network: Network, tmp_path: Path, *jobs: Job) -> list[subprocess.CompletedProcess[str]]:  # noqa: F811
    """`esactl job add`, a process for each job, all with one file of saved jobs."""
    address = network.controller.switch.address
    environment = {**os.environ, "ESA_SWITCH": address, "ESA_STATE": str(tmp_path / "state" / "jobs.json")}
    running = []
    for number, job in enumerate(jobs):
        job.save(tmp_path / f"{number}.json")
        command = [sys.executable, "-m", "controller.cli", "job", "add", str(tmp_path / f"{number}.json")]
        running.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        )
    done = []
    for process in running:
        out, err = process.communicate(timeout=60)
        done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    return done


def test_two_processes_add_two_jobs_and_each_gets_its_own_sums(network: Network, tmp_path: Path) -> None:  # noqa: F811
    jobs = [
        make_job("alpha", 1, workers=[member(1, 20001), member(2, 20001)], server=member(3, wire.ESA_PORT)),
        make_job("beta", 2, workers=[member(2, 20002), member(3, 20002)], server=member(1, wire.ESA_PORT)),
    ]
    done = add_at_once(network, tmp_path, *jobs)
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 2
    controller = Controller(network.controller.switch, tmp_path / "state" / "jobs.json")
    installed = controller.jobs()
    assert [controller.name(job) for job in installed] == ["alpha", "beta"]
    assert len({job.index for job in installed}) == len({job.group for job in installed}) == 2
    assert [job.problems for job in installed] == [(), ()]
    runs = [job.run(there.epoch) for job, there in zip(jobs, installed, strict=True)]
    for rank in range(2):
        for run in runs:
            network.send(run, rank, seq=5, value=10 * run.job + rank)
    got: dict[int, set[tuple[int, int, int]]] = {}
    for host, packets in ((1, 1), (2, 2), (3, 1)):
        for _ in range(packets):
            frame, packet = network.receive(host)
            port = int.from_bytes(frame[36:38], "big")
            got.setdefault(host, set()).add((int(packet["job"]), port, int(packet["lane"][0])))
    alpha, beta = (1, 20001, 21), (2, 20002, 41)
    assert got == {1: {alpha}, 2: {alpha, beta}, 3: {beta}}


def test_two_processes_add_one_job_and_one_at_most_does(network: Network, tmp_path: Path) -> None:  # noqa: F811
    controller = network.controller
    job = make_job("alpha", 1, workers=[member(1), member(2)], server=member(3, wire.ESA_PORT))
    done = add_at_once(network, tmp_path, job, job)
    added = [each for each in done if each.returncode == 0]
    assert len(added) <= 1
    for each in done:
        assert each in added or (each.stderr.startswith("esactl: ") and each.stderr.count("\n") == 1), each
    assert len(controller.jobs()) == len(added)
    assert all(not job.problems for job in controller.jobs())
    assert controller.leftovers() == []
    assert len(controller.switch.read_groups()) == len(added) + 1
