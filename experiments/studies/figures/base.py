"""The setting that all figures start from, and how much is simulated of it; each figure varies one or two things.

Eight jobs of four workers, half of them communication-heavy, half computation-heavy, behind one switch: 100 Gb/s, 1 us
of cable, 400 ns through the switch. They share 512 aggregators, half of what their windows could fill. The window, 128
fragments, is near ATP's best wherever memory is scarce (`claim` tries others), and suits ESA too. The jobs are
submitted at random within about one iteration.

Models are scaled (`Profile.scaled`): bytes and times alike, so that the parts of communication and computation stay
what they are; round trips, windows and rows are not scaled, and weigh more in a shorter iteration. `scale` shows what
that does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from experiments.specs.scenario import Scenario
from experiments.virtual.check import check_virtual

POLICIES = ("esa", "atp", "switchml", "ps")
HEAVY, LIGHT = "communication-heavy", "computation-heavy"
JOBS = 8
ROWS = 512
WINDOW = 128
WORKERS = 4
ITERATIONS = 4
JITTER = 0.1
SUBMITTED_WITHIN_S = 0.015  # at full size, where an iteration of a communication-heavy job takes 16 ms
NETWORK: Mapping[str, Any] = {"rate": "100 Gb/s", "delay_us": 1.0, "queue_packets": 4096}
VIRTUAL: Mapping[str, Any] = {"switch_ns": 400, "alone": False}  # the bound says as much, and costs nothing

FULL_SCALE = 0.02  # of the models, unless quick

_T = TypeVar("_T")


@dataclass(frozen=True)
class Effort:
    """How much is simulated."""

    quick: bool = False

    @property
    def scale(self) -> float:
        """Of the models."""
        return 0.005 if self.quick else FULL_SCALE

    @property
    def seeds(self) -> range:
        return range(1, 4) if self.quick else range(1, 6)

    @property
    def many_seeds(self) -> range:
        """Where differences between variants are small, or a claim is made."""
        return range(1, 4) if self.quick else range(1, 11)

    def choose(self, full: _T, quick: _T) -> _T:
        return quick if self.quick else full


def simulation(
    effort: Effort,
    policy: str,
    seed: int,
    *,
    rows: int = ROWS,
    heavy: int = 4,
    light: int = 4,
    workers: int = WORKERS,
    scale: float | None = None,
    models: Sequence[str] | None = None,
    places: Sequence[Sequence[int]] | None = None,
    submitted_within_s: float = SUBMITTED_WITHIN_S,
    hashed: bool = False,
    network: Mapping[str, Any] | None = None,
    virtual: Mapping[str, Any] | None = None,
    job: Mapping[str, Any] | None = None,
    **others: Any,
) -> Scenario:
    """One simulation. What is not said is as in the setting above.

    models: of the jobs, in place of `heavy` and `light` ones; places: by job, hosts of the workers and then of the PS.
    submitted_within_s: of the models at full size. hashed: every job's rows are all there are. network, virtual, job:
    further keys of the scenario's `network`, `virtual` and `job_defaults`; others: of the scenario itself.
    """
    scale = effort.scale if scale is None else scale
    names = [HEAVY] * heavy + [LIGHT] * light if models is None else models
    submit_s = np.random.Generator(np.random.PCG64(seed)).random(len(names)) * submitted_within_s * scale
    jobs: list[dict[str, Any]] = [
        {"name": f"{name}-{number}", "model": name, "submit_s": float(submit_s[number])}
        for number, name in enumerate(names)
    ]
    if hashed:
        jobs = [job | {"pool": {"base": 0, "size": rows}} for job in jobs]
    for number, hosts in enumerate(places or ()):
        jobs[number]["hosts"] = tuple(hosts)
    whole_network = {**NETWORK, **(network or {})}
    if "racks" not in whole_network:
        whole_network.setdefault("hosts", len(names) * (workers + 1))
    settings = {
        "workers": workers,
        "iterations": ITERATIONS,
        "window": WINDOW,
        "scale": scale,
        "jitter": JITTER,
        **(job or {}),
    }
    table: dict[str, Any] = {
        "name": "figure",
        "seed": seed,
        "policy": policy,
        "aggregators": rows,
        "network": whole_network,
        "virtual": {**VIRTUAL, **(virtual or {})},
        "job_defaults": settings,
        "jobs": jobs,
    }
    return Scenario.of_table(table | others, None, "figure", check_virtual)
