"""What ranks know after their last iterations, a file each: where they go on when their job was stopped.

A rank begins an iteration only with the sums of the one before, for which every rank has sent its gradients. So no two
ranks are more than one apart, and of each the two last files are enough.
"""

from __future__ import annotations

from pathlib import Path

KEPT = 2


def snapshot(folder: Path, job: str, rank: int, iterations: int) -> Path:
    """Of a rank that has so many iterations behind it."""
    return folder / job / str(rank) / f"{iterations}.pt"


def iterations_of_all(folder: Path, job: str, ranks: int) -> int:
    """Iterations that every rank has finished, and a file of each."""
    return min(max(_iterations(folder, job, rank), default=0) for rank in range(ranks))


def _iterations(folder: Path, job: str, rank: int) -> list[int]:
    return [int(path.stem) for path in (folder / job / str(rank)).glob("*.pt")]
