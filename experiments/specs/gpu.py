"""What `esa gpu` runs: a TOML file of tasks on one GPU, a rule, and how tasks are measured, validated at the door.

    scenario = GpuScenario.load(Path("experiments/scenarios/gpu/detector.toml"))

A wrong file is a ScenarioError of one line that names the key and what is allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationInfo, field_validator, model_validator

from esa.gpu.profile import BY, GAPS
from esa.gpu.rules import NAMES
from esa.gpu.task import MAX_TASKS, PRIORITIES
from experiments.specs.keys import Finite, Name, key
from experiments.specs.toml_files import dump_toml, one_of, read_toml, validated

MAX_US = 10**9


class RuleSpec(Finite):
    """Parameters of rules; each counts where a rule has it (esa/gpu/rules.py)."""

    hook_us: float = key("what interception adds to each launch, but under time-slice and fifo", 0.5, ge=0, le=MAX_US)
    epsilon_us: float = key("of fikit: gaps up to this are not filled", 100.0, ge=0, le=MAX_US)
    ahead: bool = key("of fikit: all fillers that fit at once; else the next one when the last is through", False)
    depth: int = key("of fikit, exclusive: kernels of a task on the device at a time", 1024, ge=1, le=1024)
    slice_us: float = key("of time-slice", 2000.0, ge=0, le=MAX_US)
    switch_us: float = key("of time-slice: what it costs to change", 50.0, ge=0, le=MAX_US)
    in_flight: int = key("of xsched-like, reef-like: commands that are on the device", 16, ge=1, le=1024)
    reset_us: float = key("of reef-like: what stopping a kernel costs", 40.0, ge=0, le=MAX_US)
    most_sms: int = key("of orion-like: SMs of lower tasks beside the highest", 80, ge=0, le=10**6)
    most_us: float = key("of orion-like: time of these until they wait", 1000.0, ge=0, le=MAX_US)


class MeasuringSpec(Finite):
    """FIKIT's first stage, which all rules know (esa/gpu/profile.py)."""

    runs: int = key("requests of each task, alone", 10, ge=1, le=1000)
    by: str = key("what kernels are told apart by", "identity", allowed=", ".join(BY))
    gap: str = key("what of the gaps that were seen is expected", "mean", allowed=", ".join(GAPS))
    quantile: float = key("where gap is quantile", 0.1, ge=0, le=1)

    @field_validator("by", "gap")
    @classmethod
    def _known(cls, value: str, of: ValidationInfo) -> str:
        name = str(of.field_name)
        return one_of(name, value, {"by": BY, "gap": GAPS}[name])


class SyntheticKernels(Finite):
    """Kernels that are drawn (esa/gpu/synthetic.py)."""

    blocks: int = key("of the model, all alike", 16, ge=1, le=10_000)
    kinds: int = key("of kernels in a block", 10, ge=1, le=1000)
    median_us: float = key("of durations", 12.0, gt=0, le=10**6)
    spread: float = key("standard deviation of their logarithm", 1.0, ge=0, le=5)
    seed: int = key("besides the scenario's", 0, ge=0, lt=2**31)


class GpuTask(Finite):
    """One program's requests."""

    name: Name = key("of the task")
    priority: int = key("0 is the highest", ge=0, lt=PRIORITIES)
    kernels: str | None = key("a file of Orion's model_kernels, from this file's folder", None, absent="drawn")
    synthetic: SyntheticKernels | None = key("kernels that are drawn", None, absent="see kernels")
    issue_us: float = key("the host's work on a launch", 10.0, ge=0, le=MAX_US)
    wait_every: int = key("the host waits for all kernels before each so-many-th; 0: never", 0, ge=0, le=10**6)
    requests: int = key("how many", 1, ge=1, le=100_000)
    think_us: float = key("from a request's end to the next one", 0.0, ge=0, le=MAX_US)
    interval_us: float | None = key(
        "between requests in the mean, which come as a Poisson process",
        None,
        absent="one after the other",
        gt=0,
        le=MAX_US,
    )
    start_us: float = key("when the first one comes", 0.0, ge=0, le=MAX_US)
    background: bool = key("goes on until all others have ended", False)

    @model_validator(mode="after")
    def _one_source(self) -> GpuTask:
        if (self.kernels is None) == (self.synthetic is None):
            raise ValueError(
                f"kernels: {'none' if self.kernels is None else 'a file, and drawn'}; allowed: one of both"
            )
        if self.background and self.interval_us is not None:
            raise ValueError("interval_us: in the background; allowed: one request after the other")
        return self


class GpuScenario(Finite):
    """Tasks on one GPU, and who may run."""

    name: Name = key("what runs and folders are called")
    seed: int = key("of what is drawn", 1, ge=0, lt=2**31)
    rule: str = key("who may run", "fikit", allowed=", ".join(NAMES))
    scatter: float = key("standard deviation of durations, as a part of them", 0.0, ge=0, le=1)
    host_scatter: float = key("of the host's work", 0.0, ge=0, le=1)
    rules: RuleSpec = key("parameters of rules", RuleSpec())
    measuring: MeasuringSpec = key("what rules know", MeasuringSpec())
    tasks: tuple[GpuTask, ...] = key("that share the GPU", min_length=1, max_length=MAX_TASKS)

    @field_validator("rule")
    @classmethod
    def _known(cls, name: str) -> str:
        return one_of("rule", name, NAMES)

    @classmethod
    def load(cls, path: Path, **overrides: Any) -> GpuScenario:
        """Read and validate a TOML file. overrides: those that are not None replace top-level keys."""
        data = read_toml(path) | {name: value for name, value in overrides.items() if value is not None}
        return validated(cls, data, str(path))

    def to_toml(self) -> str:
        """The scenario as resolved."""
        return dump_toml(self.model_dump(mode="json", exclude_none=True))
