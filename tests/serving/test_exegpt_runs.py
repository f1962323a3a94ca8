"""ExeGPT's WAA and its runner: to the balance of flows, to the paper's tables, and to the closed forms of phases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from esa.errors import BadInput
from esa.serving.exegpt.phases import Phase, pool, truncated_normal
from esa.serving.exegpt.runner import run_rra
from esa.serving.exegpt.search import branch_and_bound
from esa.serving.exegpt.waa import Waa, check_memory, split
from esa.serving.models import model_of

TASK_S, S99, MEAN = truncated_normal(32, 13, 80), 63, 32.3


def waa(batch: int) -> Waa:
    """Four constants by the two rows of WAA in Table 6: encoding, and iterations."""
    return Waa(0.0169 + 0.0404 * batch, batch, MEAN, fixed_s=0.0091, each_s=0.0011)


def test_as_many_come_as_go() -> None:
    for batch in (1, 4, 10, 40):
        one = waa(batch)
        assert one.pool == pytest.approx(one.throughput * MEAN * one.decode_s(one.pool))


@pytest.mark.parametrize(("batch", "latency", "throughput"), [(4, 3.01, 22.41), (10, 4.11, 23.76)])
def test_constants_that_table_6_was_fitted_by_give_its_rows_back(batch: int, latency: float, throughput: float) -> None:
    assert waa(batch).throughput == pytest.approx(throughput, rel=0.01)
    assert waa(batch).latency_s(S99) == pytest.approx(latency, rel=0.03)


def rra(column: int, row: int) -> tuple[float, float]:
    """Task S by queries, and by fewer iterations in a phase."""
    queries, iterations = column + 1, 64 - row
    decode_s = 0.02 + 0.000134 * pool(TASK_S, queries, iterations)
    phase = Phase(0.0302 * queries, decode_s, queries, iterations)
    return phase.throughput, phase.latency_s(S99)


def by_waa(limit: float) -> float:
    return max((waa(batch).throughput for batch in range(1, 100) if waa(batch).latency_s(S99) < limit), default=0.0)


def test_waa_is_ahead_within_a_tight_bound_and_rra_within_a_loose_one() -> None:
    tight, loose = (branch_and_bound(rra, 120, 64, limit, slack=0.02).throughput for limit in (3.1, math.inf))
    assert by_waa(3.1) > tight
    assert by_waa(math.inf) < loose


def test_without_memory_for_more_the_decoders_set_the_pace() -> None:
    one = Waa(0.1, 10, 32.0, fixed_s=0.02, each_s=0.001, most=20)
    assert one.pool == 20
    assert one.throughput == pytest.approx(20 / (32 * 0.04))


def test_gpus_are_split_in_proportion_and_neither_side_is_empty() -> None:
    assert split(16, 3.0, 1.0) == (12, 4)
    assert split(4, 1e-9, 1.0) == (1, 3)
    assert split(4, 1.0, 0.0) == (3, 1)
    with pytest.raises(BadInput, match="1 GPUs"):
        split(1, 1.0, 1.0)


def test_gpt3_175b_twice_does_not_fit_on_16_a100_of_40_gb() -> None:
    weights = model_of("gpt3-175b").weight_bytes()
    with pytest.raises(BadInput, match="WAA: two copies of 3"):
        check_memory(16, 40e9, weights, 0.0)
    check_memory(20, 40e9, weights, 1e9)


def test_equal_queries_take_what_the_closed_form_says() -> None:
    """Outputs of a whole number of phases: the pool is the batch by Little's law, and iterations are equal."""
    found = run_rra(
        lambda tokens: tokens / 1000,
        lambda queries: 0.01,
        batch=8,
        iterations=5,
        prompts=[100] * 400,
        outputs=[10] * 400,
    )
    phase = Phase(0.8, 0.01, 8, 5)
    assert {tokens for tokens, _ in found.over} == {10}
    assert {round(latency, 9) for _, latency in found.over} == {round(phase.latency_s(10), 9)}
    assert set(found.pools[1:]) == {16}
    assert found.seconds == pytest.approx(50 * phase.seconds)


def test_equal_prompts_are_never_adjusted_and_others_are_brought_nearer() -> None:
    def run(prompts: list[int], adjust: float | None) -> tuple[float, int]:
        found = run_rra(
            lambda tokens: float(tokens),
            lambda queries: 0.01,
            batch=52,
            iterations=13,
            prompts=prompts,
            outputs=[32] * len(prompts),
            adjust=adjust,
        )
        return float(np.std(found.encode_s) / np.mean(found.encode_s)), found.adjusted

    assert run([256] * 5200, 0.05) == (0.0, 0)
    generator = np.random.default_rng(1)
    prompts = np.clip(generator.normal(256, 252, 20_000).round(), 1, 512).astype(int).tolist()
    as_they_are, adjusted = run(prompts, None), run(prompts, 0.05)
    assert adjusted[1] > 0
    assert adjusted[0] < 0.5 * as_they_are[0]


def test_the_pool_is_littles() -> None:
    generator = np.random.default_rng(2)
    lengths, parts = np.array([*TASK_S]), np.array([*TASK_S.values()])
    outputs = generator.choice(lengths, 52 * 600, p=parts).tolist()
    found = run_rra(
        lambda tokens: 1.0, lambda queries: 0.01, batch=52, iterations=13, prompts=[1] * len(outputs), outputs=outputs
    )
    assert np.mean(found.pools[50:]) == pytest.approx(pool(TASK_S, 52, 13, "little"), rel=0.01)


def test_what_cannot_run_is_refused() -> None:
    with pytest.raises(BadInput, match="batch 0, iterations 1"):
        run_rra(float, float, batch=0, iterations=1, prompts=[1], outputs=[1])
    with pytest.raises(BadInput, match="1 prompts, 2 outputs"):
        run_rra(float, float, batch=1, iterations=1, prompts=[1], outputs=[1, 1])
    with pytest.raises(BadInput, match="allowed: memory for 1 query"):
        Waa(1.0, 1, 2.0, 0.1, 0.1, most=0.5)
