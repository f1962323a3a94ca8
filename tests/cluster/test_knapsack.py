"""The multiple-choice knapsack finds what trying everything finds."""

from __future__ import annotations

import random
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from esa.cluster.knapsack import Group, choose, choose_in_two
from tests.effort import tries

groups = st.lists(st.lists(st.tuples(st.integers(1, 8), st.floats(-5, 100, allow_nan=False)), max_size=5), max_size=5)


def weight_and_value(of: list[Group], chosen: list[int]) -> tuple[int, float]:
    items = [group[item - 1] for group, item in zip(of, chosen, strict=True) if item]
    return sum(weight for weight, _ in items), sum(value for _, value in items)


def every_choice(of: list[Group]) -> list[list[int]]:
    return [list(chosen) for chosen in product(*(range(len(group) + 1) for group in of))]


@settings(max_examples=tries(60), deadline=None)
@given(groups, st.integers(0, 20))
def test_it_is_as_good_as_the_best_of_all_choices(of: list[Group], capacity: int) -> None:
    weight, value = weight_and_value(of, choose(of, capacity))
    assert weight <= capacity
    best = max(v for w, v in (weight_and_value(of, chosen) for chosen in every_choice(of)) if w <= capacity)
    assert value >= best - 1e-9


@settings(max_examples=tries(40), deadline=None)
@given(
    groups.filter(lambda of: len(of) < 4), groups.filter(lambda of: len(of) < 3), st.integers(0, 9), st.integers(0, 9)
)
def test_with_two_pools_too(one: list[Group], both: list[Group], first: int, second: int) -> None:
    chosen, chosen_both = choose_in_two(one, both, first, second)
    (alone, value), (shared, value_both) = weight_and_value(one, chosen), weight_and_value(both, chosen_both)
    assert alone <= first
    assert alone + shared <= first + second
    left = [weight_and_value(one, chosen) for chosen in every_choice(one)]
    right = [weight_and_value(both, chosen) for chosen in every_choice(both)]
    best = max(v + u for w, v in left for x, u in right if w <= first and w + x <= first + second)
    assert value + value_both >= best - 1e-9


def linear(weight: int, workers: int, seconds: float) -> Group:
    """An elastic job of linear scaling, up to twice as wide, whose workers have so many GPUs each."""
    return [(k * weight, seconds * k / (workers + k)) for k in range(1, workers + 1)]


def greedy(of: list[Group], capacity: int) -> float:
    """Item by item to who gains the most for a GPU."""
    at = [0] * len(of)
    total = 0.0
    while True:
        steps = []
        for k, group in enumerate(of):
            if at[k] < len(group):
                before = group[at[k] - 1] if at[k] else (0, 0.0)
                more, gain = group[at[k]][0] - before[0], group[at[k]][1] - before[1]
                if more <= capacity:
                    steps.append((gain / more, k, more, gain))
        if not steps:
            return total
        _, k, more, gain = max(steps)
        at[k] += 1
        capacity -= more
        total += gain


def test_with_a_gpu_a_worker_and_linear_scaling_going_by_the_margin_is_as_good() -> None:
    dice = random.Random(1)
    for _ in range(30):
        of = [linear(1, dice.randint(1, 32), dice.uniform(100, 10_000)) for _ in range(40)]
        capacity = dice.randint(0, 600)
        assert abs(weight_and_value(of, choose(of, capacity))[1] - greedy(of, capacity)) < 1e-6


def test_with_wider_workers_it_is_not_and_the_table_is_needed() -> None:
    of = [linear(8, 1, 1000.0), linear(4, 1, 510.0), linear(1, 1, 130.0)]
    assert greedy(of, 8) == 0.5 * (130 + 510)
    assert choose(of, 8) == [1, 0, 0]  # 500 s


@settings(max_examples=tries(30), deadline=None)
@given(groups, st.integers(0, 19))
def test_more_gpus_more_jobs_never_cost_anything_and_a_scale_changes_no_choice(of: list[Group], capacity: int) -> None:
    value = weight_and_value(of, choose(of, capacity))[1]
    assert weight_and_value(of, choose(of, capacity + 1))[1] >= value - 1e-9
    assert weight_and_value(of[1:], choose(of[1:], capacity))[1] <= value + 1e-9
    assert choose([[(w, 4 * v) for w, v in group] for group in of], capacity) == choose(of, capacity)
