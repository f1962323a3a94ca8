"""KV memory: blocks are conserved, and how many there are is arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.errors import BadInput
from esa.serving.kv_memory import Blocks, paged_blocks, replica_blocks, requests_that_fit
from esa.serving.models import GPUS, MODELS
from tests.effort import tries


@settings(max_examples=tries(50), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9))))
def test_every_block_is_free_or_held_once(steps: list[tuple[int, int]]) -> None:
    blocks = Blocks(20)
    held = dict.fromkeys(range(6), 0)
    for owner, count in steps:
        if count == 0 and held[owner]:
            assert blocks.give(owner) == held[owner]
            held[owner] = 0
        elif 0 < count <= blocks.free:
            blocks.take(owner, count)
            held[owner] += count
        blocks.check()
        assert [blocks.held(each) for each in held] == [*held.values()]
        assert blocks.free == 20 - sum(held.values())


def test_more_than_there_are_cannot_be_taken_nor_given_back() -> None:
    blocks = Blocks(2)
    blocks.take(1, 2)
    with pytest.raises(ValueError, match="1 of 0 free"):
        blocks.take(2, 1)
    with pytest.raises(ValueError, match="2 holds none"):
        blocks.give(2)


def test_tokens_round_up_to_blocks() -> None:
    assert [Blocks(9).of(tokens) for tokens in (1, 16, 17)] == [1, 1, 2]


@pytest.mark.parametrize(
    ("model", "octets"),
    [("llama-2-7b", 524_288), ("codellama-34b", 196_608), ("llama-2-70b", 327_680), ("opt-13b", 819_200)],
)
def test_keys_and_values_of_a_token(model: str, octets: int) -> None:
    assert MODELS[model].kv_bytes == octets


def test_fastserves_memory_for_opt_13b() -> None:
    assert paged_blocks(MODELS["opt-13b"], GPUS["a100-40"]) == pytest.approx(988, abs=1)


def test_vidurs_planner_is_its_formula() -> None:
    model, gpu = MODELS["llama-2-70b"], GPUS["a100"]
    weights = 2 * 80 * (8192 * 128 * (64 / 4 + 2 * 2) + 8192 * 128 * 64 / 4 + 3 * 8192 * 28672 / 4)
    slots = int((80 * 1024**3 * 0.9 - weights) // (2 * 2 * 128 * 2 * 4096 * 80))
    assert requests_that_fit(model, gpu, 4, 1, 4096) == slots == 128
    assert replica_blocks(model, gpu, 4, 1, 4096) == 256 * slots


def test_a_model_that_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match=r"llama-2-70b on a100, tp 1, pp 1: no room for the keys and values of 4096 tok"):
        requests_that_fit(MODELS["llama-2-70b"], GPUS["a100"], 1, 1, 4096)
    with pytest.raises(BadInput, match=r"opt-66b on a100-40, tp 1: its weights leave no room"):
        paged_blocks(MODELS["opt-66b"], GPUS["a100-40"])
