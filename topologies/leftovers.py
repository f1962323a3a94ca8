"""What a run or a rack that was killed may have left behind, found by interfaces' names and by racks' records."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from topologies import names, record
from topologies.interfaces import delete_interface, require_root
from topologies.record import Process, RackRecord

INTERFACE = re.compile(r"esa(\d+)p\d+")  # esa<process id>p<port>, see `network`
GRACE_S = 15.0  # for a run to end by itself
LAUNCH = "ESA_LAUNCH"  # in the environment of all that a launch starts: RACK/JOB


def stop_runs() -> Iterator[str]:
    """End every run and rack on this machine and remove what none owns; yields what was done, in words."""
    require_root()
    for pid in sorted({int(match[1]) for match in _interfaces() if _is_of_a_run(match)}):
        os.kill(pid, signal.SIGTERM)
        yield f"asked run {pid} to stop"
    deadline = time.monotonic() + GRACE_S
    while any(map(_is_of_a_run, _interfaces())) and time.monotonic() < deadline:
        time.sleep(0.2)
    yield from _delete_interfaces(_interfaces())
    with record.locked():
        for dead in [rack for rack in record.records() if not rack.owner.alive]:
            yield from remove_rack(dead)


def found() -> Iterator[str]:
    """What `stop_runs` would remove, in words; runs and racks that live are none of it."""
    racks = {rack.name: rack for rack in record.records()}
    for match in _interfaces():
        if not _is_of_a_run(match) and int(match[1]) != os.getpid():
            yield f"interface {match[0]}"
    for rack in racks.values():
        if not rack.owner.alive:
            yield f"the record of rack {rack.name}, whose process {rack.owner.pid} is gone"
    for launch, count in sorted(_launched().items()):
        name = launch.partition("/")[0]
        if name in racks and not racks[name].owner.alive:
            yield f"{count} processes of rack {name}"


def remove_rack(dead: RackRecord) -> Iterator[str]:
    """Remove what is left of a rack whose process is gone; yields what was removed, in words."""
    ended = end_launched(f"{dead.name}/")
    if ended:
        yield f"ended {ended} processes of rack {dead.name}"
    found = [host.namespace for host in dead.hosts if names.detach(host)]
    if found:
        yield f"removed {', '.join(found)}"
    yield from _delete_interfaces(match for match in _interfaces() if int(match[1]) == dead.owner.pid)
    shutil.rmtree(dead.folder, ignore_errors=True)
    yield f"removed the record of rack {dead.name}, whose process {dead.owner.pid} is gone"


def end_launched(launch: str) -> int:
    """SIGKILL every process that a launch (RACK/JOB, or all of RACK/) started, whatever became of its parents."""
    ended = 0
    for pid, started_by in _processes_of_launches():
        if started_by == launch or (launch.endswith("/") and started_by.startswith(launch)):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                os.kill(pid, signal.SIGKILL)
                ended += 1
    return ended


def _launched() -> Counter[str]:
    """How many processes each launch has."""
    return Counter(launch for _, launch in _processes_of_launches())


def _processes_of_launches() -> Iterator[tuple[int, str]]:
    """(process id, RACK/JOB) of every other process that a launch started."""
    key = f"{LAUNCH}=".encode()
    for path in Path("/proc").iterdir():
        if not path.name.isdigit() or int(path.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it has ended meanwhile
            for word in (path / "environ").read_bytes().split(b"\0"):
                if word.startswith(key):
                    yield int(path.name), word[len(key) :].decode(errors="replace")


def _delete_interfaces(found: Iterable[re.Match[str]]) -> Iterator[str]:
    for match in found:
        kept = delete_interface(match[0])
        yield f"deleted interface {match[0]}" if kept is None else f"{match[0]}: {kept}"


def _interfaces() -> list[re.Match[str]]:
    return [match for path in Path("/sys/class/net").iterdir() if (match := INTERFACE.fullmatch(path.name))]


def _is_of_a_run(match: re.Match[str]) -> bool:
    """Whether the other process that made this interface lives: its id may be another program's by now."""
    with contextlib.suppress(OSError):
        alias = Path(f"/sys/class/net/{match[0]}/ifalias").read_text().strip()
        owner = Process.of(int(match[1]))
        # A network that is being built has no alias yet.
        return owner.pid != os.getpid() and alias in ("", owner.alias)
    return False
