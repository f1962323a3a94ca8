"""The 8-bit priority of a fragment: who gets switch memory when there is not enough.

    >>> Classes()(Urgency(communication_s=0.2, computation_s=0.1, layer=1, layers=4))
    130
    >>> Priority()(Urgency(communication_s=0.2, computation_s=0.1, service_s=60.0, layer=1))
    153

The idea of priorities is the ESA paper's (arXiv 2201.06398); classes, formula and width are ours, for no more than its
abstract could be read. `esa` goes by three classes where jobs have less rows than their shares, else all fragments are
alike. The formula, P = (C / K) / (R * l) with log2 P mapped onto 1..255, has three factors: jobs with less remaining
time first (with least attained service where the end is not known), jobs that communicate more than they compute first,
front layers first, since the next forward pass needs their gradients first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from esa.policy import Policy, Preempt

LOWEST = 1  # 0 marks a free row
HIGHEST = 255


@dataclass(frozen=True)
class Urgency:
    """What is known about a fragment's job and place. None: not known (yet), the factor is left out.

    `communication_s`, `computation_s`: seconds of one iteration. `service_s`: seconds that remain, or, where the end is
    not known, those attained. `layer`: 1 is the layer group next to the input, of `layers`.
    """

    communication_s: float | None = None
    computation_s: float | None = None
    service_s: float | None = None
    layer: int | None = None
    layers: int | None = None


PriorityFunction = Callable[[Urgency], int]  # what may stand in Priority's place; the result is 1..255


@dataclass(frozen=True)
class Priority:
    """The formula. Each factor can be switched off; log2 P from `log2_low` to `log2_high` becomes 1 to 255.

    The range is fixed, the same for all jobs, so that priorities of different jobs can be compared. The default holds
    C / K from 1/64 to 64 and R from a second to three days without reaching an end, at 8 steps per factor of two.
    """

    ratio: bool = True
    service: bool = True
    layer: bool = True
    log2_low: float = -24.0
    log2_high: float = 8.0

    def __post_init__(self) -> None:
        if not self.log2_low < self.log2_high:
            raise ValueError(f"log2_low: {self.log2_low} is not below log2_high, {self.log2_high}")

    def __call__(self, urgency: Urgency) -> int:
        """The priority, 1..255: never lower for a higher C / K, a smaller R or a layer nearer to the front."""
        log2_p = 0.0
        if self.ratio and urgency.communication_s is not None and urgency.computation_s is not None:
            log2_p += self._log2(urgency.communication_s) - self._log2(urgency.computation_s)
        if self.service and urgency.service_s is not None:
            log2_p -= self._log2(urgency.service_s)
        if self.layer and urgency.layer is not None:
            log2_p -= self._log2(urgency.layer)
        part = (log2_p - self.log2_low) / (self.log2_high - self.log2_low)
        return LOWEST + round(min(max(part, 0.0), 1.0) * (HIGHEST - LOWEST))

    @staticmethod
    def _log2(quantity: float) -> float:
        # A nanosecond stands for zero: it is beyond the range already, and two zeros give 1 and not NaN.
        return math.log2(max(quantity, 1e-9))


@dataclass(frozen=True)
class Classes:
    """Three classes in place of a formula: one step for more communication than computation, one for front layers.

    Refusing a fragment costs more than preempting a row: all its packets go to the PS, and not only those that the row
    still lacks. So within a class everybody preempts, and a row is refused to another class alone.

        >>> [Classes()(Urgency(0.2, 0.1, layer=layer, layers=4)) for layer in (1, 2, 3, 4)]
        [130, 130, 129, 129]
    """

    lowest: int = 128

    def __call__(self, urgency: Urgency) -> int:
        """The priority; what is not known is no step."""
        communicates = (urgency.communication_s or 0.0) > (urgency.computation_s or 0.0)
        layer, layers = urgency.layer, urgency.layers
        in_front = layer is not None and layers is not None and 2 * (layer - 1) < layers
        return self.lowest + communicates + in_front


def alike(urgency: Urgency) -> int:
    """One class for all: where every job has its share of rows, who is refused loses more than another gains."""
    return Classes.lowest


def priority_function(policy: Policy, compares: bool = True) -> PriorityFunction:
    """What a policy's jobs go by where they say nothing else.

    compares: as in `esa.job.Job`. Where equals refuse each other they compare in any case.
    """
    if not policy.by_class:
        return Priority()
    return Classes() if compares or policy.preempt != Preempt.NOT_LOWER else alike
