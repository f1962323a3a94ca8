"""[network] of what `esa cluster` runs: which network jobs share, what they sum, and how iterations are timed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from esa.cluster.times import LEVELS
from esa.network_times.network import SWITCH_POLICIES
from esa.program import program
from esa.workloads import MODELS
from experiments.specs.keys import Finite, key
from experiments.specs.rate import Rate
from experiments.specs.toml_files import one_of

NETWORK_LEVELS = LEVELS[1:]


class ClusterNetwork(Finite):
    """A network of racks under a spine, as esa/network_times/network.py has it."""

    level: str = key("how iterations are timed", "flows", allowed=", ".join(NETWORK_LEVELS))
    most_jobs: int | None = key(
        "with level packets: of a component; one of more jobs is answered by flows", None, absent="any", ge=1, le=255
    )
    policy: str = key("how switches add", "esa", allowed=", ".join(SWITCH_POLICIES))
    rows: int = key("of each switch; a power of two", 1024, ge=2, le=program(0).aggregators)
    window: int = key("fragments in flight of a rank", 128, unit="fragments", ge=1, le=16384)
    rate: Rate = key("of a host's cable", 100e9)
    oversubscription: float = key("the cables of a rack's hosts over its cable to the spine", 1.0, gt=0, le=1000)
    delay_us: float = key("of a cable", 1.0, unit="us", ge=0, le=1_000_000)
    switch_ns: int = key("a packet's way through a switch", 400, unit="ns", ge=0, le=10**9)
    local_sums: bool = key(
        "a host adds its GPUs' gradients and is one rank; else each GPU is one, and they share the host's cable", False
    )
    models: tuple[Annotated[str, Field()], ...] = key(
        "what jobs train, drawn for each; those of [ones] have their own",
        MODELS,
        allowed=f"some of {', '.join(MODELS)}",
        min_length=1,
    )
    pace: float = key(
        "by which these models' computing is multiplied: 0.1 is a GPU ten times as fast", 1.0, gt=0, le=100
    )

    @field_validator("level")
    @classmethod
    def _known_level(cls, name: str) -> str:
        return one_of("level", name, NETWORK_LEVELS)

    @field_validator("policy")
    @classmethod
    def _known_policy(cls, name: str) -> str:
        return one_of("policy", name, SWITCH_POLICIES)

    @field_validator("rows")
    @classmethod
    def _power_of_two(cls, rows: int) -> int:
        if rows & (rows - 1):
            raise ValueError(f"{rows}; allowed: powers of two")
        return rows

    @field_validator("models")
    @classmethod
    def _known_models(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one_of("model", name, MODELS) for name in names)
