"""What a job's knobs make of its workers and its PS, over one rack and over several."""

from __future__ import annotations

from dataclasses import replace

import pytest

from esa.job import Pool, Run
from esa.policy import POLICIES
from esa.protocol import Timers
from esa.protocol.of_job import policy_settings, server_of_job, worker_of_job
from tests.p4 import traffic
from tests.p4.tree import leaf_spine, spread

TIMERS = Timers(patience_initial_ns=7_000, patience_floor_ns=5_000, patience_ceiling_ns=9_000)
WITHOUT_ROWS = replace(
    TIMERS, patience_initial_ns=50_000_000, patience_floor_ns=20_000_000, patience_ceiling_ns=20_000_000
)


def one_rack(policy: str) -> Run:
    return traffic.job(1, policy, workers=3, pool=Pool(base=0, size=8), ports=16)


def two_racks(policy: str) -> Run:
    return spread(leaf_spine(racks=3, spines=2), 1, policy, {0: (0, 1, 2), 1: (0, 1)}, (2, 1), window=4)


@pytest.mark.parametrize(
    ("make", "policy", "switches"),
    [(one_rack, name, int(name != "ps")) for name in POLICIES]
    + [(two_racks, name, 0 if name in ("ps", "switchml") else 3) for name in POLICIES],
)
def test_a_ps_reminds_the_jobs_switches_and_without_any_is_patient_and_answers_each_worker(make, policy, switches):
    assert policy_settings(make(policy), TIMERS) == {
        "switches": switches,
        "unicast": switches == 0,
        "release_on_ack": policy in ("atp", "a2tp", "atp-hashed", "esa-ack"),
        "resends_first": policy in ("atp", "a2tp"),
        "passes_rows": policy == "a2tp",
        "slots": make(policy).reach if policy in ("atp", "a2tp") else 0,
        "rows": make(policy).pool.size,
        "asks_peer": policy.startswith("esa") and policy not in ("esa-paper", "esa-ack"),
        "timers": TIMERS if switches else WITHOUT_ROWS,
    }


def test_ranks_count_over_all_racks_and_have_a_bit_within_theirs():
    job = two_racks("esa")
    states = [worker_of_job(job, rank).worker[0] for rank in range(job.fan_in)]
    assert [(int(me["bitmap1"]), int(me["bitmap0"])) for me in states] == [(1, 1), (1, 2), (1, 4), (2, 1), (2, 2)]
    assert server_of_job(job).rack["full_bitmap"].tolist() == [0b111, 0b11]
    with pytest.raises(ValueError, match=r"ranks 0\.\.4"):
        worker_of_job(job, 5)


def test_windows_lanes_and_limits_are_the_jobs():
    job = one_rack("esa").model_copy(update={"give_up_s": 3.0, "wait_limit_s": 5.0, "window": 2})
    for state, me in ((s := worker_of_job(job, 0), s.worker[0]), (p := server_of_job(job), p.server[0])):
        assert state.lane.shape[1] == job.lanes
        assert (int(me["job"]), int(me["epoch"])) == (job.job, job.epoch)
        assert (int(me["give_up_ns"]), int(me["wait_limit_ns"])) == (3_000_000_000, 5_000_000_000)


def test_rings_are_as_large_as_any_policy_needs_and_spans_are_the_policys() -> None:
    """Who comes back while another policy is on must still have what the others may ask for."""
    pool = Pool(base=0, size=4096)
    for policy, span in (("esa", 512), ("atp", 64), ("ps", 512), ("esa-paper", 64)):
        run = one_rack(policy).model_copy(update={"window": 64, "pool": pool})
        worker, server = worker_of_job(run, 0), server_of_job(run)
        assert (worker.worker[0]["span"], worker.worker[0]["max_span"]) == (span, 512)
        assert (len(worker.fragment), len(server.entry)) == (2048, 2048)
        assert server.server[0]["retention_seqs"] == 1024
    far = one_rack("esa").model_copy(update={"window": 4096})
    assert (far.reach, far.max_reach) == (16384, 16384)  # what a job may have
    fixed = one_rack("esa").model_copy(update={"window": 64, "span": 100})
    assert (fixed.reach, fixed.max_reach) == (100, 100)


def test_a_run_may_be_under_a_policy_that_its_file_has_no_rows_for() -> None:
    job = one_rack("esa").description  # on 8 rows
    assert job.model_copy(update={"policy": "switchml", "window": 8}).run(3).policy == "switchml"
    with pytest.raises(ValueError, match="window: 8 fragments need a slice of 16 rows"):
        type(job)(**{**dict(job), "policy": "switchml", "window": 8})
