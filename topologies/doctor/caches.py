"""Folders in which machine code is kept from one process to the next: whether they can be written, size and age."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from esa.native_cache import cache_directory
from topologies.doctor.finding import OK, WRONG, Finding

FOLDERS = {"esa-native": "packet loops and simulator", "esa-switch": "compiled P4 programs"}
LARGE_BYTES = 8 << 30
DAY_S = 86_400


class Cache(NamedTuple):
    """A folder: bytes in it, seconds since its oldest file was written, and whether this user can write there."""

    path: Path
    there: bool
    size: int
    age_s: float
    writable: bool


def check() -> Iterator[Finding]:
    for name, holds in FOLDERS.items():
        yield cache_finding(name, holds, look(cache_directory(name)))


def cache_finding(name: str, holds: str, cache: Cache) -> Finding:
    check = f"cache {name}"
    if not cache.writable:
        said = f"{cache.path} cannot be written: every process compiles anew"
        mend = f"sudo chown -R $USER {cache.path}, or: export XDG_CACHE_HOME=FOLDER"
        return Finding(check, WRONG, said, mend)
    if not cache.there:
        return Finding(check, OK, f"none yet: a first start compiles {holds}", needed=False)
    said = f"{cache.size / 2**20:,.0f} MiB of {holds} in {cache.path}, the oldest {cache.age_s / DAY_S:.0f} days old"
    if cache.size > LARGE_BYTES:
        return Finding(check, WRONG, said, f"rm -r {cache.path} (the next start compiles anew)", needed=False)
    return Finding(check, OK, said, needed=False)


def look(path: Path) -> Cache:
    size, oldest = 0, time.time()
    for folder, _, files in os.walk(path):
        for file in files:
            try:
                stat = os.lstat(os.path.join(folder, file))
            except OSError:  # taken away meanwhile
                continue
            size, oldest = size + stat.st_size, min(oldest, stat.st_mtime)
    nearest = next(parent for parent in (path, *path.parents) if parent.exists())
    writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    return Cache(path, path.is_dir(), size, time.time() - oldest, writable)
