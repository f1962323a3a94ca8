"""Detours and losses that a user should know of, each kind told once per state."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from esa.wire import EXPONENT_POISON

if TYPE_CHECKING:
    from esa.torch.pipeline import Bucket


class EsaWarning(UserWarning):
    """A training goes on, but slower or with other numbers than it could: what happened, how often, what to do."""


class Notices:
    """Collects what other threads find; `tell` says it in the thread of the training, each kind once."""

    def __init__(self, told: frozenset[str] = frozenset()) -> None:
        self._told = set(told)
        self._waiting: dict[str, str] = {}

    @property
    def told(self) -> frozenset[str]:
        """The kinds that are not told again."""
        return frozenset(self._told)

    def add(self, kind: str, text: str) -> None:
        if kind not in self._told:
            self._waiting.setdefault(kind, text)

    def tell(self) -> None:
        """`warnings.warn` what is new. Where warnings are errors, this raises."""
        while self._waiting:
            kind, text = self._waiting.popitem()
            self._told.add(kind)
            warnings.warn(text, EsaWarning, stacklevel=3)


def vanished_text(vanished: int, nonzero: int, fraction_bits: int | None) -> str:
    """Many of an iteration's values became zero. fraction_bits: of a fixed scale; None: it is adaptive."""
    if fraction_bits is not None:
        advice = (
            f"a fixed scale of {fraction_bits} fraction bits loses what is below 2**{-fraction_bits - 1}: take"
            " quantisation='adaptive', or more fraction_bits"
        )
    else:
        advice = "they are far smaller than the largest value of their fragment; statistics.vanished_values counts them"
    return f"in one iteration {vanished} of this rank's {nonzero} non-zero gradient values became zero: {advice}"


def redo_text(bucket: Bucket, largest: float | None) -> str:
    """For a bucket of which some value does not fit. largest: that does, of a fixed scale."""
    here = "this rank has" if bucket.rounds and EXPONENT_POISON in bucket.rounds.exponents else "another rank has"
    if largest is None:
        what, advice = "a NaN, an infinity or a value from 2**126 on", "look at the loss and the learning rate"
    else:
        what = f"a NaN, an infinity or a value beyond {largest:.3g}"
        advice = "if it happens often, take quantisation='adaptive', or fewer fraction_bits"
    return (
        f"bucket {bucket.index} ({bucket.buffer.numel()} values): {here} {what}; its sum was made again in "
        f"floating point over gloo, which is slower: {advice}. statistics.redone_buckets counts them"
    )


FLOAT64_TEXT = (
    "gradients are float64, which are summed with at most 31 bits to a fragment's largest value, not 53; "
    "statistics.float64_buckets counts them"
)
