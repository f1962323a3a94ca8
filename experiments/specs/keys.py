"""How a key of a scenario is declared: its meaning and constraints, of which `reference.py` makes docs/scenario.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from esa.job import Frozen

MAX_PORTS = 500  # of a switch: hosts and spines
MAX_RACKS = 32  # with workers of one job: bits of a bitmap
MAX_JOBS = 10_000  # in a lifetime; at a time 255, which a switch has counters for
MAX_TIME_S = 3600  # of virtual time, and of what a run waits for

Backend = Literal["both", "live", "virtual"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]


class Finite(Frozen):
    """Configuration whose numbers are numbers."""

    model_config = ConfigDict(allow_inf_nan=False)


def key(
    meaning: str,
    default: Any = ...,
    *,
    backend: Backend = "both",
    unit: str = "",
    allowed: str = "",
    absent: str = "",
    **constraints: Any,
) -> Any:
    """A field of a scenario. meaning, unit: for its reader.

    backend: where it counts; the other one disregards the key unless its check (`experiments/live/check.py`,
    `experiments/virtual/check.py`) refuses it. allowed: in place of what the constraints say, where a validator
    decides.
    absent: what holds where the key is left out, if the default does not say it.
    """
    extra = {"backend": backend, "unit": unit, "allowed": allowed, "absent": absent}
    return Field(default, description=meaning, json_schema_extra={k: v for k, v in extra.items() if v}, **constraints)
