"""The artefact's constants, and in what `REPAIRED` differs from `ARTEFACT`. Frozen values, validated at the door.

From kurisusnowdeng/ones_sc21 at 8535358, src/config.py and src/scheduler.py, as they stand at the end of its history.
"""

from __future__ import annotations

from dataclasses import dataclass

from esa.errors import BadInput


@dataclass(frozen=True)
class Settings:
    """population:   schedules that are kept
    crossover:       at which each cell is swapped; mutation: at which a job is taken out. Parts of 1
    epochs_between:  two installations that move the same job
    epochs_before:   a job is scored, taken out or scaled
    scale_down:      how much a long run shrinks the largest job; 0: not at all
    most_growth:     GPUs at most, over what a job asks for
    raw_epoch_size:  the predictor learns from the logarithm of an epoch's samples, and is asked with their number
    scaled_never:    the epoch of a job's last scaling is written, another variable is read: since its start, that is
    all_scheduled:   whenever anybody starts or moves, everybody who runs counts as scheduled anew
    free_moves:      it counts as nothing that a job leaves its GPUs for free ones
    asked:           of the best schedules of a generation, of how many `times` is asked, all their jobs together, which
                     of them is installed; 0: the first is
    crossed:         the predictor's likelihood takes each record with the epochs of each other one of its batch
    """

    population: int = 16
    crossover: float = 0.5
    mutation: float = 0.3
    epochs_between: int = 1
    epochs_before: int = 2
    scale_down: float = 1.0
    most_growth: int = 4
    raw_epoch_size: bool = False
    scaled_never: bool = False
    all_scheduled: bool = False
    free_moves: bool = False
    crossed: bool = False
    asked: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("population", 1, 4096),
            ("crossover", 0, 1),
            ("mutation", 0, 1),
            ("epochs_between", 0, 10**6),
            ("epochs_before", 2, 10**6),  # nothing was seen of a speed before
            ("scale_down", 0, 1e6),
            ("most_growth", 1, 1024),
            ("asked", 0, 4096),
        ):
            if not low <= getattr(self, name) <= high:
                raise BadInput(f"{name}: {getattr(self, name)}; allowed: {low} to {high:g}")


REPAIRED = Settings()
NETWORK = Settings(asked=4)
ARTEFACT = Settings(raw_epoch_size=True, scaled_never=True, all_scheduled=True, free_moves=True, crossed=True)
