"""A generation of ONES' search: what holds of every schedule, whatever was drawn."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.cluster.ones.draws import betas, mixed
from esa.cluster.ones.search import NOBODY, Jobs, cross, cut, generation, mutate, pad, put_in_order, score
from tests.effort import tries

KEY = np.uint64(7)


def key(tick: int) -> np.uint64:
    return np.uint64(mixed(np.uint64(3), tick))


def jobs_of(cells: int, limits: list[int], new: list[bool], *, seed: int = 0, more: int = 0) -> Jobs:
    """Jobs with these limits; work falls with GPUs, less than in proportion."""
    count = len(limits)
    dice = np.random.Generator(np.random.PCG64(seed))
    gpus = np.arange(cells + 1)
    work = dice.integers(1, 100, (count, 1)) * (1.0 + 0.1 * gpus)
    scored = ~np.array(new)
    work[~scored] = 0.0
    rows = np.nonzero(scored)[0]
    order = rows[np.argsort(work[rows, 1], kind="stable")]
    limit = np.where(scored, limits, 0)
    return Jobs(np.arange(count), np.array(new), scored, limit, np.where(scored, limit + more, 0), order, work)


drawn = st.integers(2, 24).flatmap(
    lambda cells: st.tuples(
        st.just(cells),
        st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=9),
        st.integers(0, 2**32),
        st.integers(0, 3),
    )
)


@settings(max_examples=tries(60), deadline=None)
@given(drawn)
def test_every_schedule_is_whole_within_limits_and_leaves_no_gpu_that_somebody_could_use(case: tuple) -> None:
    cells, asked, seed, more = case
    free_moves = bool(seed % 2)
    jobs = jobs_of(cells, [limit for limit, _ in asked], [new for _, new in asked], seed=seed, more=more)
    population = np.full((6, cells), NOBODY)
    in_force = population[0]
    for tick in range(4):
        population = generation(population, in_force, jobs, 0.5, 0.3, free_moves, key(tick))
        for row in population:
            counts = np.bincount(row[row >= 0], minlength=len(asked))
            most = np.where(jobs.new, 1, jobs.most)
            assert (counts <= most).all()
            for who in np.nonzero(counts)[0]:
                where = np.nonzero(row == who)[0]
                assert where[-1] - where[0] + 1 == counts[who]  # in one piece
            if (row == NOBODY).any():
                assert (counts == most).all()
        scores = [score(row, jobs) for row in population]
        assert scores == sorted(scores)
        in_force = population[0]
        again = generation(population, in_force, jobs, 0.5, 0.3, free_moves, key(9))
        assert (again == generation(population.copy(), in_force.copy(), jobs, 0.5, 0.3, free_moves, key(9))).all()


def test_crossing_at_0_leaves_parents_and_at_1_swaps_them() -> None:
    one, other = np.array([0, 0, 1, NOBODY]), np.array([2, 1, 1, 1])
    for rate, found in ((0.0, (one, other)), (1.0, (other, one))):
        children = one.copy(), other.copy()
        cross(*children, rate, KEY, 0)
        assert (np.array(children) == np.array(found)).all()
    halves = one.copy(), other.copy()
    cross(*halves, 0.5, KEY, 0)
    assert (np.sort(halves, axis=0) == np.sort((one, other), axis=0)).all()


def test_mutation_at_0_is_the_identity_and_at_1_leaves_who_is_not_scored() -> None:
    jobs = jobs_of(6, [2, 2, 2], [False, True, False])
    for rate, found in ((0.0, [0, 0, 1, 2, 2, NOBODY]), (1.0, [NOBODY, NOBODY, 1, NOBODY, NOBODY, NOBODY])):
        row = np.array([0, 0, 1, 2, 2, NOBODY])
        mutate(row, jobs, rate, KEY, 0)
        assert row.tolist() == found


def test_who_has_more_than_his_limit_loses_his_last_cells() -> None:
    row = np.array([0, 1, 0, 0, 1, 2])
    cut(row, np.array([2, 1, 0]), 3, 0)
    assert row.tolist() == [0, 1, 0, NOBODY, NOBODY, NOBODY]
    row = np.array([2, 2])
    cut(row, np.array([2, 1, 0]), 3, 1)
    assert row.tolist() == [2, NOBODY]


def test_new_jobs_are_padded_first_then_by_score() -> None:
    jobs = jobs_of(6, [2, 1, 2, 1], [False, True, False, True], more=4)
    first, second = jobs.order
    row = np.full(3, NOBODY)
    pad(row, jobs)
    assert row.tolist() == [1, 3, first]
    row = np.full(9, NOBODY)
    pad(row, jobs)
    assert row.tolist() == [1, 3, first, first, second, second, first, first, first]


@settings(max_examples=tries(100), deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 3), st.booleans(), st.data())
def test_order_moves_no_fewer_gpus_than_need_be_and_as_few_for_two_jobs(
    sizes: list, spare: int, free_moves: bool, data
) -> None:
    """Against every order, with free cells anywhere."""
    cells = sum(sizes) + spare
    in_force = np.array(data.draw(st.lists(st.integers(-1, len(sizes)), min_size=cells, max_size=cells)))
    row = np.array([k for k, size in enumerate(sizes) for _ in range(size)] + [NOBODY] * spare)
    put_in_order(row, in_force, len(sizes), free_moves)
    assert np.bincount(row[row >= 0]).tolist() == sizes

    def moved(placed: np.ndarray) -> int:
        return int(((placed >= 0) & (in_force >= 0) & (in_force != placed)).sum())

    best = cells
    for order in permutations(range(len(sizes))):
        for gaps in product(range(spare + 1), repeat=len(sizes)):
            if sum(gaps) <= spare:
                pieces = [[NOBODY] * gap + [who] * sizes[who] for gap, who in zip(gaps, order, strict=True)]
                laid = [who for piece in pieces for who in piece]
                best = min(best, moved(np.array(laid + [NOBODY] * (cells - len(laid)))))
    assert moved(row) >= best
    if len(sizes) == len(set(sizes)) <= 2 and not spare:  # of two that fill as many cells the first is kept
        assert moved(row) == best


def test_nothing_moves_where_nothing_changes_unless_that_is_free() -> None:
    in_force = np.array([NOBODY, 2, 2, NOBODY, 0, 1, 1, NOBODY])
    row = np.sort(in_force)[::-1].copy()
    put_in_order(row, in_force, 3, False)
    assert row.tolist() == in_force.tolist()
    put_in_order(row, in_force, 3, True)
    assert row[1:3].tolist() == [2, 2]
    assert row.tolist() != in_force.tolist()


def test_with_frozen_draws_the_best_never_gets_worse_and_comes_to_the_optimum() -> None:
    """Three jobs on six GPUs: the optimum over all that padding leaves."""
    reached = 0
    for seed in range(40):
        jobs = jobs_of(6, [3, 3, 4], [False] * 3, seed=seed)
        population = np.full((16, 6), NOBODY)
        last = np.inf
        for tick in range(60):
            population = generation(population, population[0], jobs, 0.5, 0.3, True, key(1000 * seed + tick))
            found = score(population[0], jobs)
            assert found <= last
            last = found
        ways = product(range(4), range(4), range(5))
        full = [way for way in ways if sum(way) == 6]
        reached += last == min(sum(jobs.work[who, n] for who, n in enumerate(way) if n) for way in full)
    assert reached >= 38


def test_a_job_more_leaves_the_draws_of_the_others_as_they_were() -> None:
    two, three = (betas(KEY, np.arange(n), np.full(n, 3.0), np.full(n, 5.0)) for n in (2, 3))
    assert (two == three[:2]).all()


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (2.0, 9.5), (40.0, 3.0)])
def test_draws_have_the_moments_of_beta(a: float, b: float) -> None:
    found = betas(KEY, np.arange(20_000), np.full(20_000, a), np.full(20_000, b))
    variance = a * b / (a + b) ** 2 / (a + b + 1)
    assert abs(found.mean() - a / (a + b)) < 4 * (variance / 20_000) ** 0.5
    assert abs(found.var() / variance - 1) < 0.06
