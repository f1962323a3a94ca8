"""Jobs and policies on real switches: added whole or not at all, changed while they run, recovered by whoever comes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from controller import BadInput, Controller, Entry, Group, InstalledJob, Refused, Switch
from controller.job_counters import Occupancy
from esa.entries import job_entries as e
from esa.job import Pool
from esa.policy import POLICIES, policy
from esa.wire import ESA_PORT
from tests.controller.jobs import make_job, make_run, member
from tests.switches import SwitchProcess

EVERYTHING = (*e.JOB_TABLES, e.DESTINATION, e.ECN)
SLICE = {"base": 4096, "size": 512}


def contents(switch: Switch) -> tuple[set[Entry], set[Group]]:
    """All that a controller can have put into a switch."""
    groups = {Group(group.id, tuple(sorted(group.replicas))) for group in switch.read_groups()}
    return set(switch.read_entries(EVERYTHING)), groups


def count(switch: Switch, index: int, **counts: int) -> None:
    """Pretend that packets were counted."""
    switch.write_counters([(e.COUNTERS[name], index, value) for name, value in counts.items()])


def test_a_job_is_in_the_switch_as_its_entries(controller: Controller) -> None:
    job = make_job()
    installed = controller.add_job(job)
    assert installed == InstalledJob.of(job.run(installed.epoch), 1)
    entries, groups = contents(controller.switch)
    assert set(e.job_entries(installed)) <= entries
    assert groups == {e.job_group(installed), e.flood_group([1, 2, 11])}
    assert controller.hosts() == {m.mac: m.switch_port for m in (*job.workers, job.server)}
    assert controller.jobs() == [installed]


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_policy(controller: Controller, name: str) -> None:
    installed = controller.add_job(make_job(policy=name))
    assert controller.jobs() == [installed]
    assert installed.policy == policy(name)
    assert installed.pool == (None if name == "ps" else Pool(base=0, size=4096))


def test_fan_in_one_and_thirty_two(controller: Controller) -> None:
    alone = controller.add_job(make_job("alone", 1, workers=[member(1, 1000)]))
    many = controller.add_job(make_job("many", 2, workers=[member(host, 1001) for host in range(20, 52)]))
    assert controller.jobs() == [alone, many]
    assert many.fan_in == 32


def test_two_workers_on_one_host(controller: Controller) -> None:
    installed = controller.add_job(make_job(workers=[member(1, 1000), member(1, 1001)]))
    assert controller.jobs() == [installed]


def test_jobs_come_and_go(controller: Controller) -> None:
    empty, _ = contents(controller.switch)
    for number, name in enumerate(("alpha", "beta", "gamma"), 1):
        controller.add_job(make_job(name, number))
    assert [(controller.name(job), job.index) for job in controller.jobs()] == [("alpha", 1), ("beta", 2), ("gamma", 3)]
    controller.remove_job("beta")
    assert controller.add_job(make_job("delta", 4)).index == 2
    for job in ("alpha", 3, "delta"):
        controller.remove_job(job)
    assert controller.jobs() == []
    entries, groups = contents(controller.switch)
    assert {entry for entry in entries if entry.table != e.DESTINATION} == empty
    assert [group.id for group in groups] == [e.FLOOD_GROUP]


def test_another_controller_sees_the_same_jobs_and_changes_nothing(
    controller: Controller, process: SwitchProcess, saved: Path
) -> None:
    controller.add_job(make_job("alpha", 1))
    controller.add_job(make_job("beta", 2, "switchml", pool=SLICE))
    controller.set_policy("alpha", "atp")
    before, jobs = contents(controller.switch), controller.jobs()
    with Switch.connect(process.address) as switch:
        for other in (Controller(switch, saved), Controller(switch)):
            assert other.jobs() == jobs
            assert [job.policy.name for job in other.jobs()] == ["atp", "switchml"]
            assert other.reconcile() == []
        assert [Controller(switch, saved).name(job) for job in jobs] == ["alpha", "beta"]
        nameless = Controller(switch)
        assert [nameless.name(job) for job in jobs] == ["job-1", "job-2"]
        assert nameless.find("job-2") == nameless.find(2) == nameless.find("2") == jobs[1]
        assert contents(switch) == before
        nameless.remove_job("job-1")
    assert [job.job for job in controller.jobs()] == [2]


def test_the_policy_changes_on_the_running_switch_in_its_entry_alone(controller: Controller) -> None:
    installed = controller.add_job(make_job())
    for name in ("atp", "esa-coin", "ps", "esa-ack", "switchml", "esa"):
        before, groups = contents(controller.switch)
        (old,) = controller.jobs()
        changed = controller.set_policy("alpha", name)
        assert controller.jobs() == [changed]
        assert changed.policy == policy(name)
        after = before - {e.policy_entry(old)} | {e.policy_entry(changed)}
        assert contents(controller.switch) == (after, groups)
    assert changed == installed


def test_a_policy_with_a_slice_takes_free_rows_of_two_windows(controller: Controller) -> None:
    controller.add_job(make_job("alpha", 1, "atp"))
    controller.add_job(make_job("beta", 2, "atp", window=100))
    assert controller.set_policy("beta", "switchml").pool == Pool(base=8192 - 256, size=256)
    assert controller.set_policy("alpha", "switchml").pool == Pool(base=7168, size=512)  # a multiple of its size
    assert controller.set_policy("alpha", "switchml", pool=Pool(base=0, size=1024)).pool == Pool(base=0, size=1024)


def test_a_slice_has_room_for_the_largest_span_that_workers_may_have_been_told_of(controller: Controller) -> None:
    controller.add_job(make_job("alpha", 1, "esa", window=100, pool={"base": 0, "size": 512}))
    with pytest.raises(BadInput, match="a slice of 512 rows is too small: a span of 800 needs 2048"):
        controller.set_policy("alpha", "switchml", pool=Pool(base=0, size=512))
    assert controller.set_policy("alpha", "switchml").pool == Pool(base=6144, size=2048)


def test_a_slice_has_room_for_the_span_that_the_job_itself_says(controller: Controller) -> None:
    controller.add_job(make_job("alpha", 1, "esa", window=100, span=120, pool={"base": 0, "size": 128}))
    assert controller.set_policy("alpha", "switchml").pool == Pool(base=8192 - 256, size=256)


def test_a_policy_that_needs_rows_that_others_have_is_refused(controller: Controller) -> None:
    controller.add_job(make_job("alpha", 1, "atp", pool={"base": 0, "size": 8192}))
    controller.add_job(make_job("beta", 2, "atp"))
    before = contents(controller.switch)
    with pytest.raises(BadInput, match=r"job beta: no room for a slice of 512 rows .* of job alpha"):
        controller.set_policy("beta", "switchml")
    with pytest.raises(BadInput, match=r"job beta: slice rows 0..511 overlap shared rows 0..8191 of job alpha"):
        controller.set_policy("beta", "switchml", pool=Pool(base=0, size=512))
    with pytest.raises(BadInput, match="unknown policy 'esaa'; allowed: esa, atp"):
        controller.set_policy("beta", "esaa")
    assert contents(controller.switch) == before


def test_a_placed_pool_without_the_jobs_file_is_all_the_memory(controller: Controller) -> None:
    controller.add_job(make_job(policy="ps"))
    nameless = Controller(controller.switch)
    assert nameless.set_policy(1, "esa").pool == Pool(base=0, size=8192)
    nameless.set_policy(1, "ps")
    assert nameless.set_policy(1, "esa", window=100).pool == Pool(base=0, size=1024)


def test_a_slice_without_the_jobs_file_needs_the_window(controller: Controller) -> None:
    controller.add_job(make_job())
    nameless = Controller(controller.switch)
    with pytest.raises(BadInput, match="give its window or its rows"):
        nameless.set_policy(1, "switchml")
    # Under which policy it began nobody knows: with a span of up to eight windows.
    assert nameless.set_policy(1, "switchml", window=100).pool == Pool(base=8192 - 2048, size=2048)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"job": 1, "name": "again"}, r"job: 1 is in the switch already as alpha \(epoch \d+\)"),
        ({"name": "alpha"}, "name: 'alpha' is in the switch already as job 1"),
        ({"lanes": 256, "pool": {"base": 0, "size": 64}}, "job beta has 256 lanes, the switch runs the 64-lane build"),
        ({"policy": "switchml"}, "job beta: slice rows 0..4095 overlap placed rows 0..4095 of job alpha"),
        ({"workers": [member(1), member(1)]}, "rank 1 and rank 0 have the same address 10.0.0.1:20000 on port 1"),
        ({"workers": [member(12, 31780)]}, "the PS and rank 0 have the same address"),
        ({"workers": [member(1), member(1, 5, port=3)]}, "host 00:00:0a:00:00:01 is on two ports"),
        ({"workers": [member(1, 5, port=3)]}, "host 00:00:0a:00:00:01 is on port 1, not 3"),
    ],
)
def test_a_job_that_does_not_fit_changes_nothing(controller: Controller, changes: dict[str, Any], message: str) -> None:
    controller.add_job(make_job("alpha", 1))
    before = contents(controller.switch)
    with pytest.raises(BadInput, match=message) as caught:
        controller.add_job(make_job(**{"name": "beta", "job": 2, **changes}))
    assert "\n" not in str(caught.value)
    assert contents(controller.switch) == before


def test_an_unknown_job_names_those_there_are(controller: Controller) -> None:
    with pytest.raises(BadInput, match="no job 'x' in the switch; jobs: there are none"):
        controller.remove_job("x")
    controller.add_job(make_job("alpha", 1))
    with pytest.raises(BadInput, match="no job '2' in the switch; jobs: alpha"):
        controller.counters(2)


class Failing(Switch):
    """Refuses entries of one table, as a full one does."""

    full: str

    def insert(self, items: Iterable[Entry | Group]) -> None:
        items = list(items)
        if any(isinstance(item, Entry) and item.table == self.full for item in items):
            super().insert([item for item in items if isinstance(item, Group) or item.table != self.full])
            raise Refused("the table is full")
        super().insert(items)


@pytest.mark.parametrize("full", e.JOB_TABLES)
def test_a_job_that_fails_half_way_is_rolled_back(controller: Controller, process: SwitchProcess, full: str) -> None:
    controller.add_job(make_job("alpha", 1))
    job = make_job("beta", 2, more_servers=[member(20, ESA_PORT)])
    controller.add_hosts({m.mac: m.switch_port for m in job.members})
    before = contents(controller.switch)
    with Failing.connect(process.address) as failing:
        assert isinstance(failing, Failing)
        failing.full = full
        with pytest.raises(Refused, match="the table is full"):
            Controller(failing).add_job(job)
    assert contents(controller.switch) == before
    assert controller.add_job(job).index == 2


def test_what_a_dead_controller_left_is_cleared_when_the_job_comes_again_or_on_request(controller: Controller) -> None:
    half = InstalledJob.of(make_run("beta", 2), 1)
    controller.switch.insert([e.job_group(half), *e.job_entries(half)[:-1]])
    assert controller.jobs() == []
    controller.add_job(make_job("alpha", 1))
    assert controller.jobs()[0].index == 2  # 1 may still be counting
    controller.add_job(make_job("beta", 2))
    assert [job.job for job in controller.jobs()] == [1, 2]
    assert controller.reconcile() == ["deleted left-over multicast group 3"]
    assert controller.reconcile() == []

    controller.switch.delete([e.policy_entry(controller.find("alpha"))])
    done = controller.reconcile()
    assert any("multicast group 4" in each for each in done)
    assert len(done) == len(e.job_entries(half))  # one fewer entry, one group
    assert [controller.name(job) for job in controller.jobs()] == ["beta"]


def test_reconcile_makes_the_jobs_those_that_are_wanted(controller: Controller) -> None:
    alpha, beta, gamma = (make_job(name, n) for n, name in enumerate(("alpha", "beta", "gamma"), 1))
    controller.add_job(alpha)
    controller.add_job(beta)
    controller.set_policy("beta", "atp")
    assert controller.reconcile([alpha, gamma]) == ["removed job beta", "added job gamma"]
    assert controller.reconcile([alpha, gamma]) == []
    assert [controller.name(job) for job in controller.jobs()] == ["alpha", "gamma"]
    controller.switch.delete([e.owner_entry(controller.find("alpha"))])
    assert controller.find("alpha").problems
    assert controller.reconcile([alpha, gamma]) == ["removed job alpha", "added job alpha"]
    assert not controller.find("alpha").problems


def test_counters_are_the_jobs_own_and_start_at_zero(controller: Controller) -> None:
    controller.add_job(make_job("alpha", 1))
    controller.add_job(make_job("beta", 2))
    count(controller.switch, 1, gradients=10, denied=3)
    count(controller.switch, 2, gradients=20)
    assert controller.counters("alpha") == {**dict.fromkeys(e.COUNTERS, 0), "gradients": 10, "denied": 3}
    assert controller.counters("beta")["gradients"] == 20
    controller.remove_job("alpha")
    assert controller.add_job(make_job("gamma", 3)).index == 1
    assert controller.counters("gamma") == dict.fromkeys(e.COUNTERS, 0)
    assert set(controller.denied_by_reason().values()) == {0}


def test_rows_that_a_removed_job_holds_stay_counted_until_they_are_taken(controller: Controller) -> None:
    controller.add_job(make_job("alpha", 1))
    controller.add_job(make_job("beta", 2))
    count(controller.switch, 1, seated=100, released=60)
    count(controller.switch, 2, seated=10, released=3)
    assert controller.occupancy() == Occupancy({"alpha": 40, "beta": 7}, 0, 8192)
    controller.remove_job("alpha")
    assert controller.occupancy() == Occupancy({"beta": 7}, 40, 8192)
    count(controller.switch, 0, released=15)  # others took 15 of them
    controller.add_job(make_job("gamma", 3))
    occupancy = controller.occupancy()
    assert occupancy == Occupancy({"beta": 7, "gamma": 0}, 25, 8192)
    assert occupancy.total == 32


def test_hosts_move_and_broadcasts_reach_every_port(controller: Controller) -> None:
    controller.add_host("00:00:0a:00:00:01", 1)
    controller.add_hosts({"00:00:0a:00:00:02": 2, "00:00:0a:00:00:03": 2})
    controller.add_host("00:00:0a:00:00:01", 4)
    assert controller.hosts() == {"00:00:0a:00:00:01": 4, "00:00:0a:00:00:02": 2, "00:00:0a:00:00:03": 2}
    assert contents(controller.switch)[1] == {e.flood_group([1, 2, 4])}
    assert e.broadcast_entry() in contents(controller.switch)[0]


def test_congestion_threshold(controller: Controller) -> None:
    controller.mark_congestion_above(24)
    assert controller.switch.read_entries([e.ECN]) == [e.ecn_entry(24)]


def test_a_build_that_does_not_exist(controller: Controller) -> None:
    with pytest.raises(BadInput, match="no build with 65 lanes; allowed: 0, 64, 256"):
        controller.load(65)


def test_the_file_of_jobs_is_only_for_names(controller: Controller, saved: Path) -> None:
    installed = controller.add_job(make_job())
    saved.write_text("nonsense")
    assert controller.jobs() == [installed]
    assert controller.name(installed) == "job-1"
    # The same id again by somebody who writes no file: its old name would be wrong.
    controller.remove_job(1)
    controller.add_job(make_job())
    nameless = Controller(controller.switch)
    nameless.remove_job(1)
    other = nameless.add_job(make_job(workers=[member(5)]))
    assert controller.name(other) == "job-1"
