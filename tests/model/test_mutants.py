"""The model can fail: each mutant breaks one rule, and the checker must say which, with a trace a person can read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from esa import job as jobs
from esa.entries.direct import apply
from esa.entries.job_entries import MORE_SERVERS, InstalledJob, owner_entry, server_entries
from esa.job import Pool
from esa.policy import Aging, Policy, Release
from esa.program import program
from esa.wire import Kind
from tests.model.hosts import Run, ServerHost, WorkerHost
from tests.model.moves import Move
from tests.model.plan import JobPlan, Plan
from tests.model.rows import KEPT, ROWS, Header
from tests.model.schedule import EpisodeError, episode, replay
from tests.model.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def caught(make: Callable[[Plan], World], seeds: int = 40) -> str:
    """What the checker says of a mutant. One second makes a trace short enough; what is said does not depend on it."""
    for seed in range(seeds):
        try:
            episode(seed, make, all_reduces=20, seconds=1)
        except EpisodeError as failed:
            return str(failed)
    pytest.fail("the mutant passes for correct")


def forget_who_is_in_the_sum(host: WorkerHost | ServerHost, header: Header) -> None:
    if isinstance(host, ServerHost) and header.kind in (Kind.GRADIENT, Kind.PARTIAL):
        host.state.aggregated_bitmap[header.seq & len(host.state.entry) - 1] = 0


def spoil_the_ring(host: WorkerHost | ServerHost, header: Header) -> None:
    if isinstance(host, WorkerHost) and header.kind == Kind.QUERY:
        rows = len(host.state.fragment)
        if host.state.fragment[header.seq & rows - 1]["acked"]:
            host.state.lane[header.seq & rows - 1] = host.state.lane[header.seq + 1 & rows - 1]


def take_the_dead_for_alive(host: WorkerHost | ServerHost, header: Header) -> None:
    if isinstance(host, ServerHost):
        host.state.member["not_ready_ns"] = host.state.member["last_heard_ns"] = host.world.now_ns


def test_a_server_that_adds_what_it_has_already():
    report = caught(partial(World, tamper=forget_who_is_in_the_sum))
    assert "exactly once" in report


def test_a_worker_that_answers_with_another_fragment():
    report = caught(partial(World, tamper=spoil_the_ring))
    assert "exact: the RESULT that" in report


def test_a_server_that_takes_the_dead_for_alive():
    plan = Plan((JobPlan("esa", 2, 2, 0),))
    moves = [("submit", "1.3/w1"), ("kill", "1.3/w0")]
    _, wrong = replay(plan, moves, partial(World, tamper=take_the_dead_for_alive))
    assert wrong is not None, "w1 waits for ever, and nobody noticed"
    assert wrong.rule == "every all-reduce ends"
    _, wrong = replay(plan, moves)
    assert wrong is None


def test_a_controller_that_gives_an_epoch_twice():
    # Old rows under a new sum, or old packets of a rank that the new job does not have.
    report = caught(partial(World, new_epochs=False))
    assert "nobody sent that" in report or "exactly once" in report or "the rule for a row" in report


def test_a_run_with_the_epoch_of_the_last():
    def run_again(worker: str, gradient: str) -> list[Move]:
        return [
            *(("submit", f"1.3/w{rank}") for rank in range(2)),
            ("deliver", "1.3/w0 GRADIENT 0"),
            ("run-again", 1, False),
            ("submit", worker),
            ("deliver", gradient),
        ]

    plan = Plan((JobPlan("esa", 2, 2, 0),))
    _, wrong = replay(plan, run_again("1.3/w1", "1.3/w1 GRADIENT 0 #2"), partial(World, new_epochs=False))
    assert wrong is not None, "what w0 left behind is in the new run's sum, and nobody noticed"
    assert wrong.rule in ("exact", "exactly once")
    world, wrong = replay(plan, run_again("1.4/w1", "1.4/w1 GRADIENT 0"))
    assert wrong is None
    assert world.numbers()["all-reduces"] == 1


class ForgetsOwners(World):
    """Its controller leaves the owner entries of runs that have ended."""

    def __post_init__(self) -> None:
        super().__post_init__()
        end = self.switch._end

        def all_but_the_owner(run: jobs.Run) -> None:
            end(run)
            apply([owner_entry(InstalledJob.of(run, 255))], self.switch.pipeline)

        self.switch._end = all_but_the_owner


def test_a_controller_that_forgets_owners():
    report = caught(ForgetsOwners)
    assert "the rule for a row" in report or "one row" in report
    assert "RECLAIM" in report


class KnowsOneServer(World):
    """Its controller writes the address of a job's first PS for all of them."""

    def install(self, run: Run) -> None:
        super().install(run)
        first = run.job.model_copy(update={"more_servers": (run.job.server,) * len(run.job.more_servers)})
        table = self.switch.pipeline.tables[MORE_SERVERS]
        for entry in server_entries(InstalledJob.of(first, 1)):
            table.modify(entry.match, entry.action, entry.params)


def test_a_controller_that_knows_one_ps_of_several():
    report = caught(KnowsOneServer)
    assert "every fragment has its PS" in report


class ForgetsTheBase(World):
    """Its controller moves a pool and writes the new size beside the old base."""

    def __post_init__(self) -> None:
        super().__post_init__()
        change = self.switch.change

        def half(job: jobs.Run, policy: Policy, pool: Pool) -> None:
            old = self.switch.jobs[job.job, job.epoch][1].pool
            change(job, policy, Pool(base=old.base, size=pool.size))
            index, knobs = self.switch.jobs[job.job, job.epoch]
            self.switch.jobs[job.job, job.epoch] = index, knobs._replace(pool=pool)

        self.switch.change = half


def test_a_controller_that_moves_half_a_pool():
    report = caught(ForgetsTheBase)
    assert "one row per packet" in report or "the rule for a row" in report
    assert "is on rows" in report or "policy is now" in report


class FreesByKeeping(World):
    """Its controller frees the rows that a moved job leaves, and takes what is in them for complete sums."""

    def __post_init__(self) -> None:
        super().__post_init__()
        change = self.switch.change

        def freeing(job: jobs.Run, policy: Policy, pool: Pool) -> None:
            old = self.switch.jobs[job.job, job.epoch][1].pool
            change(job, policy, pool)
            for slot in range(old.base, min(old.base + old.size, ROWS)):
                row = self.switch.row(slot)
                if row.bitmap and row.owner[:2] == (job.job, job.epoch):
                    self.switch.free(slot, KEPT)

        self.switch.change = freeing


def test_a_controller_that_takes_what_is_left_for_complete():
    def moves(*, back: bool) -> list[Move]:
        return [
            *(("submit", f"1.3/w{rank}") for rank in range(2)),
            ("copy", "1.3/w0 GRADIENT 0"),
            ("deliver", "1.3/w0 GRADIENT 0"),  # half a sum, in the rows that are left
            ("place", 1, 8, 4),
            ("place", 1, *((0, 4) if back else (12, 4))),
            ("deliver", "1.3/w0 GRADIENT 0 #2"),
        ]

    plan = Plan((JobPlan("esa", 2, 2, 0),))
    _, wrong = replay(plan, moves(back=True), FreesByKeeping)
    assert wrong is not None, "half a sum was taken for a whole one, and nobody noticed"
    assert wrong.rule in ("exact", "exactly once")
    for back in (True, False):
        world, wrong = replay(plan, moves(back=back))
        assert wrong is None
        assert world.numbers()["all-reduces"] == 1


class WithoutAging(World):
    """Its controller forgets the aging knob."""

    def install(self, run: Run) -> None:
        super().install(run)
        told = dict(self.switch.jobs)
        self.switch.change(run.job, replace(run.policy, aging=Aging.NONE), run.pool(run.policy, run.key[0]))
        self.switch.jobs.update(told)


def test_a_switch_that_does_not_age():
    report = caught(WithoutAging)
    assert "the rule for a row" in report
    assert "COLLIDE" in report


class WithoutFlushes(World):
    """Its controller has RESENDs pass all rows by."""

    def install(self, run: Run) -> None:
        super().install(run)
        if run.policy.release == Release.ON_ACK_OR_RESEND:
            told = dict(self.switch.jobs)
            policy = replace(run.policy, release=Release.ON_ACK)
            self.switch.change(run.job, policy, run.pool(run.policy, run.key[0]))
            self.switch.jobs.update(told)


def test_a_switch_that_does_not_flush():
    report = caught(WithoutFlushes)
    assert "the rule for a row" in report
    assert "FLUSH" in report


def without_the_test_for_resends(path: Path, to: Path) -> Path:
    """The program in which a RESEND is a gradient like any other."""
    root = json.loads(path.read_text())
    ingress = next(p for p in root["pipelines"] if p["name"] == "ingress")

    def is_test(node: object) -> bool:
        text = json.dumps(node)
        return (
            isinstance(node, dict)
            and node.get("op") == "=="
            and len(text) < 400
            and '["esa", "flags"]' in text
            and '"0x01"' in text
            and '"0x00"' in text
        )

    changed = 0

    def walk(node: object) -> None:
        nonlocal changed
        for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            if is_test(value):
                value["right"] = value["left"]
                changed += 1
            else:
                walk(value)

    walk(ingress if changed else root)
    assert changed
    to.write_text(json.dumps(root))
    return to


def test_a_program_that_seats_resends(tmp_path):
    variant = without_the_test_for_resends(program(64).json, tmp_path / "seats-resends.json")

    def make(plan: Plan) -> World:
        return World(replace(plan, lanes=64), program=variant, compiled=False)

    assert "the rule for a row" in caught(make)
