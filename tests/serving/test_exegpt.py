"""ExeGPT: its table by closed form, pools by simulation, the search to looking at everything."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.errors import BadInput
from esa.serving.exegpt.phases import Phase, ends_at, pool, truncated_normal, waa_pool
from esa.serving.exegpt.search import branch_and_bound, exhaustive
from tests.effort import tries

TASK_S = truncated_normal(32, 13, 80)
S99 = 63
# Table 6, OPT-13B, task S, RRA: the times of a phase follow from one row's two figures, those of the other are one.
ENCODE_S, DECODE_S = 1.572, 0.0376


def test_table_6_by_closed_form() -> None:
    one = Phase(ENCODE_S, DECODE_S, batch=52, iterations=13)
    assert one.throughput == pytest.approx(25.23, rel=0.001)
    assert one.latency_s(S99) == pytest.approx(10.23, rel=0.001)
    other = Phase(49 / 26.15, 0.0, batch=49, iterations=7)  # only the phase's length is known, and 63 is 9 of them
    assert other.latency_s(S99) == pytest.approx(16.87, rel=0.001)


@given(st.integers(1, 100))
@settings(max_examples=tries(40), deadline=None)
def test_parts_of_the_pool_add_up_to_one_only_if_a_phase_is_enough_for_all(iterations: int) -> None:
    total = sum(ends_at(TASK_S, iterations))
    if iterations >= max(TASK_S):
        assert total == pytest.approx(1)
        assert pool(TASK_S, 10, iterations) == pytest.approx(10)
    else:
        assert total < 1


@pytest.mark.parametrize(("batch", "iterations", "queries"), [(52, 13, 131), (49, 7, 203)])
def test_the_papers_pools_of_task_s(batch: int, iterations: int, queries: float) -> None:
    assert pool(TASK_S, batch, iterations) == pytest.approx(queries, rel=0.01)


@pytest.mark.parametrize(("iterations", "more"), [(1, 1.35), (7, 1.21), (13, 1.17)])
def test_by_littles_law_pools_are_larger(iterations: int, more: float) -> None:
    found = pool(TASK_S, 50, iterations, "little") / pool(TASK_S, 50, iterations)
    assert found == pytest.approx(more, abs=0.01)
    if iterations == 1:
        assert pool(TASK_S, 50, 1, "little") == pytest.approx(waa_pool(TASK_S, 50))


def test_a_pool_with_lengths_drawn_comes_to_littles() -> None:
    generator = np.random.default_rng(1)
    lengths, parts = np.array([*TASK_S]), np.array([*TASK_S.values()])
    left = np.empty(0, np.int64)
    sizes = []
    for phase in range(600):
        left = np.concatenate([left, generator.choice(lengths, 52, p=parts)])
        if phase >= 100:
            sizes.append(left.size)
        left = left[left > 13] - 13
    assert np.mean(sizes) == pytest.approx(pool(TASK_S, 52, 13, "little"), rel=0.01)


def test_equal_lengths_make_both_rules_one_where_phases_divide_them() -> None:
    assert pool({26: 1.0}, 10, 13) == pytest.approx(pool({26: 1.0}, 10, 13, "little"))


@settings(max_examples=tries(80), deadline=None)
@given(
    st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1), st.floats(0, 1), st.sampled_from((1, 3, 1000))
)
def test_on_a_grid_that_grows_the_search_finds_what_looking_at_everything_does(
    columns: int, rows: int, seed: int, part: float, steps: int
) -> None:
    generator = np.random.default_rng(seed)
    # sums of non-negative steps in both directions; few different steps make ties
    throughput, latency = (
        generator.integers(0, steps + 1, (columns, rows)).cumsum(0).cumsum(1).astype(float) for _ in range(2)
    )

    def evaluate(column: int, row: int) -> tuple[float, float]:
        return float(throughput[column, row]), float(latency[column, row])

    limit = float(latency.max()) * part + 0.5
    for least in (0.0, float(throughput.max()) * part):
        found, best = (way(evaluate, columns, rows, limit, least=least) for way in (branch_and_bound, exhaustive))
        assert found.throughput == best.throughput
        assert (found.point is None) == (best.point is None)
        assert found.evaluations <= columns * rows


def rra(batch: int, iterations_left: int) -> tuple[float, float]:
    """Task S by two controls, both of which make latency and throughput larger: queries, and fewer iterations."""
    iterations = 64 - iterations_left
    queries = batch + 1
    decode_s = 0.02 + 0.000134 * pool(TASK_S, queries, iterations)
    phase = Phase(0.05 + 0.0293 * queries, decode_s, queries, iterations)
    return phase.throughput, phase.latency_s(S99)


def test_on_phases_of_task_s_it_asks_for_a_tenth_of_the_grid() -> None:
    for limit in (6.0, 11.5):
        found, best = branch_and_bound(rra, 100, 64, limit, slack=0.02), exhaustive(rra, 100, 64, limit)
        assert found.throughput == pytest.approx(best.throughput, rel=0.001)
        assert found.evaluations <= 640
    assert math.isinf(branch_and_bound(rra, 100, 64, 0.1).latency)


def test_a_looser_limit_is_never_worse() -> None:
    found = [branch_and_bound(rra, 60, 64, limit, slack=0.02).throughput for limit in (4.0, 6.0, 9.0, 15.0, math.inf)]
    assert found == sorted(found)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadInput, match="grid: 0 x 3; allowed: from 1 x 1"):
        branch_and_bound(rra, 0, 3, 1.0)
    with pytest.raises(BadInput, match=r"lengths: probabilities of 0\.5 together"):
        pool({3: 0.5}, 1, 1)
    with pytest.raises(BadInput, match="unknown rule 'guess'; allowed: paper, little"):
        pool(TASK_S, 1, 1, "guess")
