"""[arrivals] and `trace`: jobs that come by chance, or from a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from esa.job import MAX_FAN_IN
from esa.workloads import TraceError, poisson, read_trace
from experiments.specs.jobs import JobSettings, JobSpec
from experiments.specs.keys import MAX_JOBS, MAX_RACKS, MAX_TIME_S, Finite, Name, key
from experiments.specs.models import KNOWN_MODELS
from experiments.specs.toml_files import ScenarioError

_Share = Annotated[float, Field(gt=0, le=1_000_000)]
_Workers = Annotated[int, Field(ge=1, le=MAX_FAN_IN * MAX_RACKS)]
_Iterations = Annotated[int, Field(ge=1, le=1_000_000)]


class Arrivals(Finite):
    """Jobs that come by chance, drawn from the seed; what they have in common is in [job_defaults]."""

    kind: Literal["poisson"] = key("how they come", "poisson")
    count: int = key("how many", unit="jobs", ge=1, le=MAX_JOBS)
    mean_interval_s: float = key("between two of them, on average", unit="s", gt=0, le=MAX_TIME_S)
    models: dict[Name, _Share] = key("name to share", min_length=1)
    workers: tuple[_Workers, ...] | None = key(
        "numbers that are equally likely", None, absent="`job_defaults.workers`", min_length=1
    )
    iterations: tuple[_Iterations, ...] | None = key(
        "numbers that are equally likely", None, absent="`job_defaults.iterations`", min_length=1
    )


def drawn_jobs(arrivals: Arrivals, defaults: JobSettings, seed: int) -> tuple[JobSpec, ...]:
    """The jobs, in the order of their submission; ValueError where they come too late."""
    common = defaults.model_dump(exclude_unset=True)
    requests = poisson(
        arrivals.count,
        arrivals.mean_interval_s,
        arrivals.models,
        arrivals.workers or (defaults.workers,),
        arrivals.iterations or (defaults.iterations,),
        seed,
    )
    if requests[-1].submit_s > MAX_TIME_S:
        raise ValueError(
            f"arrivals: the last job comes after {requests[-1].submit_s:.0f} s; allowed: before {MAX_TIME_S:g} s"
        )
    return tuple(JobSpec(**(common | vars(request))) for request in requests)


def jobs_of_trace(path: Path, models: Any) -> list[dict[str, Any]]:
    """A trace's jobs as a file's tables. models: what the file says of its own; ScenarioError names the line."""
    own = [model.get("name") for model in models if isinstance(model, dict)] if isinstance(models, list) else []
    try:
        requests = read_trace(path, [*KNOWN_MODELS, *(name for name in own if isinstance(name, str))])
    except TraceError as error:
        raise ScenarioError(f"trace: {error}") from None
    return [dict(vars(request)) for request in requests]
