"""How far a job is: rho, the part that it has done, is taken for Beta(a, b), a its epochs until now, and b learned.

b is 1 + ReLU(net): five features, 64 units of tanh, one output. It learns by the likelihood of the parts that jobs
which have ended had done at each of their epochs, anew whenever one ends: Adam, batches of 8, 60 times through at most
2,000 records. The loop is machine code, since torch takes some ten seconds for 15,000 steps of this size, and jobs end
all the time; a test holds it to torch's network, its Beta distribution and its Adam.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native

Array = npt.NDArray[np.float64]
UNITS, FEATURES = 64, 5
BATCH, THROUGH, MOST_RECORDS = 8, 60, 2000
RATE, DECAY = 1e-4, 1e-4
_KEEP, _KEEP_SQUARE, _EPSILON = 0.9, 0.999, 1e-8  # Adam's
EDGE = 1e-3  # parts nearer to 0 or 1 are moved there: their logarithms count


class Record(NamedTuple):
    """A job at the end of an epoch. features: as of `features`; part: of its samples in the end."""

    features: tuple[float, ...]
    epochs: float
    part: float


def features(
    epoch_samples: int, first_loss: float, epochs: float, loss: float, accuracy: float, *, raw: bool = False
) -> tuple[float, float, float, float, float]:
    """What b is learned from. raw: the samples of an epoch, not their logarithm."""
    drop = 1.0 - loss / first_loss if first_loss else 0.0
    return (epoch_samples if raw else math.log(epoch_samples), first_loss, epochs, drop, accuracy)


class Net(NamedTuple):
    """hidden: (64, 6), the last column what is added; out: (65,), likewise."""

    hidden: Array
    out: Array

    def b(self, of: Array) -> Array:
        """of: (jobs, 5)."""
        units = np.tanh(of @ self.hidden[:, :FEATURES].T + self.hidden[:, FEATURES])
        b: Array = 1.0 + np.maximum(units @ self.out[:UNITS] + self.out[UNITS], 0.0)
        return b


UNLEARNED = Net(np.zeros((UNITS, FEATURES + 1)), np.zeros(UNITS + 1))


def drawn(dice: np.random.Generator) -> Net:
    """All weights from the standard normal distribution."""
    return Net(dice.standard_normal((UNITS, FEATURES + 1)), dice.standard_normal(UNITS + 1))


def fitted(records: Sequence[Record], seed: tuple[int, int], *, crossed: bool = False) -> Net:
    """A network that has learned from records; the seed draws them, its weights and their order. Empty: UNLEARNED.

    crossed: as `descend` has it.
    """
    if not records:
        return UNLEARNED
    dice = np.random.Generator(np.random.PCG64(seed))
    chosen = dice.permutation(len(records))[:MOST_RECORDS]
    of = np.array([records[k].features for k in chosen], np.float64)
    epochs = np.array([records[k].epochs for k in chosen], np.float64)
    part = np.clip(np.array([records[k].part for k in chosen], np.float64), EDGE, 1.0 - EDGE)
    net = drawn(dice)
    order = np.array([dice.permutation(len(chosen)) for _ in range(THROUGH)])
    descend(net.hidden, net.out, of, epochs, part, order, crossed)
    return net


@native
def digamma(x: float) -> float:
    """The derivative of log gamma, for x above 0: upwards to 6, then the asymptotic series."""
    found = 0.0
    while x < 6.0:
        found -= 1.0 / x
        x += 1.0
    over = 1.0 / (x * x)
    series = over * (1 / 12 - over * (1 / 120 - over * (1 / 252 - over * (1 / 240 - over * (1 / 132)))))
    return found + math.log(x) - 0.5 / x - series


@native
def descend(
    hidden: Array, out: Array, of: Array, epochs: Array, part: Array, order: npt.NDArray[np.int64], crossed: bool
) -> None:
    """Change the weights, batch by batch in this order: (times through, records).

    Down the mean negative logarithm of Beta(epochs, b)'s density at `part`, by Adam with weight decay in the gradient.
    crossed: the mean over each b and part of a batch with the epochs of each of its records, not with its own alone.
    """
    units, width = hidden.shape
    to_hidden, to_out = np.zeros_like(hidden), np.zeros_like(out)
    mean_hidden, mean_out = np.zeros_like(hidden), np.zeros_like(out)
    square_hidden, square_out = np.zeros_like(hidden), np.zeros_like(out)
    active = np.empty(units)
    step = 0
    for through in range(order.shape[0]):
        for begin in range(0, order.shape[1], BATCH):
            end = min(begin + BATCH, order.shape[1])
            to_hidden[:] = 0.0
            to_out[:] = 0.0
            for at in range(begin, end):
                k = int(order[through, at])
                z = float(out[units])
                for unit in range(units):
                    sum_ = hidden[unit, width - 1]
                    for feature in range(width - 1):
                        sum_ += hidden[unit, feature] * of[k, feature]
                    active[unit] = math.tanh(sum_)
                    z += out[unit] * active[unit]
                if z <= 0.0:
                    continue
                together = 0.0
                if crossed:
                    for other in range(begin, end):
                        together += digamma(1.0 + z + epochs[int(order[through, other])]) / (end - begin)
                else:
                    together = digamma(1.0 + z + epochs[k])
                slope = (digamma(1.0 + z) - together - math.log1p(-part[k])) / (end - begin)
                to_out[units] += slope
                for unit in range(units):
                    to_out[unit] += slope * active[unit]
                    back = slope * out[unit] * (1.0 - active[unit] * active[unit])
                    for feature in range(width - 1):
                        to_hidden[unit, feature] += back * of[k, feature]
                    to_hidden[unit, width - 1] += back
            step += 1
            _adam(hidden.reshape(-1), to_hidden.reshape(-1), mean_hidden.reshape(-1), square_hidden.reshape(-1), step)
            _adam(out, to_out, mean_out, square_out, step)


@native
def _adam(weights: Array, gradient: Array, mean: Array, square: Array, step: int) -> None:
    rate = RATE / (1.0 - _KEEP**step)
    scale = math.sqrt(1.0 - _KEEP_SQUARE**step)
    for k in range(len(weights)):
        slope = gradient[k] + DECAY * weights[k]
        mean[k] = _KEEP * mean[k] + (1.0 - _KEEP) * slope
        square[k] = _KEEP_SQUARE * square[k] + (1.0 - _KEEP_SQUARE) * slope * slope
        weights[k] -= rate * mean[k] / (math.sqrt(square[k]) / scale + _EPSILON)
