"""Every invariant of docs/protocol.md, after every step, on the compiled program, over schedules nobody thought of.

`make model ALLREDUCES=100000` does more of the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from esa.policy import POLICIES
from esa.protocol import worker_waiting
from tests.effort import tries
from tests.model.hosts import ServerHost, WorkerHost
from tests.model.machine import Cluster, Mortals
from tests.model.plan import GIVE_UP_S, JobPlan, Plan, S
from tests.model.rows import Header
from tests.model.schedule import Report, episode, explain, replay
from tests.model.world import World

pytestmark = pytest.mark.timeout(300)  # the first run compiles the switch and the protocol

ALL_REDUCES = int(os.environ.get("ESA_MODEL_ALLREDUCES", "300"))
SEED = int(os.environ.get("ESA_MODEL_SEED", "1"))


@pytest.mark.slow
def test_random_schedules(capsys):
    report = Report()
    seed = SEED
    while report.numbers["all-reduces"] < ALL_REDUCES:
        report.add(episode(seed))
        seed += 1
    with capsys.disabled():
        print(f"\n  model: every sum exact, nothing hangs: {report}")
    assert report.numbers["all-reduces"] >= ALL_REDUCES
    wanted = {"SEAT", "ADD", "ADD, complete", "COLLIDE", "SWAP", "SWAP, expired", "FETCH", "MISS", "ANSWER", "RESEAT"}
    wanted |= {"ANSWER, kept", "ADD, resent", "FLUSH"}
    assert wanted | {"RECLAIM"} <= set(report.verdicts)


@pytest.mark.parametrize(("machine", "examples"), [(Cluster, 60), (Mortals, 15)])
def test_schedules_that_hypothesis_chooses(machine, examples):
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=tries(examples) * max(1, ALL_REDUCES // 2000),
            stateful_step_count=40,
            deadline=None,
            print_blob=True,
            suppress_health_check=slow,
        ),
    )


def one_job(policy: str, workers: int = 2, window: int = 2, first_seq: int = 0, servers: int = 1) -> Plan:
    return Plan((JobPlan(policy, workers, window, first_seq, servers),))


def all_of(plan: Plan, moves: list[tuple]) -> World:
    world, wrong = replay(plan, moves)
    if wrong:
        pytest.fail(explain(plan, world.moves, wrong))
    return world


def one_has_its_result(seq: str = "0") -> list[tuple]:
    """Both workers sent, the switch summed, and only w0 has the result."""
    return [
        ("submit", "1.3/w0"),
        ("submit", "1.3/w1"),
        ("deliver", f"1.3/w0 GRADIENT {seq}"),
        ("deliver", f"1.3/w1 GRADIENT {seq}"),
        ("deliver", f"switch, 1.3/w1: RESULT {seq}"),
        ("drop", f"switch, 1.3/w1: RESULT {seq} #2"),
    ]


LOSSES = [
    ("restart",),
    ("restart-server", 1),
    ("restart-server", 1, 1),
    *(("policy", 1, name) for name in ("esa", "atp", "switchml", "ps")),
]


@pytest.mark.parametrize("policy", ["esa", "atp", "switchml", "ps"])
@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss[-1] if loss[0] == "policy" else "-".join(map(str, loss)))
def test_what_only_one_worker_has_reaches_the_other_whatever_is_lost(policy, loss, servers):
    if loss == ("restart-server", 1, 1) and servers == 1:
        pytest.skip("there is no second PS")
    plan = one_job(policy, servers=servers)
    world, wrong = replay(plan, [*one_has_its_result(), loss])
    assert wrong is None, explain(plan, world.moves, wrong)
    assert world.numbers()["all-reduces"] == 1


@pytest.mark.parametrize("policy", ["esa", "atp", "switchml"])
def test_old_rows_and_packets_of_an_id_that_is_used_again(policy):
    moves = [
        ("submit", "1.3/w0"),
        ("submit", "1.3/w1"),
        ("copy", "1.3/w0 GRADIENT 0"),
        ("copy", "1.3/w1 GRADIENT 0"),
        ("deliver", "1.3/w0 GRADIENT 0"),  # a row of epoch 3, for ever incomplete
        ("remove", 1),
        ("add", 1, policy, 2, 2, 0),
        ("submit", "1.4/w1"),
        ("deliver", "1.4/w1 GRADIENT 0"),
        ("deliver", "1.3/w0 GRADIENT 0 #2"),  # echoes of epoch 3 in the middle of epoch 4
        ("deliver", "1.3/w1 GRADIENT 0"),
        ("submit", "1.4/w0"),
    ]
    world = all_of(one_job(policy), moves)
    assert world.verdicts["denied"] >= 2
    assert world.numbers()["all-reduces"] == 1


def take_any_row(host: WorkerHost | ServerHost, header: Header) -> None:
    """A worker's slots move to other rows than its peers', and what it resends goes to yet another."""
    if isinstance(host, WorkerHost) and host.state.worker[0]["slots"]:
        host.state.fragment["index"] ^= 0x10001 * (host.rank + header.seq & 3)


def pass_some_rows(host: WorkerHost | ServerHost, header: Header) -> None:
    """Every worker sends other fragments past the rows than its peers do."""
    if isinstance(host, WorkerHost) and host.state.worker[0]["passes_rows"]:
        me = host.state.worker[0]
        me["rows_end"] = 0
        me["next_rows_start"] = me["snd_nxt"] + (host.rank + header.seq) % 3
        me["next_rows_end"] = me["next_rows_start"] + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "disagree", "flushes"), [("atp", take_any_row, 0), ("a2tp", pass_some_rows, 30)], ids=["atp", "a2tp"]
)
def test_workers_that_disagree_about_rows_get_exact_sums_all_the_same(
    policy: str, disagree: Callable[[WorkerHost | ServerHost, Header], None], flushes: int
) -> None:
    def make(plan: Plan) -> World:
        jobs = tuple(replace(job, policy=policy, workers=2 + k) for k, job in enumerate(plan.jobs))
        return World(replace(plan, jobs=jobs), tamper=disagree)

    worlds = [episode(seed, make, all_reduces=30, seconds=20) for seed in range(6)]
    assert sum(world.numbers()["all-reduces"] for world in worlds) > 30
    assert sum(world.verdicts["FLUSH"] for world in worlds) >= flushes


@pytest.mark.parametrize("server_lives", [False, True])
@pytest.mark.parametrize("policy", ["esa", "atp", "switchml", "ps"])
def test_a_job_that_runs_again_while_its_last_run_is_all_over_the_place(policy, server_lives):
    moves = [
        *(("submit", f"1.3/w{rank}") for rank in range(3)),
        ("copy", "1.3/w1 GRADIENT 0"),
        ("deliver", "1.3/w0 GRADIENT 0"),  # a row of epoch 3, or with its PS
        ("run-again", 1, server_lives),
        *(("submit", f"1.4/w{rank}") for rank in range(3)),
        ("deliver", "1.4/w1 GRADIENT 0"),
        ("deliver", "1.3/w1 GRADIENT 0"),  # echoes of epoch 3 in the middle of epoch 4
        ("timer", "1.3/ps"),
        ("deliver", "1.3/w1 GRADIENT 0 #2"),
        ("deliver", "1.4/w0 GRADIENT 0"),
        ("deliver", "1.3/w2 GRADIENT 0"),
        ("tell", 1),
        ("deliver", "1.4/w2 GRADIENT 0"),
    ]
    world = all_of(one_job(policy, workers=3), moves)
    assert world.verdicts["denied"] >= 3
    assert world.numbers()["all-reduces"] == 1


PLACED_OR_SHARED = sorted(name for name, policy in POLICIES.items() if policy.pool in ("placed", "shared"))


@pytest.mark.parametrize("back", [False, True], ids=["", "and back"])
@pytest.mark.parametrize("policy", PLACED_OR_SHARED)
def test_a_pool_that_is_moved_in_the_middle_of_a_sum(policy, back):
    moves = [
        *(("submit", f"1.3/w{rank}") for rank in range(3)),
        ("copy", "1.3/w0 GRADIENT 0"),
        ("deliver", "1.3/w0 GRADIENT 0"),  # stays in the old rows
        ("place", 1, 8, 4),
        ("deliver", "1.3/w0 GRADIENT 0 #2"),  # once more, in the new ones
        ("deliver", "1.3/w1 GRADIENT 0"),
        ("place", 1, *((0, 4) if back else (12, 2))),
        ("deliver", "1.3/w2 GRADIENT 0"),
        *(("submit", f"1.3/w{rank}") for rank in range(3)),
    ]
    world = all_of(one_job(policy, workers=3, window=4), moves)
    assert world.numbers()["all-reduces"] == 2


def test_what_a_moved_job_left_goes_to_its_ps_when_another_takes_the_rows():
    moves = [
        *(("submit", f"1.3/w{rank}") for rank in range(2)),
        ("deliver", "1.3/w0 GRADIENT 0"),
        ("place", 1, 8, 4),
        ("place", 2, 0, 1),
        *(("submit", f"2.6/w{rank}") for rank in range(2)),
        ("deliver", "1.3/w1 GRADIENT 0"),
    ]
    plan = Plan((JobPlan("esa", 2, 4, 0), JobPlan("esa-always", 2, 4, 0)))
    world = all_of(plan, moves)
    assert world.numbers()["all-reduces"] == 2
    assert world.verdicts["SWAP"] + world.verdicts["FETCH"] > 0


@pytest.mark.parametrize("policy", ["esa", "switchml", "ps"])
def test_a_dead_worker_is_named_by_the_others_and_its_rows_drain(policy):
    moves = [("submit", f"1.3/w{rank}") for rank in range(3)]
    world = all_of(one_job(policy, workers=3), [*moves, ("drop", "1.3/w1 GRADIENT 0"), ("kill", "1.3/w1")])
    survivors = [world.by_name[f"1.3/w{rank}"] for rank in (0, 2)]
    assert all(worker.failed for worker in survivors)
    assert {worker_waiting(worker.state, world.now_ns).silent for worker in survivors} == {(0b010, 1)}
    assert sum(world.verdicts.values()) < 3000  # asking for the dead backs off


@pytest.mark.parametrize("restarted", [False, True], ids=["", "its PS restarts"])
@pytest.mark.parametrize("policy", ["esa", "atp", "switchml", "ps"])
def test_a_rank_that_computes_for_long_is_waited_for(policy, restarted):
    world = World(one_job(policy))
    assert world.do(("submit", "1.3/w0"))
    hosts = world.runs[1].hosts
    until_ns = [int(2.5 * GIVE_UP_S * S), int(5 * GIVE_UP_S * S)]
    for end_ns in until_ns:
        while world.now_ns < end_ns:
            if world.flight:
                world.do(("deliver", next(iter(world.flight))))
            else:
                assert world.do(("timer", min(hosts, key=lambda host: host.wake_ns).name)), "somebody would give up"
        if restarted:
            world.do(("restart-server", 1))
    world.do(("submit", "1.3/w1"))
    world.settle()
    assert world.numbers()["all-reduces"] == 1


@pytest.mark.slow
def test_a_long_run_that_is_interrupted_ends_at_once_and_says_what_it_checked(tmp_path):
    command = [sys.executable, "-m", "tests.model", "--processes", "2", "--results", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as model:
        try:
            assert model.stdout is not None
            assert model.stdout.readline().startswith("model: 100000 all-reduces, episodes from seed ")
            time.sleep(5.0)  # wherever it is by then
            model.send_signal(signal.SIGINT)
            out, err = model.communicate(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(model.pid, signal.SIGKILL)  # its processes, too
    assert (model.returncode, err) == (130, "")
    assert out.splitlines()[-2].startswith("interrupted; every sum exact until then")
