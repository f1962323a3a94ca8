"""Rules of placement, and free GPUs by host: nobody gets what another has, and each rule does what it is called."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.cluster.free import Free
from esa.cluster.inventory import Cluster, Gpu, Host
from esa.cluster.kinds import Kind
from esa.cluster.packing import PACKINGS, consolidated
from esa.cluster.placement import place
from esa.cluster.scheduler import Decision, Start
from esa.cluster.validate import DecisionRefused, check_decision
from tests.cluster.clusters import NIC, asked
from tests.effort import tries


def cluster(placement: str, *sizes: int, racks: int = 1, types: tuple[str, ...] = ()) -> Cluster:
    """A host for each size; racks of as many hosts each, as far as that goes."""
    each = -(-len(sizes) // racks)
    hosts = (Host(k // each, NIC, size, types[k] if types else "") for k, size in enumerate(sizes))
    return Cluster(tuple(hosts), 1000, placement=placement)


def ring(workers: int, **given):
    return asked(workers=workers, has_server=False, aggregates=False, **given)


def shares(where: Cluster, free: list[int], workers: int) -> list[tuple[int, int]]:
    """free: of each host, so many of its GPUs, the last ones."""
    gpus = {Gpu(k, host.gpus - 1 - n) for k, host in enumerate(where.hosts) for n in range(free[k])}
    found = place(where, ring(workers), gpus)
    assert found is not None
    assert set(found) <= gpus
    return list(Start(0, tuple(found), None).hosts)


@pytest.mark.parametrize(
    ("rule", "free", "workers", "wanted"),
    [
        ("most-free", [1, 4, 3, 4], 6, [(1, 4), (3, 2)]),
        ("most-free", [1, 4, 3, 4], 2, [(1, 2)]),
        ("consolidate", [1, 4, 3, 4], 6, [(1, 4), (2, 2)]),
        ("consolidate", [1, 4, 3, 4], 2, [(2, 2)]),
        ("consolidate", [1, 4, 2, 4], 5, [(1, 4), (0, 1)]),
        ("best-fit", [1, 4, 3, 4], 6, [(0, 1), (2, 3), (1, 2)]),
        ("spread", [1, 4, 3, 4], 6, [(0, 1), (1, 2), (2, 1), (3, 2)]),
        ("spread", [1, 2, 3, 4], 2, [(2, 1), (3, 1)]),
        ("one-rack", [2, 2, 4, 3], 4, [(0, 2), (1, 2)]),
        ("one-rack", [2, 1, 4, 3], 5, [(2, 4), (3, 1)]),
        ("one-rack", [2, 1, 4, 3], 8, [(2, 4), (3, 3), (1, 1)]),
    ],
)
def test_a_rule_does_what_it_is_called(rule: str, free: list[int], workers: int, wanted: list[tuple[int, int]]) -> None:
    assert shares(cluster(rule, 4, 4, 4, 4, racks=2), free, workers) == wanted


@settings(max_examples=tries(200), deadline=None)
@given(st.sampled_from(sorted(PACKINGS)), st.lists(st.integers(1, 5), min_size=1, max_size=6), st.data())
def test_whoever_fits_gets_a_place_and_nobody_a_gpu_twice(rule: str, sizes: list[int], data: st.DataObject) -> None:
    where = cluster(rule, *sizes, racks=data.draw(st.integers(1, 2)) if len(sizes) % 2 == 0 else 1)
    free = Free.of(where)
    for number in range(6):
        workers = data.draw(st.integers(1, 8))
        before = set(free)
        found = place(where, ring(workers, number=number), free)
        assert (found is not None) == (workers <= len(before))
        if found is not None:
            assert len(found) == len(set(found)) == workers
            assert set(found) <= before
            free.take(found)
            assert set(free) == before - set(found)
            assert [*free.counts] == [sum(gpu.host == host for gpu in free) for host in range(len(sizes))]


@given(st.integers(0, 2**32 - 1))
def test_free_gpus_are_a_set(seed: int) -> None:
    dice = random.Random(seed)
    where = cluster("spread", 3, 1, 8)
    free, model = Free.of(where), set(where.gpus)
    for _ in range(20):
        gpu = dice.choice(sorted(where.gpus))
        if gpu in model:
            free.take([gpu])
            model.remove(gpu)
        else:
            with pytest.raises(KeyError):
                free.take([gpu])
            free.give([gpu])
            model.add(gpu)
        assert sorted(free) == sorted(model)
        assert len(free) == len(model)
    assert sorted(Free.only(where, model)) == sorted(model)
    assert (Gpu(9, 0) in free, Gpu(-1, 0) in free, Gpu(0, -1) in free) == (False, False, False)


@given(st.integers(0, 2**32 - 1))
def test_gpus_are_taken_all_or_none(seed: int) -> None:
    dice = random.Random(seed)
    where = cluster("spread", 3, 1, 8)
    free, model = Free.of(where), set(where.gpus)
    anywhere = [*sorted(where.gpus), Gpu(-1, 0), Gpu(0, -1), Gpu(0, 3), Gpu(3, 0)]
    for _ in range(20):
        asked = dice.choices(anywhere[: dice.choice((3, 12, 16))], k=dice.randint(1, 3))
        can_be = len({*asked}) == len(asked) and model.issuperset(asked)
        assert free.took(asked) == can_be
        model -= {*asked} if can_be else set()
        assert (sorted(free), len(free)) == (sorted(model), len(model))
        assert [*free.counts] == [sum(gpu.host == host for gpu in model) for host in range(3)]


def test_a_job_alone_is_on_as_few_hosts_as_can_be() -> None:
    where = cluster("spread", 4, 4, 4)
    assert consolidated(where, 10) == ((0, 4), (1, 4), (2, 2))
    assert consolidated(where, 8) == ((0, 4), (1, 4))


def test_a_job_is_placed_on_gpus_of_its_type_and_refused_elsewhere() -> None:
    where = cluster("consolidate", 4, 4, types=("t4", "v100"))
    job = ring(2, kind=Kind(gpu_type="v100"))
    assert place(where, job, Free.of(where)) == [Gpu(1, 0), Gpu(1, 1)]
    assert place(where, ring(5, kind=Kind(gpu_type="v100")), Free.of(where)) is None
    with pytest.raises(DecisionRefused, match="rank 1 on host 0, whose GPUs are t4; allowed: v100") as refused:
        check_decision(Decision((Start(0, (Gpu(1, 0), Gpu(0, 0)), None),)), where, [job], [])
    assert refused.value.rule == "type"


@pytest.mark.parametrize(("workers", "rule"), [(1, "gang"), (2, None), (4, None), (5, "gang")])
def test_an_elastic_job_has_its_fewest_to_its_most(workers: int, rule: str | None) -> None:
    where = cluster("consolidate", 8)
    start = Start(0, tuple(Gpu(0, k) for k in range(workers)), None)
    if rule is None:
        check_decision(Decision((start,)), where, [ring(2, elastic=(2, 4))], [])
        return
    with pytest.raises(DecisionRefused, match=f"{workers} ranks; allowed: 2 to 4") as refused:
        check_decision(Decision((start,)), where, [ring(2, elastic=(2, 4))], [])
    assert refused.value.rule == rule


def test_a_memo_is_of_a_job_that_is_there() -> None:
    where = cluster("consolidate", 8)
    check_decision(Decision(memos={0: "seen"}), where, [ring(2)], [])
    with pytest.raises(DecisionRefused, match="job number 7: memo: it is not there") as refused:
        check_decision(Decision(memos={7: "seen"}), where, [ring(2)], [])
    assert refused.value.rule == "name"
