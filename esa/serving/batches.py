"""An iteration's requests, and what its time depends on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from esa.serving.requests import Life


class Shape(NamedTuple):
    """Sums over a batch, in tokens.

    tokens:         that go through the layers: chunks of prompts, and one for each request that decodes
    decodes:        requests that decode; context: tokens that they attend to, together
    prefills:       requests with a chunk c of a prompt, k tokens of which were there: prompts: sum of c
    squares, cross: sum of c*c; of c*k
    """

    tokens: int
    decodes: int
    context: int
    prefills: int = 0
    prompts: int = 0
    squares: int = 0
    cross: int = 0

    @property
    def attended(self) -> float:
        """Keys that its tokens look at, together; a prompt's token at those before it."""
        return self.context + self.cross + self.squares / 2


def prompt_shape(*chunks: int) -> Shape:
    """Of prompts, each whole."""
    return Shape(sum(chunks), 0, 0, len(chunks), sum(chunks), sum(chunk * chunk for chunk in chunks))


def decode_shape(requests: int, context: int) -> Shape:
    """Of requests that decode; context: of all together."""
    return Shape(requests, requests, context)


class Batch:
    """Requests and how many tokens of each. shape: reckoned once."""

    __slots__ = ("end_ns", "lives", "shape", "start_ns", "tokens")

    def __init__(self, lives: list[Life], tokens: list[int]) -> None:
        self.lives = lives
        self.tokens = tokens
        self.shape = _shape(lives, tokens)
        self.start_ns = self.end_ns = 0

    @classmethod
    def whole(cls, lives: Iterable[Life]) -> Batch:
        """What is left of each one's prompt, or one token."""
        chosen = list(lives)
        return cls(chosen, [max(1, one.prefill - one.done) for one in chosen])


def _shape(lives: list[Life], tokens: list[int]) -> Shape:
    decodes = context = prefills = prompts = squares = cross = 0
    for life, count in zip(lives, tokens, strict=True):
        done = life.done
        if done >= life.prefill:
            decodes += 1
            context += done
        else:
            prefills += 1
            prompts += count
            squares += count * count
            cross += count * done
    return Shape(prompts + decodes, decodes, context, prefills, prompts, squares, cross)
