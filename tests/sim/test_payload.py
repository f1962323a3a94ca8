"""Gradients out of a hash: they differ, their plain sum is known, and nothing else passes for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.sim.transport.payload import check_sum, fill_lanes, new_plain_sums
from tests.effort import tries
from tests.sim.plans import job, plan
from tests.sim.tap import arrivals, simulate_tapped

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

seeds, jobs, fragments = st.integers(0, 2**32 - 1), st.integers(1, 255), st.integers(0, 2**40)


def gradients(seed: int, number: int, workers: int, fragment: int, lanes: int = 64) -> np.ndarray:
    filled = np.zeros((workers, lanes), np.int32)
    for rank in range(workers):
        fill_lanes(filled[rank], seed, number, rank, fragment)
    return filled


@settings(max_examples=tries(100), deadline=None)
@given(seeds, jobs, st.integers(1, 64), fragments, st.data())
def test_only_the_plain_sum_passes(seed: int, number: int, workers: int, fragment: int, data: st.DataObject) -> None:
    total = gradients(seed, number, workers, fragment).sum(axis=0, dtype=np.int32)
    plain = new_plain_sums(64)
    for _ in range(2):  # reckoned, and kept
        assert check_sum(total, seed, number, workers, fragment, plain)
    total[data.draw(st.integers(0, 63))] ^= np.int32(1 << data.draw(st.integers(0, 30)))
    assert not check_sum(total, seed, number, workers, fragment, plain)
    assert not check_sum(total, seed, number, workers, fragment, new_plain_sums(64))


@settings(max_examples=tries(50), deadline=None)
@given(seeds, st.lists(st.tuples(jobs, st.integers(0, 20_000)), min_size=2, max_size=20))
def test_a_plain_sum_that_is_kept_is_that_of_its_job_and_fragment(seed: int, asked: list[tuple[int, int]]) -> None:
    plain = new_plain_sums(64)
    for number, fragment in asked:
        total = gradients(seed, number, 2, fragment).sum(axis=0, dtype=np.int32)
        for other, other_fragment in asked:
            same = (other, other_fragment) == (number, fragment)
            assert check_sum(total, seed, other, 2, other_fragment, plain) == same


def test_every_seed_job_worker_fragment_and_lane_has_gradients_of_its_own() -> None:
    drawn = [gradients(s, n, 32, f) for s in (1, 2) for n in (1, 2) for f in (0, 1, 255, 256, 2**18)]
    assert len(np.unique(np.concatenate(drawn))) > 0.97 * 20 * 32 * 64  # of 2**21 values, by chance a few twice
    assert max(np.abs(lanes).max() for lanes in drawn) <= 2**20  # 1,024 workers' sum fits


def test_a_bit_flipped_on_the_way_is_noticed_by_each_worker() -> None:
    flipped: list[int] = []  # of whose job: the number in the packet's header

    def flip(sim, now_ns: int) -> None:
        for _, row in arrivals(sim, now_ns):
            if not flipped and now_ns >= 2000:
                flipped.append(int.from_bytes(sim.pool.data[row, 46:48].tobytes(), "big"))
                sim.pool.data[row, -1] ^= 1

    summed = plan(job("one", workers=3), job("other", workers=2), lanes=64)
    outcome = simulate_tapped(summed, flip)
    assert flipped
    assert outcome.incomplete == f"{summed.jobs[flipped[0] - 1].workers} fragments with a wrong sum"
