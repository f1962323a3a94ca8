"""Lengths of prompts and answers, drawn: by distributions that papers publish, or fitted to what they say of traces.

    prompts, outputs = LENGTHS["lmsys-chat"].draw(1000, np.random.Generator(...))

Vidur's traces are not public as such (LMSYS, Bilingual-Web-Book) or lie elsewhere (arXiv); known are mean, median and
90th percentile. A log-normal through median and 90th percentile, cut at 4,096 tokens together, is what is drawn; where
mean and median agree, a normal. `tests/serving` says how far means are from the published.
ExeGPT's tasks are truncated normal by its Table 3, prompt and answer independent as its model takes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from esa.errors import BadInput

Drawn = npt.NDArray[np.int64]
_P90 = 1.2815515594457419  # of the standard normal
_TRIES = 1000


class Lengths(Protocol):
    """Pairs of prompt and output, each at least one token."""

    def draw(self, count: int, generator: np.random.Generator) -> tuple[Drawn, Drawn]: ...


@dataclass(frozen=True)
class Fixed:
    """All alike; Vidur's default."""

    prompt: int = 2048
    output: int = 512

    def draw(self, count: int, generator: np.random.Generator) -> tuple[Drawn, Drawn]:
        return np.full(count, self.prompt, np.int64), np.full(count, self.output, np.int64)


@dataclass(frozen=True)
class Uniform:
    """Tokens together from `least` to `most`, split by the ratio of prompt to output."""

    least: int = 1024
    most: int = 4096
    ratio: float = 20.0

    def draw(self, count: int, generator: np.random.Generator) -> tuple[Drawn, Drawn]:
        return _split(generator.integers(self.least, self.most, count, endpoint=True), self.ratio)


@dataclass(frozen=True)
class Between:
    """Prompt and output apart, each from its least to its most."""

    prompt: tuple[int, int]
    output: tuple[int, int]

    def draw(self, count: int, generator: np.random.Generator) -> tuple[Drawn, Drawn]:
        prompts, outputs = (generator.integers(*ends, count, endpoint=True) for ends in (self.prompt, self.output))
        return prompts, outputs


@dataclass(frozen=True)
class Zipf:
    """Tokens together from `least` to `most`, the r-th of which has weight 1 / r**theta; split by the ratio."""

    least: int = 1024
    most: int = 4096
    theta: float = 0.6
    ratio: float = 20.0

    def draw(self, count: int, generator: np.random.Generator) -> tuple[Drawn, Drawn]:
        weights = 1.0 / np.arange(1, self.most - self.least + 2) ** self.theta
        ranks = generator.choice(weights.size, size=count, p=weights / weights.sum())
        return _split((self.least + ranks).astype(np.int64), self.ratio)


def _split(total: Drawn, ratio: float) -> tuple[Drawn, Drawn]:
    output = np.maximum(1, np.rint(total / (1 + ratio)).astype(np.int64))
    return np.maximum(1, total - output), output


class Marginal(NamedTuple):
    """A distribution of tokens, drawn again until it is from `least` to `most`. log: of the logarithm, normal."""

    mean: float
    deviation: float
    most: int
    log: bool = False
    least: int = 1

    def draw(self, count: int, generator: np.random.Generator) -> Drawn:
        found = np.empty(count, np.int64)
        open_places = np.arange(count)
        for _ in range(_TRIES):
            drawn = generator.normal(self.mean, self.deviation, open_places.size)
            tokens = np.rint(np.exp(drawn) if self.log else drawn)
            fits = (tokens >= self.least) & (tokens <= self.most)
            found[open_places[fits]] = tokens[fits].astype(np.int64)
            open_places = open_places[~fits]
            if not open_places.size:
                return found
        raise BadInput(f"lengths: {self} has next to nothing from {self.least} to {self.most}")


@dataclass(frozen=True)
class Independent:
    """Prompt and output apart; together up to `most` tokens: of what has more, both are cut in proportion."""

    prompt: Marginal
    output: Marginal
    most: int = 4096

    def draw(self, count: int, generator: np.random.Generator) -> tuple[Drawn, Drawn]:
        prompt, output = self.prompt.draw(count, generator), self.output.draw(count, generator)
        return cut(prompt, output, self.most)


def cut(prompt: Drawn, output: Drawn, most: int) -> tuple[Drawn, Drawn]:
    """Both in proportion, so that together they are at most so many."""
    total = prompt + output
    over = total > most
    shorter = np.maximum(1, output * most // np.maximum(total, 1))
    return np.where(over, most - shorter, prompt), np.where(over, shorter, output)


def _through(median: float, p90: float, most: int = 4095) -> Marginal:
    """A log-normal through two quantiles."""
    return Marginal(math.log(median), math.log(p90 / median) / _P90, most, log=True)


def _task(prompt: tuple[float, float, int], output: tuple[float, float, int]) -> Independent:
    return Independent(Marginal(*prompt), Marginal(*output), most=prompt[2] + output[2])


CHAT = Independent(_through(417, 1678), _through(139, 484))  # LMSYS-Chat-1M as Vidur's authors have it
LENGTHS: dict[str, Lengths] = {
    "fixed": Fixed(),
    "uniform": Uniform(),
    "zipf": Zipf(),
    "lmsys-chat": CHAT,
    "arxiv-summarization": Independent(Marginal(2588, 880, 4095), _through(167, 372)),
    "bilingual-web-book": Independent(Marginal(1067, 301, 4095), Marginal(1612, 419, 4095)),
    "azure-conv": Independent(_through(1020, 2734, 14_050), _through(129, 424, 1000), most=15_050),
    "exegpt-s": _task((256, 252, 512), (32, 13, 80)),
    "exegpt-t": _task((128, 81, 256), (128, 68, 320)),
    "exegpt-g": _task((64, 23, 128), (192, 93, 480)),
    "exegpt-c1": _task((256, 115, 512), (64, 30, 160)),
    "exegpt-c2": _task((512, 252, 1024), (256, 134, 640)),
}


def lengths_of(name: str) -> Lengths:
    """BadInput for one that is not known."""
    if name not in LENGTHS:
        raise BadInput(f"lengths: unknown lengths '{name}'; allowed: {', '.join(LENGTHS)}")
    return LENGTHS[name]
