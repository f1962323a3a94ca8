"""1,024 workers in 32 racks, as many as bitmaps have bits for, and a fat tree: exact, and over in a test's time."""

from __future__ import annotations

import pytest

from esa.errors import BadInput
from esa.fabric import shapes
from esa.sim import Bucket, Fabric, Link, simulate
from tests.sim.plans import bucket, fragments, job, leaf_spine, only_job, plan

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

FAST = Link(100e9, 1000, 4096)
RACKS, EACH = 32, 32


@pytest.mark.slow
@pytest.mark.parametrize("name", ["esa", "atp", "switchml"])
def test_1024_workers_in_32_racks_sum_exactly(name: str) -> None:
    """The PS is in a rack of its own, the 33rd."""
    fabric = leaf_spine((*[EACH] * RACKS, 1), link=FAST)
    asked = job("wide", name, workers=RACKS * EACH, hosts=tuple(range(RACKS * EACH + 1)), buckets=[bucket(24)], rows=16)
    outcome = simulate(plan(asked, fabric=fabric, lanes=64, sample_ns=10**9))
    assert outcome.incomplete is None
    assert outcome.checked == fragments(asked) == 24 * 1024
    completed = outcome.switch_counters["wide"]["completed"]
    assert completed >= 24 * (RACKS + 1) or name != "esa"


@pytest.mark.parametrize(
    ("racks", "workers", "message"),
    [
        ((*[1] * 33, 1), 33, "job wide: ranks in 33 racks; allowed: 32"),
        ((33, 2), 33, "job wide: 33 ranks in rack 0; allowed: 32"),
    ],
)
def test_more_than_a_bitmap_has_bits_is_refused(racks: tuple[int, ...], workers: int, message: str) -> None:
    hosts = (*range(workers), sum(racks) - 1)
    with pytest.raises(BadInput, match=message):
        simulate(plan(job("wide", workers=workers, hosts=hosts), fabric=leaf_spine(racks)))


@pytest.mark.slow
def test_on_a_fat_tree_sums_by_messages_go_anywhere_and_those_in_the_network_in_a_rack() -> None:
    fabric = Fabric(shapes.fat_tree(8, FAST))  # 128 hosts, racks of 4
    across = job("across", workers=64, transport="halving-doubling", buckets=[Bucket(2**18, 0, 0)])
    ring = job("ring", workers=32, transport="ring", buckets=[Bucket(2**18, 0, 0)])
    inside = [job(f"inside-{k}", workers=3, buckets=[bucket(40)], submit_ns=10) for k in range(6)]
    outcome = simulate(plan(across, ring, *inside, fabric=fabric, lanes=64, sample_ns=10**9))
    assert outcome.incomplete is None
    assert all(result.jct_s is not None and result.bound_s <= result.jct_s for result in outcome.jobs)
    assert outcome.checked == sum(map(fragments, inside))
    with pytest.raises(BadInput, match="sums over several racks need a leaf-spine"):
        simulate(plan(job("wide", workers=4), fabric=fabric))


def test_halving_and_doubling_keeps_its_longest_messages_in_the_rack() -> None:
    """Of 64 ranks in racks of 8, only the last three of six exchanges leave a rack: an eighth of the bytes."""
    given = {"workers": 64, "buckets": [Bucket(2**20, 0, 0)], "transport": "halving-doubling"}
    slow_spine = Fabric(shapes.leaf_spine([8] * 8, FAST, Link(100e9, 1000, 4096)))
    outcome = simulate(plan(job(**given), fabric=slow_spine, sample_ns=10**9))
    ring = simulate(plan(job(**given | {"transport": "ring"}), fabric=slow_spine, sample_ns=10**9))
    assert outcome.incomplete is ring.incomplete is None
    assert only_job(outcome).jct_s < only_job(ring).jct_s  # 12 steps instead of 126
