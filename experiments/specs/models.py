"""What a job's `model` may be: one that a live run trains, a profile of esa.workloads, or the scenario's own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from esa.workloads import MODELS as PROFILES
from experiments.specs.keys import MAX_TIME_S, Finite, Name, key

TRAINED = ("mlp", "cnn")  # `experiments/live/models.py`
TRAINING_SAMPLES = 1347  # of the 1,797 digits; a test compares it with the data
KNOWN_MODELS = (*PROFILES, *TRAINED)
# What a sample takes a worker in virtual time, forward and backward, on one core: from the README's first run.
# `make reality` measures it anew, in a live run.
MS_PER_SAMPLE = {"mlp": 0.116, "cnn": 0.424}

_Bytes = Annotated[int, Field(ge=0, le=2**40, multiple_of=4)]
_Milliseconds = Annotated[float, Field(ge=0, le=1000 * MAX_TIME_S)]


class ModelSpec(Finite):
    """A model of one's own, for virtual time: one number per layer, from the front."""

    name: Name = key("what jobs call it", backend="virtual")
    bytes: tuple[_Bytes, ...] = key(
        "gradients of each layer", backend="virtual", unit="bytes", min_length=1, max_length=10_000
    )
    forward_ms: tuple[_Milliseconds, ...] = key("a worker's forward pass, by layer", backend="virtual", unit="ms")
    backward_ms: tuple[_Milliseconds, ...] = key("a worker's backward pass, by layer", backend="virtual", unit="ms")

    @model_validator(mode="after")
    def _one_of_each(self) -> ModelSpec:
        for name in ("forward_ms", "backward_ms"):
            if len(getattr(self, name)) != len(self.bytes):
                raise ValueError(f"{name}: {len(getattr(self, name))} values for {len(self.bytes)} layers")
        return self
