"""What Aryl decides: who starts, who grows, which servers are lent, and who stops when they are given back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from esa.cluster.inventory import Cluster, Gpu, Host
from esa.cluster.kinds import ANY_KIND, Costs, Kind
from esa.cluster.policies.aryl import Aryl, ArylRules
from esa.cluster.scheduler import Decision, JobInfo, Resize, Running, Start
from esa.cluster.times import COMPUTING, Answer, Asked
from esa.cluster.validate import DecisionRefused, check_decision
from esa.errors import BadInput
from tests.cluster.clusters import NIC

OWN = Kind(gpu_type="training")


def lending(own: int = 2, theirs: int = 2, *, lent: tuple[int, ...] = (), offered: int = 0, gpus: int = 4) -> Cluster:
    """Own hosts first, then the inference side's, of so many GPUs each."""
    hosts = [Host(0, NIC, gpus, "training")] * own + [Host(1, NIC, gpus, "inference")] * theirs
    others = frozenset(range(own, own + theirs))
    return Cluster(tuple(hosts), 100, 2, others - {*lent}, "best-fit", others, offered)


def job(number: int, fewest: int, most: int = 0, *, left: int = 100, kind: Kind = ANY_KIND, submit: int = 0) -> JobInfo:
    """Iterations of a second each on as many GPUs as it needs."""
    elastic = (fewest, most) if most else None
    return JobInfo(number, f"job-{number}", fewest, submit, left, 0, 10**9, False, False, elastic=elastic, kind=kind)


def on(host: int, *gpus: int) -> tuple[Gpu, ...]:
    return tuple(Gpu(host, gpu) for gpu in gpus)


def decide(cluster: Cluster, waiting: list[JobInfo], running: list[Running], **rules) -> Decision:
    """Asked, and its decision validated."""
    decision = Aryl(ArylRules(**rules))(0, cluster, waiting, running, COMPUTING)
    check_decision(decision, cluster, waiting, running)
    return decision


def hosts_of(decision: Decision) -> dict[int, list[int]]:
    return {one.job: [gpu.host for gpu in one.workers] for one in (*decision.starts, *decision.resizes)}


def test_the_shortest_start_first_and_who_fits_overtakes_unless_told_otherwise() -> None:
    queue = [job(0, 4, left=50), job(1, 5, left=40), job(2, 1, left=60)]
    cluster = lending(2, 0)
    assert [start.job for start in decide(cluster, queue, []).starts] == [1, 2]
    assert [start.job for start in decide(cluster, queue, [], backfill=False).starts] == [1]
    assert [start.job for start in decide(cluster, queue, [], order="submission").starts] == [0, 2]


def test_all_that_is_offered_is_lent_and_taken_after_the_clusters_own() -> None:
    queue = [job(0, 4, left=10), job(1, 4, left=20), job(2, 4, left=30), job(3, 4, left=40)]
    decision = decide(lending(2, 2, offered=1), queue, [])
    assert decision.lent == {2}
    assert hosts_of(decision) == {0: [0] * 4, 1: [1] * 4, 2: [2] * 4}
    assert decide(lending(2, 2, offered=1), queue, [], loaning=False).lent is None


def test_a_job_of_another_type_does_not_run_on_lent_servers() -> None:
    queue = [job(0, 4, left=10), job(1, 4, left=20, kind=OWN), job(2, 4, left=30)]
    assert hosts_of(decide(lending(1, 2, offered=2), queue, [])) == {0: [0] * 4, 2: [1] * 4}


def test_flexible_workers_go_to_lent_servers_and_the_rest_of_the_own_ones() -> None:
    decision = decide(lending(1, 1, offered=1), [job(0, 3, 8)], [])
    assert hosts_of(decision) == {0: [0] * 4 + [1] * 4}


def test_flexible_workers_go_where_they_save_the_most_time() -> None:
    long, short = job(0, 1, 4, left=1000), job(1, 1, 4, left=10)
    assert {k: len(at) for k, at in hosts_of(decide(lending(1, 0, gpus=5), [long, short], [])).items()} == {0: 4, 1: 1}


class FourOrNothing:
    """An iteration takes as long on two or three GPUs as on one: a network's answer, not a linear one."""

    isolated = True

    def __call__(self, running: Sequence[Asked], /) -> Sequence[Answer]:
        return [Answer(0.25 if asked.workers >= 4 else 1.0, level=1) for asked in running]


def test_what_more_workers_save_is_asked_of_times() -> None:
    waiting = [job(0, 1, 4, left=100), job(1, 1, 3, left=1000)]
    cluster = lending(1, 0, gpus=5)
    linear = Aryl()(0, cluster, waiting, [], COMPUTING)
    assert {start.job: len(start.workers) for start in linear.starts} == {0: 2, 1: 3}
    network = Aryl()(0, cluster, waiting, [], FourOrNothing())
    assert {start.job: len(start.workers) for start in network.starts} == {0: 4, 1: 1}


def test_base_demand_takes_what_flexible_workers_have() -> None:
    grown = Running(job(0, 2, 4), 0, on(0, 0, 1, 2, 3), None)
    decision = decide(lending(1, 0), [job(1, 2, left=500)], [grown])
    assert decision.resizes == (Resize(0, on(0, 0, 1), None),)
    assert decision.starts == (Start(1, on(0, 2, 3), None),)


def test_who_keeps_its_number_keeps_its_gpus() -> None:
    grown = Running(job(0, 2, 4), 0, (*on(0, 0, 1), *on(1, 2)), None)
    full = Running(job(1, 5), 0, (*on(0, 2, 3), *on(1, 0, 1, 3)), None)
    assert decide(lending(2, 0), [], [grown, full]) == Decision()


def test_flexible_workers_of_who_cannot_run_elsewhere_displace_those_who_can() -> None:
    anywhere = Running(job(0, 1, 4, left=1000), 0, on(0, 0, 1, 2, 3), None)
    bound = Running(job(1, 1, 4, left=900, kind=OWN), 0, on(1, 0), None)
    rigid = Running(job(2, 3), 0, on(1, 1, 2, 3), None)
    decision = decide(lending(2, 1, lent=(2,), offered=1), [], [anywhere, bound, rigid])
    assert hosts_of(decision) == {0: [0, 2, 2, 2], 1: [1, 0, 0, 0]}


def test_what_a_change_costs_can_be_taken_off_its_value() -> None:
    kind = Kind(costs=Costs(rescale_ns=30 * 10**9))
    for left, grows in ((50, False), (70, True)):  # two workers in place of one save half
        one = Running(job(0, 1, 2, left=left, kind=kind), 0, on(0, 0), None)
        assert bool(decide(lending(1, 0), [], [one], charged=True).resizes) == grows
        assert decide(lending(1, 0), [], [one]).resizes
    new = job(1, 1, 2, left=10, kind=kind)  # starting costs the same at any width
    assert len(decide(lending(1, 0), [new], [], charged=True).starts[0].workers) == 2


def test_a_server_of_flexible_workers_is_given_back_without_a_stop() -> None:
    grown = Running(job(0, 2, 6, left=1000), 0, (*on(0, 0, 1), *on(2, 0, 1, 2, 3)), None)
    rigid = Running(job(1, 2), 0, on(3, 0, 1), None)
    blocks = Running(job(2, 6), 0, (*on(0, 2, 3), *on(1, 0, 1, 2, 3)), None)
    decision = decide(lending(2, 2, lent=(2, 3), offered=1), [], [grown, rigid, blocks])
    assert (decision.lent, decision.stops) == ({3}, ())
    assert hosts_of(decision) == {0: [0, 0, 3, 3]}


def test_jobs_on_a_server_that_is_wanted_back_stop_everywhere() -> None:
    wide = Running(job(0, 4), 0, (*on(0, 0, 1), *on(2, 0, 1)), None)
    narrow = Running(job(1, 2), 0, on(3, 0, 1), None)
    decision = decide(lending(2, 2, lent=(2, 3), offered=1), [job(2, 2, left=1)], [wide, narrow])
    assert (decision.lent, [stop.job for stop in decision.stops]) == ({3}, [0])
    assert hosts_of(decision) == {2: [0, 0]}
    both = decide(lending(2, 2, lent=(2, 3), offered=0), [], [wide, narrow])
    assert (both.lent, {stop.job for stop in both.stops}) == (set(), {0, 1})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"lent": frozenset({0})}, "host 0: lent; allowed: of the inference side's, 2, 3"),
        ({"lent": frozenset({2, 3})}, "2 hosts lent; allowed: 1, which are offered"),
        ({"lent": frozenset({3})}, "host 2: given back with 1 GPUs in use; allowed: none"),
        (
            {"starts": (Start(1, on(3, 0), None),)},
            "job job-1: rank 0 on host 3, which is not lent; allowed: one that is",
        ),
        (
            {"starts": (Start(1, on(2, 0), None),), "lent": frozenset()},
            "host 2: given back with 1 GPUs in use; allowed: none",
        ),
    ],
)
def test_loans_that_cannot_be_are_refused(change: dict, problem: str) -> None:
    cluster = lending(2, 2, lent=(2,), offered=1)
    with pytest.raises(DecisionRefused) as refused:
        check_decision(replace(Decision(), **change), cluster, [job(1, 1)], [Running(job(0, 1), 0, on(2, 3), None)])
    assert str(refused.value) == problem


def test_who_does_not_give_back_what_is_not_offered_any_more_is_refused() -> None:
    with pytest.raises(DecisionRefused, match="1 hosts lent; allowed: 0, which are offered"):
        check_decision(Decision(), lending(1, 1, lent=(1,), offered=0), [], [])


def test_unknown_rules_are_refused() -> None:
    with pytest.raises(BadInput, match="order: unknown rule 'longest'; allowed: shortest, submission"):
        ArylRules(order="longest")


class Crossing:
    """Sums cost nothing in a rack, and as much as computing across."""

    isolated = False

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def __call__(self, running: Sequence[Asked], /) -> Sequence[Answer]:
        racks = [{self._cluster.hosts[host].rack for host, _ in asked.hosts} for asked in running]
        alone_s = [asked.gpu_ns / asked.workers / 1e9 for asked in running]
        return [
            Answer(2 * each, each) if len(mine) > 1 else Answer(each) for each, mine in zip(alone_s, racks, strict=True)
        ]


def pods(*placement: str) -> Cluster:
    """Two racks of two hosts of four GPUs."""
    return Cluster(tuple(Host(k // 2, NIC, 4) for k in range(4)), 100, placement=placement[0])


def test_places_that_are_asked_for_are_those_where_the_fewest_gpus_wait() -> None:
    cluster = pods("spread")
    waits, asks = (Aryl(ArylRules(asks=each))(0, cluster, [job(0, 8)], [], Crossing(cluster)) for each in (False, True))
    for decision in (waits, asks):
        check_decision(decision, cluster, [job(0, 8)], [])
    assert [cluster.hosts[host].rack for host in hosts_of(waits)[0]] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert hosts_of(asks)[0] == [0] * 4 + [1] * 4


def test_flexible_workers_stay_beside_the_others_where_crossing_costs_more_than_they_bring() -> None:
    one, cluster = job(0, 2, 4), lending(2, 2, offered=1)
    for asks, hosts in ((False, [0, 0, 2, 2]), (True, [0, 0, 0, 0])):
        decision = Aryl(ArylRules(asks=asks))(0, cluster, [one], [], Crossing(cluster))
        check_decision(decision, cluster, [one], [])
        assert hosts_of(decision)[0] == hosts


def test_where_sums_cost_nothing_asking_changes_nothing() -> None:
    queue = [job(n, 1 + n % 3, 4 + n % 3, left=10 + n) for n in range(6)]
    cluster = lending(2, 2, offered=2)
    assert decide(cluster, queue, []) == decide(cluster, queue, [], asks=True)
