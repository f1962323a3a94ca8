"""What may be said of the hook's state where a job is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypedDict

from esa.priority import PriorityFunction
from esa.torch.timeline import BucketTimes


class StateSettings(TypedDict, total=False):
    """Keyword arguments of `EsaState`, each with its meaning there."""

    quantisation: Literal["fixed", "adaptive"]
    fraction_bits: int
    priority: PriorityFunction | None
    total_iterations: int | None
    timeout_s: float
    owns_transport: bool
    clock: Callable[[], float]
    on_bucket: Callable[[BucketTimes], None] | None
