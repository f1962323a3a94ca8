"""Formula and flows: to arithmetic by hand, to each other, and to what was measured."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.errors import BadInput
from esa.network_times import split
from esa.network_times.levels import NetworkTimes
from esa.network_times.load import load_of
from esa.network_times.network import FRAGMENT_BYTES, PACKET_BYTES, SWITCH_POLICIES, Network
from esa.network_times.queues import queued
from esa.network_times.rates import max_min, mixed
from esa.network_times.rows import rows_of
from esa.network_times.sharing import Shares
from esa.network_times.urgency import priorities_of
from esa.protocol import aggregator_window
from esa.workloads import profile
from tests.effort import tries
from tests.network_times.questions import HEAVY, LIGHT, RACKS, answers, asked, component, member

COMPUTE_S = 0.00375  # of HEAVY
LEVELS = ("formula", "flows")
PACKET_NS = 8 * PACKET_BYTES / 100


@pytest.mark.parametrize("level", LEVELS)
def test_one_job_behind_one_switch_takes_what_can_be_reckoned(level: str, tmp_path: Path) -> None:
    """Its first bucket is ready after the forward pass and a part of the backward one; then its cable is never idle."""
    (found,) = answers(Network("esa"), asked(0, 0, 1, 2, 3), level=level, folder=tmp_path)
    fragments = profile(HEAVY).bytes / FRAGMENT_BYTES
    first_ns = 1_250_000 + 2_500_000 / 8  # an eighth of the computing of the backward pass
    way_ns = 2 * (PACKET_NS + 1000) + 400
    assert found.iteration_s == pytest.approx((first_ns + fragments * PACKET_NS + way_ns) / 1e9, rel=1e-3)
    assert found.exposed_s == pytest.approx(found.iteration_s - COMPUTE_S)
    assert found.level == LEVELS.index(level) + 1


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("policy", SWITCH_POLICIES)
def test_two_hosts_with_two_gpus_are_slower_than_four_with_one(policy: str, level: str, tmp_path: Path) -> None:
    """GPUs of a host share its cable, and all wait for the PS where switches add nothing; a host that adds first does
    not mind.
    """
    pairs, single = asked(0, 0, 1, each=2), asked(0, 0, 1, 2, 3)
    (two,), (four,) = (answers(Network(policy), one, level=level, folder=tmp_path) for one in (pairs, single))
    ratio = two.exposed_s / four.exposed_s
    assert 1.4 < ratio < 2.3 if policy != "ps" else ratio == pytest.approx(1)
    (local,) = answers(Network("esa", local_sums=True), pairs, level=level, folder=tmp_path)
    (esa,) = answers(Network("esa"), single, level=level, folder=tmp_path)
    assert local.iteration_s == pytest.approx(esa.iteration_s, rel=1e-3)


def test_jobs_without_a_network_get_the_answer_of_the_table(tmp_path: Path) -> None:
    one_host, unknown = asked(0, 3, each=4), asked(1, 0, 1)._replace(model="")
    found = answers(Network("esa"), one_host, unknown, asked(2, 0, 1), folder=tmp_path)
    assert [one.level for one in found] == [0, 0, 2]
    assert [one.iteration_s for one in found[:2]] == [COMPUTE_S, COMPUTE_S]


@pytest.mark.parametrize("policy", ["esa", "ring"])
def test_it_does_not_matter_in_which_order_a_job_got_the_gpus_of_a_host(policy: str, tmp_path: Path) -> None:
    """As one that grew: two on a host, two on the next, and one more on the first."""
    together = asked(0, 0, 1)._replace(gpu_ns=10**9, hosts=((0, 3), (1, 2)))
    apart = together._replace(hosts=((0, 2), (1, 2), (0, 1)))
    for level in ("formula", "flows"):
        assert answers(Network(policy), apart, level=level, folder=tmp_path) == answers(
            Network(policy), together, level=level, folder=tmp_path
        )


def test_who_computes_on_as_many_bytes_longer_waits_less(tmp_path: Path) -> None:
    slow = asked(0, 0, 1)._replace(gpu_ns=2 * 10**9)
    (found,) = answers(Network("esa"), slow, folder=tmp_path)
    assert 1.0 < found.iteration_s < 1.005
    additions = slow._replace(additions=1)
    (added,) = answers(Network("esa"), additions, folder=tmp_path)
    assert 1.0 < found.iteration_s <= added.iteration_s < 1.005  # less is left to hide behind


@pytest.mark.parametrize("policy", SWITCH_POLICIES)
def test_jobs_apart_are_answered_together_as_alone(policy: str, tmp_path: Path) -> None:
    here, there = [asked(0, 0, 1), asked(1, 1, 2, model=LIGHT)], [asked(2, 4, 5, 6)]
    network = Network(policy)
    together = answers(network, *here, *there, folder=tmp_path / "together")
    apart = [answers(network, *some, folder=tmp_path / "apart") for some in (here, there)]
    assert together == [*apart[0], *apart[1]]


@pytest.mark.parametrize("policy", SWITCH_POLICIES)
def test_a_neighbour_on_ones_hosts_slows_one_down_and_one_beside_does_not(policy: str, tmp_path: Path) -> None:
    network, job = Network(policy, rows=4096), asked(0, 0, 1)
    for level in LEVELS:
        (alone,) = answers(network, job, level=level, folder=tmp_path)
        shared, _ = answers(network, job, asked(1, 0, 1), level=level, folder=tmp_path)
        beside, _ = answers(network, job, asked(1, 2, 3), level=level, folder=tmp_path)
        if policy != "ps":  # whose cable is the narrowest for two ranks already
            assert shared.iteration_s > 1.15 * alone.iteration_s
        assert beside.iteration_s == pytest.approx(alone.iteration_s, rel=0.02)


def test_scarce_rows_cost_atp_and_switchml_more_than_esa(tmp_path: Path) -> None:
    jobs = [asked(number, number, 4 + number) for number in range(3)]
    grown = {}
    for policy in ("esa", "atp", "switchml"):
        scarce, ample = (answers(Network(policy, rows=rows), *jobs, folder=tmp_path)[0] for rows in (128, 4096))
        grown[policy] = scarce.iteration_s / ample.iteration_s
    assert grown["esa"] < 1.2 < 1.5 < min(grown["atp"], grown["switchml"])


def test_what_passes_the_ps_and_which_rows_are_held(tmp_path: Path) -> None:
    fragments = profile(HEAVY).bytes // FRAGMENT_BYTES
    packets = {}
    for policy in SWITCH_POLICIES:
        (found,) = answers(Network(policy, rows=1024), asked(0, 0, 1, 2), folder=tmp_path)
        packets[policy] = found.server_bytes / PACKET_BYTES / fragments
        assert (found.rows > 0) == (policy in ("esa", "atp", "switchml"))
        assert found.rows <= 1024
    assert packets == {"esa": 0, "atp": 2, "switchml": 0, "ps": 4, "ring": 0}


def test_slices_are_of_jobs_that_meet_on_a_switch() -> None:
    network = Network("switchml", rows=256)
    pairs = [member((0, 1), (1, 1)), member((4, 1), (5, 1)), member((2, 1), (6, 1))]
    slices = rows_of(component(network, *pairs), network)
    assert sorted(one.size for one in slices) == [128, 128, 128]
    assert len({one.base for one in slices}) == 2
    assert {one.window for one in slices} == {64}
    tight = Network("switchml", rows=2)
    crowded = component(tight, member((0, 1), (1, 1)), member((2, 1), (3, 1)))
    with pytest.raises(BadInput, match="rows: 2 for 2 slices on a switch; allowed: 2 or more for each"):
        rows_of(crowded, tight)


def test_less_that_is_left_is_more_urgent() -> None:
    soon, late, unknown = (priorities_of(member((0, 1), (1, 1), service=s), Network()) for s in (3, 6, None))
    steps = [a - b for a, b in zip(soon, late, strict=True)]
    assert {*steps} <= {47, 48}  # some 8 for a factor of two
    assert all(a >= b for a, b in zip(soon[1:], soon, strict=False))  # front layers come last
    assert max(unknown) > max(soon)


def test_urgency_decides_who_keeps_rows_where_they_are_scarce() -> None:
    """Three jobs on the same 128 rows, with ranks that do not get on alike."""
    network = Network("esa", rows=128, spine_bps=50e9)

    def beside(service: int) -> float:
        jobs = [
            member((0, 1), (1, 1), service=service),
            member((0, 1), (2, 2), (3, 1), model=LIGHT, service=5),
            member((0, 1), (2, 1), (3, 1), service=5),
        ]
        here = component(network, *jobs)
        place = next(k for k, one in enumerate(here.members) if one.hosts == jobs[0].hosts or len(one.hosts) == 2)
        return Shares(here, network).of(frozenset(range(3)))[place].beside

    assert beside(1) < beside(9)


@settings(max_examples=tries(60), deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_shares_are_max_min(seed: int) -> None:
    """No cable is full beyond its rate, and nobody gets less who could have more: a cap, or a full cable on its way."""
    dice = random.Random(seed)
    cables = {
        job: {cable: dice.uniform(0.1, 3) for cable in dice.sample(range(6), dice.randint(1, 4))} for job in range(5)
    }
    caps = {job: dice.uniform(0.05, 2) for job in cables}
    weights = {job: dice.uniform(0.5, 2) for job in cables}
    rates = max_min(cables, caps, weights)
    used = {cable: sum(rates[job] * mine.get(cable, 0) for job, mine in cables.items()) for cable in range(6)}
    assert max(used.values()) <= 1 + 1e-9
    for job, mine in cables.items():
        full = [cable for cable in mine if used[cable] >= 1 - 1e-9]
        highest = [max(rates[other] / weights[other] for other in cables if cable in cables[other]) for cable in full]
        level = rates[job] / weights[job]
        assert rates[job] >= caps[job] * (1 - 1e-9) or any(level >= most * (1 - 1e-9) for most in highest)


@settings(max_examples=tries(60), deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_who_shares_a_full_cable_waits_alike_there(seed: int) -> None:
    """A window comes back after the trip and the longest wait on its way, and nobody waits where there is room."""
    dice = random.Random(seed)
    cables = {
        job: {cable: dice.uniform(0.1, 3) for cable in dice.sample(range(6), dice.randint(1, 4))} for job in range(5)
    }
    trips = {job: dice.uniform(0.1, 10) for job in cables}
    windows = {job: dice.uniform(0.1, 5) for job in cables}
    rates, waits = queued(cables, trips, windows)
    for job, mine in cables.items():
        longest = max(waits.get(cable, 0.0) for cable in mine)
        assert rates[job] == pytest.approx(windows[job] / (trips[job] + longest), rel=1e-4)
    for cable in range(6):
        used = sum(rates[job] * mine.get(cable, 0) for job, mine in cables.items())
        assert used == pytest.approx(1, rel=1e-4) if cable in waits else used <= 1 + 1e-4


def test_windows_of_esa_are_at_rest_as_its_rule_says() -> None:
    assert (aggregator_window._LEAST_PART, aggregator_window._INCREASE, aggregator_window._DECREASE) == (
        split.LEAST_PART,
        split.INCREASE,
        split.DECREASE,
    )


def test_who_waits_longer_for_its_last_rank_loses_its_rows_and_the_urgent_keep_theirs() -> None:
    """Three ranks behind one another's cables, and one of each job apart: the job whose ranks are less alike has more
    fragments that others meet, whoever holds more rows.
    """
    network = Network("esa", rows=128)
    alike, apart = member((0, 1), (1, 1)), member((0, 1), (1, 1), (2, 1), (3, 1))
    for urgent in (alike, apart):
        members = [one._replace(service=1 if one is urgent else 6) for one in (alike, apart)]
        here = component(network, *members)
        shares = Shares(here, network).of(frozenset(range(2)))
        beside = {here.members[job].ranks: share.beside for job, share in shares.items()}
        assert beside[4 if urgent is alike else 2] > beside[2 if urgent is alike else 4]


def test_a_fragment_beside_takes_the_ranks_packets_to_the_ps() -> None:
    network = Network("ps")
    here = component(network, member((0, 2), (4, 1)))
    load = load_of(0, here, network)
    assert load.beside["server-in", 0] == pytest.approx(3 * PACKET_NS)
    assert load.beside["rack-up", 0] == pytest.approx(2 * PACKET_NS / 4)  # a rack's cable is four times as fast
    assert mixed(load, 0.5)["server-in", 0] == pytest.approx(1.5 * PACKET_NS)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"policy": "gloo"}, "policy: unknown policy 'gloo'; allowed: esa, atp, switchml, ps, ring"),
        ({"rows": 100}, "rows: 100; allowed: powers of two, 2 to 65536"),
        ({"window": 0}, "window: 0; allowed: 1 to 16384"),
        ({"rate_bps": 0}, "rate_bps: 0; allowed: 1e6 to 1e"),
        ({"delay_ns": -1}, "delay_ns: -1; allowed: 0 to 1000000000"),
    ],
)
def test_a_network_that_cannot_be_is_refused(given: dict, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        Network(**given)


def test_questions_that_cannot_be_answered_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="model: unknown model 'gpt'; allowed: alexnet, bert, "):
        answers(Network(), asked(0, 0, 1)._replace(model="gpt"), folder=tmp_path)
    with pytest.raises(BadInput, match="job number 7: 40 ranks in rack 0; allowed: 32 in a rack"):
        answers(Network(), asked(7, 0, 1, each=20), folder=tmp_path)
    with pytest.raises(BadInput, match="level: unknown level 'table'; allowed: formula, flows, packets"):
        NetworkTimes(Network(), RACKS, level="table")


def test_where_the_longest_queue_goes_from_cable_to_cable_it_does_not_matter_when_one_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = Network("esa", rows=128, spine_bps=100e9)
    one, two, three = member((7, 1), (0, 1)), member((4, 1), (5, 1)), member((0, 1), (6, 1))
    jobs = component(network, *(each._replace(service=k) for k, each in enumerate((one, two, three))))
    rates = []
    for steps in range(24, 31):
        monkeypatch.setattr(split, "_MOST_STEPS", steps)
        rates.append([share.rate for share in Shares(jobs, network).of(frozenset({0, 1, 2})).values()])
    for of_job in zip(*rates, strict=True):
        assert max(of_job) < 1.2 * min(of_job)
