"""Which code a simulation's figures come from: they are kept, and must not outlive it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from esa import sources
from esa.program import BUILD
from esa.workloads.architectures import SHAPES

_SWEEP = Path(__file__).resolve().with_name("sweep.py")  # what a process of a sweep imports


@lru_cache
def code_fingerprint() -> str:
    """A hash of all sources that a sweep's process imports, of the compiled P4 program and the models' shapes."""
    return sources.digest([*sources.closure(_SWEEP), *BUILD.glob("*.json"), SHAPES])
