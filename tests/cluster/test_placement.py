"""Where jobs go: somewhere, whenever there is a place for them."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.cluster.free import Free
from esa.cluster.inventory import Cluster, Gpu, Host
from esa.cluster.placement import place
from esa.cluster.validate import check_gpus, check_places
from esa.errors import BadInput
from tests.cluster.clusters import NIC, asked, cluster, on
from tests.effort import tries

clusters = st.builds(cluster, st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 4))


def there_is_a_place(racks: list[int], workers: int, aggregates: bool, has_server: bool) -> bool:
    """racks: free GPUs of each. The PS with all workers in its rack, or with none of them; under `ps` anywhere."""
    if not has_server:
        return sum(racks) >= workers
    if not aggregates:
        return sum(racks) > workers
    return any(here > workers or (here > 0 and sum(racks) - here >= workers) for here in racks)


@settings(max_examples=tries(300), deadline=None)
@given(clusters, st.integers(1, 10), st.sampled_from(["ina", "ps", "ring"]), st.data())
def test_a_job_gets_a_place_if_there_is_one(where: Cluster, workers: int, sums: str, data: st.DataObject) -> None:
    free = data.draw(st.sets(st.sampled_from(sorted(where.gpus))))
    aggregates, has_server = sums == "ina", sums != "ring"
    job = asked(workers=workers, aggregates=aggregates, has_server=has_server)
    gpus = place(where, job, free)
    assert place(where, job, Free.only(where, free)) == gpus  # by the hosts' counts
    left = [sum(where.rack_of(gpu) == rack for gpu in free) for rack in range(len(where.racks))]
    assert (gpus is not None) == there_is_a_place(left, workers, aggregates, has_server)
    if gpus is None:
        return
    assert len(set(gpus)) == len(gpus) == workers + has_server
    assert set(gpus) <= free
    racks = [where.rack_of(gpu) for gpu in gpus[:workers]]
    assert len([*groupby(racks)]) == len(set(racks))  # rack by rack
    if any(size >= workers + has_server for size in left):
        assert len({where.rack_of(gpu) for gpu in gpus}) == 1
    check_gpus(where, job, gpus, free)


def test_hosts_are_filled_before_the_next_is_begun() -> None:
    where = cluster((3,), gpus=4)
    taken = on((0, 0), (0, 1))
    assert place(where, asked(workers=4), where.gpus - set(taken)) == [*on((0, 2), (0, 3), (1, 0), (1, 1), (1, 2))]


def test_a_job_that_names_a_host_twice_gets_two_of_its_gpus() -> None:
    where = cluster((2, 2), gpus=2)
    job = asked(workers=3, hosts=(3, 0, 3, 1), aggregates=False)
    assert place(where, job, where.gpus) == [*on((3, 0), (3, 1), (0, 0), (1, 0))]
    assert place(where, job, where.gpus - {Gpu(3, 1)}) is None


def test_a_job_without_a_ps_takes_no_place_for_one() -> None:
    ring = asked(workers=4, aggregates=False, has_server=False)
    assert place(cluster((4,)), ring, cluster((4,)).gpus) == [*on((0, 0), (1, 0), (2, 0), (3, 0))]
    named = replace(ring, workers=3, hosts=(3, 0, 3))
    two_each = cluster((2, 2), gpus=2)
    assert place(two_each, named, two_each.gpus) == [*on((3, 0), (3, 1), (0, 0))]


def test_a_rack_has_32_ranks_of_a_job_at_most() -> None:
    where = cluster((10, 10, 1), gpus=4)
    gpus = place(where, asked(workers=36), where.gpus)
    assert gpus is not None
    assert [where.rack_of(gpu) for gpu in gpus] == [0] * 32 + [1] * 4 + [2]


@pytest.mark.parametrize(
    ("where", "job", "problem"),
    [
        (cluster((8,)), asked(workers=8), "no place for 8 workers and a PS on 8 hosts in racks of 8"),
        (cluster((2,), gpus=4), asked(workers=8), "no place for 8 workers and a PS on 2 hosts of up to 4 GPUs in"),
        (cluster((3, 3)), asked(workers=4), "no place for 4 workers and a PS on 6 hosts in racks of 3, 3; over"),
        (cluster((8,)), asked(hosts=(1, 2, 8)), "no place for 2 workers and a PS on 8 hosts"),
        (cluster((8,)), asked(hosts=(1, 2, 2)), "no place for 2 workers and a PS on 8 hosts"),
        (cluster((3, 3)), asked(hosts=(0, 3, 1)), "hosts: its PS, on host 1, is in a rack with workers of it"),
        (cluster((2, 2)), asked(workers=5, has_server=False), "no place for 5 workers on 4 hosts in racks of 2, 2;"),
    ],
)
def test_a_job_that_can_never_start_is_refused(where: Cluster, job, problem: str) -> None:
    with pytest.raises(BadInput, match=f"^job late: {problem}") as refused:
        check_places(where, [asked(1), replace(job, name="late")])
    assert "\n" not in str(refused.value)


def test_where_no_switch_adds_the_ps_may_sit_with_some_of_its_workers() -> None:
    check_places(cluster((3, 3)), [asked(workers=4, aggregates=False), asked(hosts=(0, 3, 1), aggregates=False)])


@pytest.mark.parametrize(
    ("hosts", "max_jobs", "problem"),
    [
        ([(0, 0)], 1, "gpus: host 0 has 0; allowed: 1 or more"),
        ([(0, 1), (2, 1)], 1, "racks: hosts are in racks [0, 2]; allowed: 0, 1, ... without a gap"),
        ([], 1, "racks: hosts are in racks []; allowed: 0, 1, ... without a gap"),
        ([(0, 1)], 0, "max_jobs: 0; allowed: 1 or more"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(hosts: list[tuple[int, int]], max_jobs: int, problem: str) -> None:
    with pytest.raises(BadInput) as refused:
        Cluster(tuple(Host(rack, NIC, gpus) for rack, gpus in hosts), max_jobs)
    assert str(refused.value) == problem
