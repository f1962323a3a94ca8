"""Real processes on a rack, killed while they sum: exact sums after a restart, errors that name who is missing."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller import Controller, SavedJobs
from controller.placing import move, re_place_jobs
from esa.job import Pool
from experiments import cli
from experiments.live.loop_ranks import LoopJob
from experiments.live.processes import import_ahead
from experiments.live.rig import Rig
from experiments.live.rig_switch import epochs_begun, is_whole, left_over, sweep

POLICIES = ("esa", "atp", "switchml", "ps")
LIMIT_S = 100.0  # ranks, too, wait so long for what was killed: how fast it starts again is not a rule
ROWS = 256

pytestmark = pytest.mark.timeout(600)  # a first run compiles


@pytest.fixture
def forks(root: None) -> None:
    """What runs of later tests need is imported, too: a process has one server of forks."""
    import_ahead()


def jobs(give_up_s: float = LIMIT_S) -> list[LoopJob]:
    return [
        LoopJob(name, name, values=5000, pool=Pool(base=ROWS * i, size=ROWS), pause_s=0.002, give_up_s=give_up_s)
        for i, name in enumerate(POLICIES)
    ]


def go_on(rig: Rig, names: tuple[str, ...] = POLICIES) -> None:
    """Every one of these jobs completes what it had in flight, and more."""
    sums = {name: rig.ranks.sums(name) + 3 for name in names}
    assert rig.ranks.until(lambda: all(rig.ranks.sums(name) >= sums[name] for name in names), LIMIT_S), {
        name: rig.ranks.of(name)[0].events[-1] for name in names
    }


def test_killed_and_restarted_parts_cost_no_sum(forks: None, tmp_path: Path) -> None:
    with Rig(jobs(), tmp_path) as rig:
        rig.start()
        go_on(rig)
        rig.kill_switch()
        rig.restart_switch()
        go_on(rig)
        rig.kill_switch()
        rig.kill_server("ps")
        rig.start_server("ps")
        rig.ranks.until(lambda: False, 2.0)  # it comes while there is no switch
        rig.restart_switch()
        go_on(rig)
        for name in POLICIES:
            rig.kill_server(name)
            rig.start_server(name)
        rig.kill_supervisor()
        rig.kill_switch()
        rig.restart_switch()
        rig.start_supervisor()
        go_on(rig)
        assert rig.ranks.until(lambda: is_whole(rig), LIMIT_S)
        assert rig.stop(LIMIT_S) == []
        assert [rank.last for rank in rig.ranks] == ["end"] * len(rig.ranks)
        assert sweep(rig, ROWS * len(POLICIES)) == 0


def test_pools_that_are_moved_while_jobs_sum_cost_no_sum(forks: None, tmp_path: Path) -> None:
    two = [LoopJob(name, "esa", values=20_000, window=64, pool=Pool(base=0, size=64)) for name in "ab"]
    rng = random.Random(1)
    with Rig(two, tmp_path) as rig:
        rig.start()
        go_on(rig, ("a", "b"))
        for _ in range(25):  # in the middle of all-reduces, on top of each other and apart
            with rig.controller() as controller:
                for job in rig.jobs.values():
                    size = rng.choice((16, 64, 256))
                    move(controller, job.job, Pool(base=size * rng.randrange(ROWS // size), size=size))
            rig.ranks.until(lambda: False, 0.1)
        go_on(rig, ("a", "b"))
        known = SavedJobs(tmp_path / "known.json", f"{rig.net.switch.grpc_address}#{rig.net.switch.device_id}")
        for job in rig.jobs.values():
            known.put(job)
        with rig.controller() as controller:
            moved = re_place_jobs(Controller(controller.switch, known.path))
            assert {place.wanted.size for place in moved} == {512}, "eight windows each, apart"
            assert len({place.wanted for place in moved}) == 2
        go_on(rig, ("a", "b"))
        assert rig.stop(LIMIT_S) == []
        assert [rank.last for rank in rig.ranks] == ["end"] * 4
        assert sweep(rig, 1024) == 0


def test_who_is_dead_is_named_with_its_host_and_other_jobs_go_on(forks: None, tmp_path: Path) -> None:
    with Rig(jobs(give_up_s=6.0)[:3], tmp_path, supervised=False) as rig:
        rig.start()
        go_on(rig, ("esa", "atp", "switchml"))
        rig.kill_worker("esa", 1)
        rig.kill_server("atp")
        lost = [rank for name in ("esa", "atp") for rank in rig.ranks.of(name) if not rank.killed]
        assert rig.ranks.until(lambda: all(rank.last == "error" for rank in lost), LIMIT_S)
        for rank in lost:
            message = rank.events[-1]["message"]
            if rank.job.name == "esa":
                assert f"rank 1 ({rig.net.ip(rig.hosts['esa'][1])}) has ended" in message
            else:
                assert f"the PS ({rig.net.ip(rig.hosts['atp'][2])}) is silent" in message
        go_on(rig, ("switchml",))
        assert rig.stop(LIMIT_S, ["switchml"]) == []
        assert sweep(rig, ROWS * len(POLICIES)) == 0, "a dead job's rows drain"


def test_a_rank_that_outlives_its_run_is_denied_while_the_next_run_s_sums_are_exact(
    forks: None, tmp_path: Path
) -> None:
    with Rig(jobs()[:1], tmp_path) as rig:
        rig.start()
        go_on(rig, ("esa",))
        epoch = rig.run_again("esa")
        assert rig.outlive("esa", epoch) > 100
        go_on(rig, ("esa",))
        assert rig.stop(LIMIT_S) == []
        assert [rank.last for rank in rig.ranks] == ["end"] * 2
        assert len(set(epochs_begun(rig))) == 2
        assert left_over(rig) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "0"], "minutes: 0; allowed: above 0, at most 10,000"),
        (["--minutes", "-1"], "minutes: -1; allowed"),
        (["--minutes", "ten"], "'--minutes'"),
        (["--minutes", "nan"], "minutes: nan; allowed"),
        (["--seed", "-1"], "'--seed'"),
        (["--seed", "x"], "'--seed'"),
    ],
)
def test_the_soak_refuses_bad_input(arguments: list[str], message: str) -> None:
    refused = CliRunner().invoke(cli.app, ["soak", *arguments])
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert refused.stderr.startswith("esa: ")
    assert refused.stderr.count("\n") == 1


def test_ctrl_c_prints_the_table_of_what_was_done(root: None, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments", "soak", "--minutes", "5", "--results", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(1.5)
        process.terminate()
        output, errors = process.communicate(timeout=60)
    assert "seed 1" in first
    assert errors.startswith("esa: interrupted; the table says what was seen until then")
    assert "wrong sums (must be 0)" in output
    assert process.returncode == 130
