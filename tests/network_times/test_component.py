"""Who influences whom, and questions that do not depend on names."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esa.network_times.component import Component, Member, components
from esa.network_times.network import Network
from tests.effort import tries
from tests.network_times.questions import HEAVY, LIGHT, RACKS, member

drawn_members = st.lists(
    st.tuples(
        st.sampled_from([HEAVY, LIGHT]),
        st.lists(st.integers(0, 7), min_size=2, max_size=4, unique=True),
        st.integers(1, 2),
        st.sampled_from([None, 3]),
    ),
    min_size=1,
    max_size=6,
)


def questions(members: list[Member], network: Network, racks: list[int]) -> list[Component]:
    """By job: its component, where it is what it was on its hosts. Jobs alike may stand in each other's place."""
    found = {}
    for part in components(members, network, racks):
        hosts: set[tuple[int, int]] = set()  # the cluster's, the component's
        for place, job in enumerate(part.jobs):
            given, named = members[job], part.component.members[place]
            assert named._replace(hosts=()) == given._replace(hosts=())
            theirs = rack_by_rack(given, racks)
            assert [ranks for _, ranks in named.hosts] == [ranks for _, ranks in theirs]
            hosts |= {(old, new) for (old, _), (new, _) in zip(theirs, named.hosts, strict=True)}
            found[job] = part.component
        assert len(hosts) == len({old for old, _ in hosts}) == len({new for _, new in hosts})
    return [found[job] for job in range(len(members))]


def rack_by_rack(one: Member, racks: list[int]) -> list[tuple[int, int]]:
    order = [racks[host] for host, _ in one.hosts]
    return sorted(one.hosts, key=lambda at: order.index(racks[at[0]]))


@settings(max_examples=tries(80), deadline=None)
@example(drawn=[(HEAVY, [0, 1], 1, None), (HEAVY, [0, 2], 1, None)], seed=2164, policy="esa")
@given(drawn=drawn_members, seed=st.integers(0, 2**32 - 1), policy=st.sampled_from(["esa", "ring"]))
def test_renaming_hosts_racks_and_jobs_changes_no_question(drawn: list, seed: int, policy: str) -> None:
    members = [member(*((host, each) for host in hosts), model=m, service=s) for m, hosts, each, s in drawn]
    dice = random.Random(seed)
    host_of, rack_of, order = [*range(8)], [0, 1], [*range(len(members))]
    for names in (host_of, rack_of, order):
        dice.shuffle(names)
    racks = [0] * 8
    for host, rack in enumerate(RACKS):
        racks[host_of[host]] = rack_of[rack]
    renamed = [
        members[job]._replace(hosts=tuple((host_of[host], ranks) for host, ranks in members[job].hosts))
        for job in order
    ]
    network = Network(policy)
    before, after = questions(members, network, RACKS), questions(renamed, network, racks)
    assert [before[job] for job in order] == after


def test_jobs_are_connected_by_hosts_cables_between_racks_and_switches_that_add() -> None:
    here, beside = member((0, 1), (1, 1)), member((2, 1), (3, 1))
    there, across = member((4, 1), (5, 1)), member((3, 1), (6, 1))

    def parts(policy: str, *members: Member) -> list[tuple[int, ...]]:
        return sorted(tuple(sorted(part.jobs)) for part in components(members, Network(policy), RACKS))

    assert parts("esa", here, beside, there) == [(0, 1), (2,)]  # one switch adds for two of them
    assert parts("ring", here, beside, there) == [(0,), (1,), (2,)]
    assert parts("ps", here, beside, across) == [(0,), (1, 2)]  # host 3
    assert parts("atp", here, there, across) == [(0, 1, 2)]
    assert parts("ring", across, member((2, 1), (7, 1))) == [(0, 1)]  # the racks' cables


@pytest.mark.parametrize("policy", ["esa", "ring"])
def test_ranks_are_taken_rack_by_rack(policy: str) -> None:
    """As switches add, and as a ring crosses the racks' cables least: the simulator has them in that order, too."""
    (part,) = components([member((0, 1), (4, 2), (1, 1))], Network(policy), RACKS)
    assert part.component.racks == (0, 0, 1)
    assert part.component.members[0].hosts == ((0, 1), (1, 1), (2, 2))
