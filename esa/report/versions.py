"""What a run was made with: `versions.json` in its folder. It holds no time and no name of the machine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from functools import cache
from pathlib import Path

import esa
from esa import sources

VERSIONS = "versions.json"
FORMAT = 1  # of a run's folder; a higher one means that an older reader may misread what it finds
PACKAGES = ("numpy", "numba", "pydantic", "torch")


def write_versions(folder: Path) -> None:
    (folder / VERSIONS).write_text(json.dumps(versions(), indent=2) + "\n")


@cache
def versions() -> dict[str, str]:
    """By name; `code` is a hash of this project's sources and of the compiled P4 program, as they are now."""
    files = [path for package in sources.PACKAGES for path in (sources.ROOT / package).rglob("*.py")]
    programs = (sources.ROOT / "esa" / "compiled").glob("*.json")
    return {
        "format": str(FORMAT),
        "esa": esa.__version__,
        "code": sources.digest([*files, *programs])[:16],
        "python": platform.python_version(),
        **{name: found for name in PACKAGES if (found := _installed(name)) is not None},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(os.cpu_count()),
    }


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
