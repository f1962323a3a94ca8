"""Servers that are lent: what is offered by the time of day, and what holds whatever Aryl decides about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.cluster.inventory import Cluster, Host
from esa.cluster.kinds import Kind
from esa.cluster.policies import shortest_first
from esa.cluster.policies.aryl import VARIANTS, Aryl, ArylRules
from esa.cluster.reclaim import VICTIMS
from esa.cluster.scheduler import Decision, JobInfo, Running
from esa.cluster.times import COMPUTING, Times
from esa.errors import BadInput
from esa.laboratory import Outcome, simulate_cluster
from esa.laboratory.offers import NEVER, Offers, diurnal
from tests.cluster.clusters import NIC
from tests.effort import tries
from tests.laboratory.jobs import SECOND, check_books, ends_s, hosts, job

OWN = "training"


def lending(own: Sequence[int], theirs: Sequence[int]) -> Cluster:
    """Own hosts, then the inference side's, by their GPUs."""
    all_hosts = [Host(0, NIC, gpus, OWN) for gpus in own] + [Host(1, NIC, gpus, "inference") for gpus in theirs]
    others = frozenset(range(len(own), len(all_hosts)))
    return Cluster(tuple(all_hosts), 1000, 2, others, "best-fit", others)


def test_offers_follow_the_day_and_come_again() -> None:
    offers = diurnal(100, 1, noise=0.0, days=2)
    hour = 3600 * SECOND
    assert [offers.at(at * hour) for at in (0, 6, 12, 18, 24, 36)] == [58, 30, 3, 30, 58, 3]
    assert offers.at(48 * hour) == offers.at(0)
    assert (offers.next_ns(0), offers.next_ns(300 * SECOND)) == (300 * SECOND, 3900 * SECOND)
    assert Offers(5, (1, 1)).next_ns(7) == NEVER
    assert diurnal(100, 1) == diurnal(100, 1) != diurnal(100, 2)
    assert all(0 <= count <= 100 for count in diurnal(100, 3, noise=1.0).counts)


@pytest.mark.parametrize("change", [{"trough": 0.9, "peak": 0.5}, {"interval_s": 7}, {"hosts": 0}, {"noise": -1}])
def test_offers_that_cannot_be_are_refused(change: dict) -> None:
    with pytest.raises(BadInput, match=r"^offers: .*; allowed: "):
        diurnal(**{"hosts": 10, "seed": 1, **change})


def test_a_job_on_a_server_that_is_wanted_back_stops_and_its_gpus_elsewhere_are_collateral() -> None:
    offers = Offers(10 * SECOND, (1, 0))
    jobs = [job("a", 0, 3, 100), job("wide", 0, 3, 15, start=1, preempt=2)]
    outcome = simulate_cluster(lending((4,), (2,)), jobs, Aryl(), COMPUTING, offers=offers, spells=True)
    # "wide", the shorter, starts on own GPUs, "a" on the others: one own, two lent. At 10 s it stops; at 16 s it has
    # three own ones, and goes on from where it was.
    assert ends_s(outcome) == [106, 16]
    assert outcome.jobs[0].stops == 1
    assert outcome.loans is not None
    assert (outcome.loans.given_back, outcome.loans.stops, outcome.loans.collateral) == (5, 1, 1)
    assert outcome.there == 4 * 106 * SECOND + outcome.loans.held


class Watched:
    """A scheduler whose views are held to what must be, decision by decision."""

    def __init__(self, decide: Aryl, offers: Offers) -> None:
        self.decide = decide
        self.offers = offers
        self.lent: frozenset[int] = frozenset()

    def __call__(
        self, now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
    ) -> Decision:
        assert cluster.lent == self.lent
        assert cluster.offered == self.offers.at(now_ns)
        for one in running:
            assert not any(gpu.host in cluster.down for gpu in one.workers)
            if one.job.kind.gpu_type:
                assert all(cluster.hosts[gpu.host].gpu_type == OWN for gpu in one.workers)
        decision = self.decide(now_ns, cluster, waiting, running, times)
        if decision.lent is not None:
            self.lent = decision.lent
        assert len(self.lent) <= cluster.offered
        return decision


drawn_jobs = st.lists(
    st.tuples(
        st.integers(0, 60), st.integers(1, 5), st.integers(1, 40), st.booleans(), st.booleans(), st.integers(0, 3)
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=tries(60), deadline=None)
@given(
    drawn=drawn_jobs,
    theirs=st.sampled_from([(4,), (2, 2), (1, 3, 4)]),
    counts=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    tick=st.sampled_from([0, 5]),
    name=st.sampled_from(sorted(VARIANTS)),
    rules=st.fixed_dictionaries(
        {
            "victims": st.sampled_from(VICTIMS),
            "trim": st.booleans(),
            "order": st.sampled_from(["shortest", "submission"]),
            "backfill": st.booleans(),
            "charged": st.booleans(),
        }
    ),
)
def test_books_are_kept_and_loans_are_what_is_offered(
    drawn: list, theirs: tuple[int, ...], counts: list[int], tick: int, name: str, rules: dict
) -> None:
    offers = Offers(20 * SECOND, tuple(min(count, len(theirs)) for count in counts))
    cluster = lending((2, 4), theirs)
    jobs = []
    for k, (submit, workers, seconds, elastic, bound, costs) in enumerate(drawn):
        bounds = (workers, workers + 3) if elastic else None
        one = job(f"job-{k}", submit, workers, seconds, bounds, start=costs, preempt=1, rescale=costs, migrate=1)
        jobs.append(replace(one, kind=Kind(costs=one.kind.costs, gpu_type=OWN)) if bound else one)

    def run(decide: object) -> Outcome:
        return simulate_cluster(cluster, jobs, decide, COMPUTING, tick_ns=tick * SECOND, offers=offers, spells=True)  # type: ignore[arg-type]

    decide = Aryl(replace(VARIANTS[name], **rules))
    outcome = run(Watched(decide, offers))
    check_books(cluster, jobs, outcome)
    assert run(decide) == outcome
    asked_always = run(lambda *asked: replace(decide(*asked), until_news=False))
    assert asked_always.decisions >= outcome.decisions
    assert replace(asked_always, decisions=outcome.decisions) == outcome
    if not decide.rules.loaning:
        assert outcome.loans is not None
        assert outcome.loans.held == 0
    if not decide.rules.scaling:
        assert all(len(spell.gpus) == jobs[spell.job].workers for spell in outcome.spells)


@settings(max_examples=tries(60), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 6), st.integers(1, 40)), min_size=1, max_size=15))
def test_without_loans_and_elastic_jobs_it_is_shortest_job_first(drawn: list[tuple[int, int, int]]) -> None:
    jobs = [job(f"job-{k}", submit, workers, seconds) for k, (submit, workers, seconds) in enumerate(drawn)]
    where = hosts(2, 4, 2, placement="best-fit")
    aryl = simulate_cluster(where, jobs, Aryl(ArylRules(backfill=False)), COMPUTING)
    assert ends_s(aryl) == ends_s(simulate_cluster(where, jobs, shortest_first.decide, COMPUTING))
    renamed = simulate_cluster(where, jobs[::-1], Aryl(ArylRules(backfill=False)), COMPUTING)
    distinct = len({(submit, workers * seconds, seconds) for submit, workers, seconds in drawn}) == len(drawn)
    if distinct and len({(seconds, submit) for submit, _, seconds in drawn}) == len(drawn):
        assert {one.name: one.end_ns for one in aryl.jobs} == {one.name: one.end_ns for one in renamed.jobs}


def test_on_one_machine_no_other_order_has_a_shorter_mean() -> None:
    seconds = [7, 3, 11, 2, 5, 13]
    jobs = [job(f"job-{k}", 0, 4, each) for k, each in enumerate(seconds)]
    found = sum(one for one in ends_s(simulate_cluster(hosts(4), jobs, Aryl(), COMPUTING)) if one is not None)
    best = min(sum(sum(order[: k + 1]) for k in range(len(order))) for order in permutations(seconds))
    assert found == best


def test_offers_belong_to_clusters_with_servers_to_lend() -> None:
    with pytest.raises(BadInput, match="offers: 0 inference hosts; allowed: offers where there are some"):
        simulate_cluster(hosts(4), [job("a", 0, 1, 1)], Aryl(), COMPUTING, offers=Offers(1, (1,)))
    with pytest.raises(BadInput, match="job a: 3 GPUs; allowed: up to 2, all in the cluster"):
        simulate_cluster(lending((2,), (4,)), [job("a", 0, 3, 1)], Aryl(), COMPUTING, offers=Offers(1, (1,)))
