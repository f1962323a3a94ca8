"""What a world starts with: its jobs as they are first added, and the times that all its hosts keep to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from esa.job import Pool
from esa.policy import POLICIES
from esa.protocol import Timers

US, MS, S = 1_000, 1_000_000, 1_000_000_000
GIVE_UP_S = 4.0
TIMERS = Timers(
    rto_initial_ns=2 * MS,
    rto_floor_ns=1 * MS,
    rto_ceiling_ns=100 * MS,
    patience_initial_ns=500 * US,
    patience_floor_ns=200 * US,
    patience_ceiling_ns=100 * MS,
    unhurried_initial_ns=0,
    unhurried_floor_ns=0,
)
TTL_US = 20_000

SHARED = Pool(base=0, size=4)
PLACES = tuple((base, size) for size in (1, 2, 4, 8) for base in range(0, 16, size))  # for pools that are moved


@dataclass(frozen=True)
class JobPlan:
    """A job as it is first added."""

    policy: str
    workers: int
    window: int
    first_seq: int
    servers: int = 1


@dataclass(frozen=True)
class Plan:
    """What a world starts with; the moves do the rest."""

    jobs: tuple[JobPlan, ...]
    lanes: int = 64
    held_resends: int | None = None

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Plan:
        names = sorted(POLICIES)
        favourites = ["esa", "esa", "atp", "switchml"]
        jobs = tuple(
            JobPlan(
                policy=str(rng.choice(names if rng.random() < 0.5 else favourites)),
                workers=int(rng.integers(1, 5)),
                window=(window := int(rng.choice([1, 2, 4, 8]))),
                first_seq=int(rng.choice([0, 2**32 - 2, 2**32 - 7, 2**31 - 3])),
                servers=min(window, int(rng.choice([1, 1, 2, 4]))),
            )
            for _ in range(rng.integers(1, 4))
        )
        return cls(jobs, lanes=0 if rng.random() < 0.15 else 64, held_resends=1 if rng.random() < 0.2 else None)
