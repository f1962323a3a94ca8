"""[network] and [[training]] of a run of `esa serve`: replicas on the simulated network, training jobs beside."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator

from esa.job import MAX_FAN_IN
from esa.workloads import MODELS
from experiments.specs.keys import MAX_PORTS, Finite, Name, key
from experiments.specs.rate import Rate
from experiments.specs.toml_files import one_of

CARRIERS = ("esa", "atp", "switchml", "ps", "ring", "halving-doubling")
_HOST = "hosts by number, from 0"


class NetworkSpec(Finite):
    """Hosts in one rack, or in racks of equal size under a spine. They are called `host-0`, `host-1` and so on."""

    hosts: int = key("that there are", 8, ge=2, le=MAX_PORTS)
    racks: int = key("that they are in", 1, ge=1, le=32)
    carrier: str = key("how sums are made: in switches by a policy, or by messages", "esa", allowed=", ".join(CARRIERS))
    rows: int = key("of each switch, a power of two", 1024, ge=2, le=65536)
    window: int = key("fragments in flight of a rank", 128, ge=1, le=16384)
    lanes: Literal[64, 256] = key("of a fragment, 4 bytes each", 256)
    packed: bool = key("a lane has two half-precision values, not one", False)
    rate: Rate = key("of a host's cable", 100e9)
    spine_rate: Rate = key("of a rack's", 400e9)
    delay_us: float = key("of a cable", 1.0, ge=0, le=1_000_000)
    priorities: Literal["class", "formula"] = key(
        "who has rows of a switch: decodes before prompts before gradients, or by the formula", "class"
    )
    layers: int | None = key(
        "of a stage's that are simulated; what is beside shrinks alike", None, absent="all", ge=1, le=1000
    )
    idle: bool = key("each collective as on a network that nobody else uses; faster, without anything beside", False)

    @field_validator("carrier")
    @classmethod
    def _carrier(cls, value: str) -> str:
        return one_of("carrier", value, CARRIERS)


class TrainingSpec(Finite):
    """A training job beside: a rank on each of its hosts."""

    name: Name = key("a name that occurs once")
    model: str = key("whose gradients", allowed=", ".join(MODELS))
    hosts: tuple[int, ...] = key("of its ranks", allowed=_HOST, min_length=2, max_length=MAX_FAN_IN)
    iterations: int | None = key("that it has", None, absent="as long as requests are served", ge=2, le=20_000)

    @field_validator("model")
    @classmethod
    def _model(cls, value: str) -> Any:
        return one_of("model", value, tuple(MODELS))
