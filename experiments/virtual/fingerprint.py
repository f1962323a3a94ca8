"""Which code a simulation's figures come from: they are kept, and must not outlive it."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

_ROOT = Path(__file__).parents[2]
# What a simulation runs. Not: sockets, training, pictures.
_SOURCES = (
    "esa/*.py",
    "esa/entries/*.py",
    "esa/net/faults.py",
    "esa/net/impairment.py",
    "esa/protocol/*.py",
    "esa/report/records.py",
    "esa/sim/**/*.py",
    "esa/switch/**/*.py",
    "esa/workloads/*.py",
    "experiments/specs/*.py",
    "experiments/virtual/*.py",
    "p4src/build/*.json",
)


def sources() -> list[Path]:
    """The files, in a fixed order."""
    return sorted(path for pattern in _SOURCES for path in _ROOT.glob(pattern) if path.is_file())


@lru_cache
def code_fingerprint() -> str:
    """A hash of the sources and of the compiled P4 program."""
    digest = hashlib.sha256()
    for path in sources():
        digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
