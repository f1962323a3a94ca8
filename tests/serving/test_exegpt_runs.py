"""ExeGPT's WAA and its runner: to the balance of flows, to the paper's tables, and to the closed forms of phases."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from esa.errors import BadInput
from esa.serving.exegpt.phases import Phase, pool, truncated_normal
from esa.serving.exegpt.runner import run_rra
from esa.serving.exegpt.search import branch_and_bound
from esa.serving.exegpt.waa import Waa, check_memory, split
from esa.serving.exegpt.waa_runner import WaaRun, run_waa
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


def waa_run(one: Waa, outputs: list[int], **asked: Any) -> WaaRun:
    """With prompts of 100 tokens, so that an encoding takes what the closed form has."""
    each_s = one.encode_s / one.batch / 100
    prompts = [100] * len(outputs)
    return run_waa(
        lambda tokens: each_s * tokens, one.decode_s, batch=one.batch, prompts=prompts, outputs=outputs, **asked
    )


@pytest.mark.parametrize(("batch", "most"), [(4, math.inf), (10, math.inf), (4, 24.0)])
def test_encoders_and_decoders_apart_come_to_the_balance_of_the_closed_form(batch: int, most: float) -> None:
    """Lengths drawn; without room encoders wait and decoders set the pace."""
    one = replace(waa(batch), mean_tokens=float(np.dot([*TASK_S], [*TASK_S.values()])), most=most, handover_s=0.05)
    outputs = np.random.default_rng(3).choice([*TASK_S], 6000, p=[*TASK_S.values()]).tolist()
    found = waa_run(one, outputs, most=most, handover_s=0.05)
    settled = found.pools[len(found.pools) // 10 :]
    if most == math.inf:
        assert found.throughput == pytest.approx(one.throughput, rel=0.02)
        assert np.mean(settled) == pytest.approx(one.pool, rel=0.05)  # of iterations, which are longer when more decode
        assert found.waited_s == 0
        mean_s = np.mean([latency for tokens, latency in found.over if tokens == 32])
        assert mean_s == pytest.approx(one.latency_s(32), rel=0.05)
    else:
        assert max(settled) <= most
        assert found.waited_s > 0
        assert found.throughput < one.throughput


def test_one_query_at_a_time_is_arithmetic() -> None:
    found = run_waa(
        lambda tokens: tokens / 1000,
        lambda queries: 0.01,
        batch=1,
        prompts=[100] * 6,
        outputs=[5] * 6,
        most=1,
        handover_s=0.02,
    )
    assert [*found.over] == [
        (5, pytest.approx(0.1 + 0.02 + 0.05))
    ] * 5  # the sixth is encoded when nobody waits any more
    assert set(found.pools) == {1}
    assert found.seconds == pytest.approx(5 * 0.17 + 0.1)


def test_what_cannot_run_is_refused() -> None:
    with pytest.raises(BadInput, match="batch 0, adjust None"):
        run_rra(float, float, batch=0, iterations=1, prompts=[1], outputs=[1])
    with pytest.raises(BadInput, match="batch 1, iterations 0"):
        run_rra(float, float, batch=1, iterations=0, prompts=[1], outputs=[1])
    with pytest.raises(BadInput, match="most 3, handover_s 0; allowed: from the batch's 4"):
        run_waa(float, float, batch=4, prompts=[1] * 4, outputs=[1] * 4, most=3)
    with pytest.raises(BadInput, match="1 prompts, 2 outputs"):
        run_rra(float, float, batch=1, iterations=1, prompts=[1], outputs=[1, 1])
    with pytest.raises(BadInput, match="allowed: memory for 1 query"):
        Waa(1.0, 1, 2.0, 0.1, 0.1, most=0.5)
