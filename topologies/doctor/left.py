"""What killed runs, racks and launches have left on this machine."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from topologies import leftovers, names, record
from topologies.doctor.finding import OK, WRONG, Finding

OLD_S = 86_400


def check() -> Iterator[Finding]:
    yield runs_finding(list(leftovers.found()))
    yield names_finding(nobodys_names())
    yield folders_finding(Path(tempfile.gettempdir()), old_folders(Path(tempfile.gettempdir())))


def runs_finding(found: Sequence[str]) -> Finding:
    """found: in words, each."""
    if not found:
        return Finding("leftovers", OK, "killed runs and racks have left nothing")
    return Finding("leftovers", WRONG, ", ".join(found), "sudo esa stop")


def names_finding(found: Sequence[str]) -> Finding:
    """found: names of namespaces."""
    if not found:
        return Finding("hosts' names", OK, "every one is a rack's")
    mend = "; ".join(
        f"sudo ip netns delete {shlex.quote(name)}; sudo rm -rf {shlex.quote(str(names.FILES / name))}"
        for name in found
    )
    return Finding("hosts' names", WRONG, f"namespaces of no rack: {', '.join(found)}", mend)


def folders_finding(parent: Path, found: Sequence[Path]) -> Finding:
    """found: folders older than OLD_S."""
    if not found:
        return Finding("temporary folders", OK, f"none older than a day in {parent}", needed=False)
    mend = f"find {parent} -maxdepth 1 -name 'esa-*' -mtime +0 -exec rm -r {{}} +"
    said = f"{len(found)} older than a day in {parent}, {found[0].name} the first"
    return Finding("temporary folders", WRONG, said, mend, needed=False)


def nobodys_names() -> list[str]:
    """Namespaces with files of names, as racks make them, that no rack's record names and nobody is in.

    Racks of another ESA_RUN_FOLDER have processes there.
    """
    known = {host.namespace for rack in record.records() for host in rack.hosts}
    there = {path.name for path in names.FILES.iterdir() if path.is_dir()} if names.FILES.is_dir() else set()
    ours = [name for name in there if (names.FILES / name / "hosts").exists() and (names.NAMESPACES / name).exists()]
    return sorted(name for name in ours if name not in known and not _is_inhabited(name))


def _is_inhabited(name: str) -> bool:
    done = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() != ""


def old_folders(parent: Path) -> list[Path]:
    before = time.time() - OLD_S
    return sorted(path for path in parent.glob("esa-*") if path.is_dir() and path.stat().st_mtime < before)
