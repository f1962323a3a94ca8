"""A supervisor puts back what a restarted switch has lost, and what a controller that died has left half done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller import Controller, InstalledJob, SavedJobs, Supervisor, Switch, Wanted
from controller import supervisor as module
from esa.entries.job_entries import POLICY, job_entries
from tests.controller.jobs import make_job, make_run
from tests.switches import KINDS, SwitchProcess, running_switch

ALPHA, BETA = make_job("alpha", 1), make_job("beta", 2, "switchml", pool={"base": 4096, "size": 512})


def watch(process: SwitchProcess, wanted: Callable[[], Wanted]) -> Supervisor:
    return Supervisor(lambda: Switch.connect(process.address, process.device_id), wanted)


@pytest.fixture(autouse=True)
def _compare_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPARE_S", 0.0)
    monkeypatch.setattr(module, "COMPARE_AGAIN_S", 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_restarted_switch_gets_back_what_it_held(kind: str) -> None:
    said: list[str] = []
    with running_switch(kind) as first:
        current = [first]
        supervisor = Supervisor(lambda: Switch.connect(current[0].address), lambda: Wanted([ALPHA, BETA]), said.append)
        try:
            supervisor.look()  # no program yet
            assert supervisor.restorations == 1
            with Switch.connect(first.address) as switch:
                controller = Controller(switch)
                controller.set_policy(1, "atp")
                controller.add_host("00:00:0a:00:00:63", 99)
                controller.mark_congestion_above(17)
                supervisor.look()
                before = controller.jobs(), controller.hosts()
            first.process.kill()
            first.process.wait()
            supervisor.look()
            assert not supervisor.whole
            with running_switch(kind) as second:
                current[0] = second
                supervisor.look()
                assert supervisor.whole
                assert supervisor.restorations == 2
                with Switch.connect(second.address) as switch:
                    after = Controller(switch)
                    assert (after.jobs(), after.hosts()) == before
                    assert after.congestion_mark() == 17
                    assert after.set_policy(2, "esa-ack").policy.name == "esa-ack"
                    supervisor.look()
                    supervisor.look()
                    assert after.jobs()[1].policy.name == "esa-ack", "what somebody has set since, stays"
        finally:
            supervisor.close()
    assert sum("ran no program" in line for line in said) == 2
    assert sum("waiting for it" in line for line in said) == 1


def test_differences_are_settled_at_the_second_look(controller: Controller, process: SwitchProcess) -> None:
    controller.add_job(ALPHA)
    stranger = make_job("stranger", 9)
    controller.add_job(stranger)
    *parts, _ = job_entries(InstalledJob.of(make_run("half", 5), 77))  # a controller died before it wrote the policy
    controller.switch.insert(parts)
    supervisor = watch(process, lambda: Wanted([ALPHA, BETA], exclusive=True))
    try:
        supervisor.look()
        assert [job.job for job in controller.jobs()] == [1, 9], "it may be another controller at work"
        supervisor.look()
        assert [job.job for job in controller.jobs()] == [1, 2]
        assert controller.leftovers() == []
        # Half of a job is taken out and put in again.
        sender = job_entries(controller.jobs()[0])[0]
        controller.switch.delete([sender])
        assert controller.jobs()[0].problems
        supervisor.look()
        supervisor.look()
        assert [job.problems for job in controller.jobs()] == [(), ()]
    finally:
        supervisor.close()


def test_jobs_that_are_removed_by_others_stay_away(controller: Controller, process: SwitchProcess, saved: Path) -> None:
    file = SavedJobs(saved, f"{process.address}#{process.device_id}")
    supervisor = watch(process, lambda: Wanted(list(file.jobs().values())))
    try:
        supervisor.look()
        for job in (ALPHA, BETA):
            controller.add_job(job)
        supervisor.look()
        controller.remove_job("alpha")
        supervisor.look()
        supervisor.look()
        assert [job.job for job in controller.jobs()] == [2]
        controller.load(64)  # on purpose: nothing is wanted any more
        supervisor.look()
        supervisor.look()
        assert controller.jobs() == []
    finally:
        supervisor.close()


def start_supervise(process: SwitchProcess, *files: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "controller.cli", "--address", process.address]
    command += ["--device-id", str(process.device_id), "supervise", *map(str, files)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_controller_killed_while_it_adds_jobs_is_followed_by_one_that_ends_it(
    controller: Controller, process: SwitchProcess, tmp_path: Path
) -> None:
    jobs = [make_job(f"job{i}", i) for i in range(1, 17)]
    files = []
    for job in jobs:
        files.append(tmp_path / f"{job.name}.json")
        job.save(files[-1])
    for present in (1, 5):
        controller.load(64)
        first = start_supervise(process, *files)
        try:
            wait_until(lambda n=present: len(controller.switch.read_entries([POLICY])) >= n)
        finally:
            os.kill(first.pid, signal.SIGKILL)
            first.communicate()
        second = start_supervise(process, *files)
        try:
            wait_until(lambda: [job.job for job in controller.jobs()] == [job.job for job in jobs])
            wait_until(lambda: controller.leftovers() == [])
        finally:
            second.terminate()
            second.communicate()
        found = controller.jobs()
        runs = [job.run(installed.epoch) for job, installed in zip(jobs, found, strict=True)]
        assert found == [InstalledJob.of(run, job.index) for run, job in zip(runs, found, strict=True)]
        assert len({job.index for job in found}) == len(jobs)
        groups = controller.switch.read_groups()
        assert all(len(group.replicas) == len(set(group.replicas)) for group in groups)
        assert len(groups) == len(jobs) + 1


def wait_until(true: Callable[[], bool], limit_s: float = 30.0) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.01)  # to ask is work for the switch
