"""`esa accuracy`: how exact averages of gradients are, beside float64's; a table of docs/protocol.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esa.rounds import Rounds, nothing_agreed
from esa.scales import Scale, adaptive_scale, fixed_scale
from esa.transport import Reduced
from esa.wire import EXPONENT_POISON

FRAGMENT_LANES = 64
FRAGMENTS = 500
ITERATIONS = 8
SETTLED = 2  # iterations after which repeats are counted: in the first every fragment is repeated
Gradients = NDArray[Any]  # (workers, values) float32 or float64


@dataclass(frozen=True)
class Summing:
    """One array of several workers, summed again and again, as a transport would do it."""

    scale: Scale
    values: int
    agreed: NDArray[np.int8]

    @classmethod
    def of(cls, scale: Scale, values: int) -> Summing:
        return cls(scale, values, nothing_agreed(values, FRAGMENT_LANES))

    def mean(self, gradients: Gradients) -> tuple[NDArray[Any], int, int]:
        """The mean over the workers, how many fragments were repeated, how many non-zero values vanished.

        What has no scale is NaN: the hook would have it redone elsewhere.
        """
        workers = [Rounds(g, self.agreed, FRAGMENT_LANES, self.scale) for g in gradients]
        reduced = _sum([(w.lanes, w.exponents) for w in workers])
        again, repeated = workers[0].again(reduced.exponents), reduced.lanes
        if again.size:
            repeated = _sum([w.repeat(again, reduced.exponents) for w in workers]).lanes
        out = np.full_like(gradients[0], np.nan)
        if not (reduced.exponents == EXPONENT_POISON).any():
            workers[0].write(reduced, again, repeated, out, len(workers))
        self.agreed[:] = workers[0].agreed_next(reduced.exponents)
        return out, again.size, sum(w.vanished for w in workers)


def _sum(parts: list[tuple[NDArray[np.int32], NDArray[np.int8]]]) -> Reduced:
    lanes = np.sum([part[0] for part in parts], axis=0, dtype=np.int64)
    if np.abs(lanes).max(initial=0) >= 2**31:
        raise OverflowError("a sum that a switch would saturate")
    return Reduced(lanes.astype(np.int32), np.max([part[1] for part in parts], axis=0))


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> Gradients:
    return rng.normal(0, 1e-3, shape)


def tiny(rng: np.random.Generator, shape: tuple[int, int]) -> Gradients:
    return rng.normal(0, 1e-7, shape)


def heavy_tailed(rng: np.random.Generator, shape: tuple[int, int]) -> Gradients:
    return 1e-3 * rng.standard_t(1.5, shape)


def mixed_scales(rng: np.random.Generator, shape: tuple[int, int]) -> Gradients:
    """Layers of ten fragments, in turn of scale 1 and 1e-6."""
    layer = np.arange(shape[1]) // (10 * FRAGMENT_LANES) % 2
    return rng.normal(0, 1, shape) * np.where(layer, 1e-6, 1.0)


def all_of_float32(rng: np.random.Generator, shape: tuple[int, int]) -> Gradients:
    """Fragments of every scale from 1e-37 to 1e37, another one each time."""
    scales = 10.0 ** rng.uniform(-37, 37, -(-shape[1] // FRAGMENT_LANES))
    return rng.uniform(-1, 1, shape) * np.repeat(scales, FRAGMENT_LANES)[: shape[1]]


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Gradients]] = {
    "normal(0, 1e-3)": normal,
    "normal(0, 1e-7)": tiny,
    "Student-t(1.5) * 1e-3": heavy_tailed,
    "layers of 1 and 1e-6": mixed_scales,
    "1e-37 .. 1e37": all_of_float32,
}


def gradients(
    kind: str, workers: int, dtype: type = np.float32, values: int = FRAGMENTS * FRAGMENT_LANES - 5
) -> Iterator[Gradients]:
    """New ones for every iteration; they shrink to a tenth over all of them."""
    rng = np.random.default_rng([workers, *kind.encode()])
    for iteration in range(ITERATIONS):
        yield (KINDS[kind](rng, (workers, values)) * 10 ** (-iteration / ITERATIONS)).astype(dtype)


@dataclass(frozen=True)
class Errors:
    """Of all iterations the worst: relative to the norm of the float64 mean, of all values and of one fragment."""

    values: float  # NaN: they do not fit the scale
    fragment: float
    repeated: float  # share of the fragments, once settled
    vanished: float  # share of the values


def measure(scale: Scale, kind: str, workers: int, dtype: type = np.float32) -> Errors:
    """Sum `ITERATIONS` times and compare."""
    given = list(gradients(kind, workers, dtype))
    summing = Summing.of(scale, given[0].shape[1])
    outcomes = [summing.mean(each) for each in given]
    errors = [compare(mean, each) for (mean, _, _), each in zip(outcomes, given, strict=True)]
    settled = [again / summing.agreed.size for _, again, _ in outcomes[SETTLED:]]
    vanished = [gone / each.size for (_, _, gone), each in zip(outcomes, given, strict=True)]
    return Errors(*np.max(errors, axis=0).tolist(), float(np.mean(settled)), float(np.mean(vanished)))


def compare(mean: NDArray[Any], given: Gradients) -> tuple[float, float]:
    """The error of a mean relative to float64's, in the norm: of all values, and of the worst fragment."""
    exact = given.astype(np.float64).mean(axis=0)
    error, whole = _norms(mean - exact), _norms(exact)
    return float(np.linalg.norm(error) / np.linalg.norm(whole)), float((error / whole).max())


def float32_sum(kind: str, workers: int) -> float:
    """The same error of adding float32 one after the other."""
    given = list(gradients(kind, workers))
    return max(compare(each.sum(axis=0, dtype=np.float32) / np.float32(workers), each)[0] for each in given)


def _norms(values: NDArray[Any]) -> NDArray[np.float64]:
    """Of each fragment."""
    padded = np.zeros(-(-values.size // FRAGMENT_LANES) * FRAGMENT_LANES)
    padded[: values.size] = values
    return np.linalg.norm(padded.reshape(-1, FRAGMENT_LANES), axis=1)


def print_table(fan_ins: Sequence[int]) -> None:
    """Print the table, as Markdown: a line for each kind of gradients and each number of workers."""
    header = (
        "gradients",
        "workers",
        "adaptive",
        "worst fragment",
        "sent again",
        "float64 gradients",
        "`fixed`, 20 bits",
        "float32 sum",
    )
    print("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|")
    for kind in KINDS:
        for workers in fan_ins:
            adaptive = measure(adaptive_scale(workers), kind, workers)
            wide = measure(adaptive_scale(workers), kind, workers, np.float64)
            fixed = measure(fixed_scale(20, workers), kind, workers)
            cells = (
                kind,
                str(workers),
                f"{adaptive.values:.1e}",
                f"{adaptive.fragment:.1e}",
                f"{adaptive.repeated:.1%}",
                f"{wide.values:.1e}",
                "do not fit" if np.isnan(fixed.values) else f"{fixed.values:.1e}",
                f"{float32_sum(kind, workers):.1e}",
            )
            print("| " + " | ".join(cells) + " |", flush=True)
