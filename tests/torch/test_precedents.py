"""A sum is recognised by what went before it."""

from __future__ import annotations

import numpy as np

from esa.torch.precedents import Precedents


def exponent(value: int, fragments: int = 1) -> np.ndarray:
    return np.full(fragments, value, np.int8)


def test_from_the_second_iteration_on_each_call_finds_itself() -> None:
    # Layers of one size, as in a transformer: only the calls before tell them apart.
    layers = ["head", *["layer"] * 30, "embedding", "norm", "norm"]
    precedents = Precedents()
    for iteration in range(5):
        for place, shape in enumerate(layers):
            found = precedents.recall(shape)
            if iteration >= 2:
                assert found is not None
                assert found.tolist() == [place], (iteration, place)
            precedents.remember(exponent(place))


def test_after_another_iteration_in_between_too() -> None:
    precedents = Precedents()
    training, evaluation = ["a", "b", "b"], ["b", "loss"]
    for part in (training, training, evaluation, training, evaluation, training, evaluation, training):
        found = []
        for place, shape in enumerate(part):
            found.append(precedents.recall(shape))
            precedents.remember(exponent(place))
    assert [f.tolist() for f in found if f is not None] == [[0], [1], [2]]


def test_memory_is_bounded_by_calls_and_by_fragments() -> None:
    precedents = Precedents(calls=3, fragments=10)
    for value, shape in enumerate("abcd"):
        assert precedents.recall(shape) is None
        precedents.remember(exponent(value))
    assert precedents.recall("a") is None  # forgotten
    precedents.remember(exponent(5, 9))
    found = precedents.recall("a")
    assert found is not None
    assert found.size == 9
    precedents.remember(exponent(6, 100))  # the last is kept, whatever its size
    found = precedents.recall("a")
    assert found is not None
    assert found.size == 100
