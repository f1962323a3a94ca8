"""Runs of one job after another: each has its own epoch, nobody starts alone, and an end is known at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from esa.errors import AllReduceError, JoinError, MemberLeft
from esa.hosts import WorkerEndpoint, join, membership
from esa.hosts.__main__ import main
from esa.hosts.serving import JobServer
from esa.job import Job
from esa.net import open_udp_socket
from tests.hosts.rig import WAIT_S, Meeting, make_loopback_job
from tests.switches import SwitchProcess, running_switch

AT_ONCE_S = 20.0  # before a member is given up, after 30 s: machines that are busy take theirs


@pytest.fixture(scope="module")
def process() -> Iterator[SwitchProcess]:
    with running_switch("embedded") as process:
        yield process


@pytest.fixture
def meeting(process: SwitchProcess, tmp_path: Path) -> Iterator[Meeting]:
    with Meeting(tmp_path, process) as meeting:
        yield meeting


def assert_sums(workers: list[WorkerEndpoint], seed: int, times: int = 3) -> None:
    for k in range(times):
        arrays = np.random.default_rng([seed, k]).integers(-(2**28), 2**28, (len(workers), 5000), dtype=np.int32)
        futures = [worker.all_reduce(array) for worker, array in zip(workers, arrays, strict=True)]
        for future in futures:
            assert np.array_equal(future.result(WAIT_S).lanes, arrays.sum(0, dtype=np.int32))


def close_all(workers: list[WorkerEndpoint]) -> None:
    threads = [threading.Thread(target=worker.close) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)


def test_a_job_runs_twice_over_one_ps(meeting: Meeting) -> None:
    job = meeting.add(make_loopback_job(3))
    epochs = []
    with JobServer(job, meeting.address) as server:
        for seed in range(3):
            workers = meeting.join_all(job)
            epochs.append({worker.job.epoch for worker in workers})
            assert_sums(workers, seed)
            before = time.monotonic()
            close_all(workers)
            assert time.monotonic() - before < AT_ONCE_S
        assert server.stats()["via_ps"] == 3 * 3 * 79  # fragments of all runs
    assert all(len(each) == 1 for each in epochs)
    assert len(set.union(*epochs)) == 3


def test_a_job_runs_again_after_an_interrupt_and_the_peers_name_who_ended(meeting: Meeting) -> None:
    job = meeting.add(make_loopback_job(2))
    with JobServer(job, meeting.address):
        for seed in range(3):
            a, b = meeting.join_all(job)
            assert_sums([a, b], seed)
            waiting = a.all_reduce(np.ones(1000, np.int32))
            before = time.monotonic()
            b.close("KeyboardInterrupt")
            with pytest.raises(MemberLeft, match=r"rank 0: rank 1 \(127.*\) has ended: KeyboardInterrupt"):
                waiting.result(WAIT_S)
            assert time.monotonic() - before < AT_ONCE_S
            with pytest.raises(MemberLeft):
                a.all_reduce(np.ones(1, np.int32)).result(WAIT_S)
            a.close()
            assert time.monotonic() - before < AT_ONCE_S


def test_an_error_in_the_block_of_one_is_told_to_the_others(meeting: Meeting) -> None:
    job = meeting.add(make_loopback_job(2))
    with JobServer(job, meeting.address):
        a, b = meeting.join_all(job)
        with pytest.raises(ZeroDivisionError), b:
            _ = 1 / 0
        with pytest.raises(MemberLeft, match="has ended: ZeroDivisionError: division by zero"):
            a.all_reduce(np.ones(1, np.int32)).result(WAIT_S)
        a.close()


@pytest.mark.slow
def test_a_killed_process_is_noticed_at_once(meeting: Meeting, tmp_path: Path) -> None:
    job = meeting.add(make_loopback_job(2))
    job.save(tmp_path / "job.json")
    code = (
        "import sys; from esa.hosts import join; from esa.job import Job\n"
        f"join(Job.load({str(tmp_path / 'job.json')!r}), {meeting.address!r}, rank=1)\n"
        "print('in', flush=True); sys.stdin.readline()"
    )
    with (
        JobServer(job, meeting.address),
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as peer,
    ):
        worker = join(job, meeting.address, rank=0)
        assert peer.stdout is not None
        assert peer.stdout.readline() == b"in\n"
        waiting = worker.all_reduce(np.ones(10, np.int32))
        before = time.monotonic()
        os.kill(peer.pid, signal.SIGKILL)
        with pytest.raises(MemberLeft, match="it ended without a word"):
            waiting.result(WAIT_S)
        assert time.monotonic() - before < AT_ONCE_S
        worker.close()


def test_ranks_may_be_in_any_order(meeting: Meeting) -> None:
    job = meeting.add(make_loopback_job(3))
    with JobServer(job, meeting.address):
        joined: dict[int, WorkerEndpoint] = {}

        def come(rank: int) -> None:
            joined[rank] = join(job, meeting.address, rank=rank, size=3)

        threads = [threading.Thread(target=come, args=(rank,)) for rank in (2, 0, 1)]
        for thread in threads:
            thread.start()
            time.sleep(0.1)
        for thread in threads:
            thread.join(WAIT_S)
        assert_sums([joined[rank] for rank in (2, 0, 1)], 7)
        close_all(list(joined.values()))


def test_the_coordinator_may_be_restarted_while_a_job_runs(meeting: Meeting) -> None:
    job = meeting.add(make_loopback_job(2))
    with JobServer(job, meeting.address):
        a, b = meeting.join_all(job)
        meeting.coordinator.close()
        assert_sums([a, b], 1)
        meeting.coordinate()
        until(lambda: meeting.taking_part(job) == {0, 1})  # everybody comes back
        assert_sums([a, b], 2)
        assert a.job.epoch == meeting.controller.find(job.name).epoch
        b.close("it had enough")
        with pytest.raises(MemberLeft, match="it had enough"):
            a.all_reduce(np.ones(10, np.int32)).result(WAIT_S)
        a.close()


@pytest.mark.parametrize("known", ["its epoch", "nothing of it"])
def test_a_switch_that_lost_its_memory_gets_the_run_back_whatever_else_it_was_given(
    meeting: Meeting, known: str
) -> None:
    """As by a supervisor that had not looked since the job was added: it adds the job anew."""
    job = meeting.add(make_loopback_job(2))
    with JobServer(job, meeting.address):
        workers = meeting.join_all(job)
        assert_sums(workers, 1)
        run, epoch = meeting.controller.find(job.name), workers[0].job.epoch
        remembered = meeting.controller.remembered_runs()
        meeting.controller.load(64)
        if known == "its epoch":
            meeting.controller.remember_runs(remembered)
        new = meeting.controller.add_job(job)
        assert new.epoch > run.epoch or known != "its epoch"
        until(lambda: f"job {job.name}: its run, epoch {epoch}, is on the switch again" in meeting.said)
        assert meeting.controller.find(job.name).epoch == epoch
        assert_sums(workers, 2)
        close_all(workers)
        again = meeting.join_all(job)
        assert again[0].job.epoch > max(epoch, new.epoch)
        close_all(again)


def test_a_newer_run_that_another_controller_starts_ends_the_run(meeting: Meeting) -> None:
    job = meeting.add(make_loopback_job(2))
    with JobServer(job, meeting.address):
        a, b = meeting.join_all(job)
        assert_sums([a, b], 1)
        meeting.controller.start_run(job.name)
        for worker in (a, b):
            with pytest.raises(AllReduceError, match="another controller has started a newer run of it"):
                sum_for_ever(worker)  # the second one's first sum may be whole, but not its next
            worker.close()


def sum_for_ever(worker: WorkerEndpoint) -> None:
    while True:
        worker.all_reduce(np.ones(10, np.int32)).result(WAIT_S)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.05)


def test_a_ps_that_is_ended_and_started_again_goes_on_with_the_run(meeting: Meeting) -> None:
    job = meeting.add(make_loopback_job(2))
    first = JobServer(job, meeting.address)
    a, b = meeting.join_all(job)
    assert_sums([a, b], 1)
    first.close()
    futures = [worker.all_reduce(np.full(1000, 5, np.int32)) for worker in (a, b)]
    with JobServer(job, meeting.address):
        assert [set(future.result(WAIT_S).lanes.tolist()) for future in futures] == [{10}, {10}]
        close_all([a, b])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"name": "other", "job": 4000},
            r"job other \(number 4000\) is not on the switch at .*: add it first \(esactl",
        ),
        ({"window": 31}, "window is 31 here and 32 on the switch"),
    ],
)
def test_a_job_that_the_switch_does_not_have_is_refused_in_one_line(
    meeting: Meeting, change: dict[str, object], why: str
) -> None:
    job = meeting.add(make_loopback_job(2))
    with pytest.raises(JoinError, match=why) as caught:
        join(job.model_copy(update=change), meeting.address)
    assert "\n" not in str(caught.value)


def test_a_switch_with_other_lanes_is_refused(meeting: Meeting) -> None:
    job = meeting.add(make_loopback_job(2))
    with pytest.raises(JoinError, match=r"lanes: job j[0-9]+ has 256, the switch runs the 64-lane build"):
        join(job.model_copy(update={"lanes": 256}), meeting.address)


def test_a_world_of_another_size_is_refused(meeting: Meeting) -> None:
    job = meeting.add(make_loopback_job(3))
    for rank in range(2):
        with pytest.raises(JoinError, match="has 3 workers, the program's world 2"):
            join(job, meeting.address, rank=rank, size=2)


def test_a_host_that_is_none_of_the_jobs_stops_those_who_wait_for_it(meeting: Meeting) -> None:
    job = meeting.add(make_loopback_job(2))
    elsewhere = Job.model_validate(
        job.model_dump() | {"workers": [{**worker.model_dump(), "ip": "192.0.2.1"} for worker in job.workers]}
    )
    failed: list[str] = []

    def wait() -> None:
        try:
            join(job, meeting.address, rank=0)
        except JoinError as error:
            failed.append(str(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: meeting.waits(job))
    with pytest.raises(JoinError, match=r"none of its workers' addresses \(192.0.2.1\) is this host's"):
        join(elsewhere, meeting.address, rank=1)
    waiting.join(AT_ONCE_S)
    assert failed
    assert "another process of the job cannot take part: job j" in failed[0]


def test_nobody_at_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "PATIENCE_S", 0.5)
    with pytest.raises(JoinError, match=r"nobody who starts runs answers at unix:.* \(esactl supervise, esa up\)\?"):
        join(make_loopback_job(1), f"unix:{tmp_path}/nobody")


def test_without_an_address_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ESA_CONTROLLER", raising=False)
    with pytest.raises(ValueError, match="set ESA_CONTROLLER"):
        join(make_loopback_job(1))


def test_a_policy_changed_on_the_switch_reaches_the_ps(meeting: Meeting) -> None:
    job = meeting.add(make_loopback_job(2))
    with JobServer(job, meeting.address) as server:
        workers = meeting.join_all(job)
        assert_sums(workers, 3)
        meeting.controller.set_policy(job.name, "atp")
        until(lambda: server.policy == "atp")
        close_all(workers)


def test_those_who_give_up_in_a_run_say_so(meeting: Meeting) -> None:
    job = meeting.add(make_loopback_job(2, give_up_s=1.0))
    with JobServer(job, meeting.address) as server:
        a, b = meeting.join_all(job)
        server.close()  # under `ps` nothing goes on without it
        with pytest.raises(AllReduceError, match=r"the PS .* is silent: look whether it runs"):
            a.all_reduce(np.ones(10, np.int32)).result(WAIT_S)
        a.close()
        with pytest.raises(AllReduceError, match=r"rank 0 \(127.*\) has ended: .* the PS .* is silent"):
            b.all_reduce(np.ones(10, np.int32)).result(WAIT_S)
        b.close()


@pytest.mark.slow
def test_the_ps_process_serves_run_after_run_and_says_what_it_counted(meeting: Meeting, tmp_path: Path) -> None:
    job = meeting.add(make_loopback_job(2))
    job.save(tmp_path / "job.json")
    command = [sys.executable, "-m", "esa.hosts", "server", "--job", tmp_path / "job.json"]
    command += ["--controller", meeting.address, "--stats", tmp_path / "stats.json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            for seed in range(2):
                workers = meeting.join_all(job)
                assert_sums(workers, seed, times=1)
                close_all(workers)
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert (stats["via_ps"], stats["silent_ranks"], stats["failed"]) == (2 * 79, [], 0)


def test_a_ps_that_cannot_start_says_why_in_one_line(
    meeting: Meeting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = meeting.add(make_loopback_job(1))
    job.save(tmp_path / "job.json")
    absent = make_loopback_job(1)
    absent.save(tmp_path / "absent.json")
    with closing(open_udp_socket((str(job.server.ip), job.server.udp_port))):
        for name in ("job", "none"):
            assert main(["server", "--job", str(tmp_path / f"{name}.json"), "--controller", meeting.address]) == 2
    assert main(["server", "--job", str(tmp_path / "absent.json"), "--controller", meeting.address]) == 1
    taken, none, refused = (line for line in capsys.readouterr().err.splitlines() if "esa.hosts" in line)
    assert f"cannot open UDP {job.server.ip}:31780: Address already in use" in taken
    assert "none.json" in none
    assert f"job {absent.name} (number {absent.job}) is not on the switch" in refused


def test_a_rank_that_left_in_good_order_is_named_by_one_that_wants_more(meeting: Meeting) -> None:
    job = meeting.add(make_loopback_job(2))
    with JobServer(job, meeting.address):
        a, b = meeting.join_all(job)
        assert_sums([a, b], 1)
        leaving = threading.Thread(target=b.close)
        leaving.start()
        time.sleep(0.2)
        before = time.monotonic()
        with pytest.raises(MemberLeft, match=r"rank 1 \(127.*\) left the run in good order, with fewer all-reduces"):
            a.all_reduce(np.ones(10, np.int32)).result(WAIT_S)
        assert time.monotonic() - before < AT_ONCE_S
        a.close()
        leaving.join(WAIT_S)
