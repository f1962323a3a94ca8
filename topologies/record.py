"""What a rack that is up tells other commands: one file per rack, and whether its process lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

from pydantic import Field, ValidationError

from esa.errors import EsaError
from esa.job import Frozen, Mac

# RUN/NAME holds what belongs to a rack and goes with it; commands with another RUN know nothing of these racks.
RUN = Path(os.environ.get("ESA_RUN_FOLDER") or "/run/esa")
DEFAULT_NAME = "esa"
NAME_PATTERN = r"[a-z][a-z0-9-]{0,31}"


class RackError(EsaError, RuntimeError):
    """No such rack, or there is one already; one line."""

    status = 2


class Process(Frozen):
    """A process of this boot: an id alone may be another program's by now."""

    pid: int
    start_ticks: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this id now; ProcessLookupError if there is none."""
        ticks = _start_ticks(pid)
        if ticks is None:
            raise ProcessLookupError(f"no process {pid}")
        return cls(pid=pid, start_ticks=ticks, boot=_boot())

    @property
    def alias(self) -> str:
        """What interfaces of its own carry beside the process id in their names, which leave no room for more."""
        return f"esa {self.start_ticks}"

    @property
    def alive(self) -> bool:
        return self.boot == _boot() and _start_ticks(self.pid) == self.start_ticks


class RackHost(Frozen):
    """A host as others enter it (`ip netns exec NAMESPACE ...`) and as a job's member."""

    name: str  # as it resolves on the rack's hosts
    namespace: str
    ip: IPv4Address
    mac: Mac
    switch_port: int


class RackSwitch(Frozen):
    """The switch as a P4Runtime client finds it, and as a job's member."""

    kind: str
    address: str
    device_id: int
    lanes: int
    ip: IPv4Address


class RackRecord(Frozen):
    """One rack. Without `switch` it is being built; it can be used when it is `ready`.

    private: it belongs to the one launch that brought it up
    mbps:    of every link, each way; None: unshaped
    """

    name: str = Field(pattern=f"^{NAME_PATTERN}$")
    owner: Process
    private: bool = False
    ready: bool = False
    mbps: float | None = None
    interface: str
    hosts: tuple[RackHost, ...]
    switch: RackSwitch | None = None

    @property
    def folder(self) -> Path:
        return RUN / self.name

    @property
    def up(self) -> bool:
        """Whether it can be used: ready when it was read, its process alive."""
        return self.ready and self.owner.alive

    @property
    def saved_jobs(self) -> Path:
        """The file that remembers the jobs of this rack's switch."""
        return self.folder / "jobs.json"

    @property
    def controller(self) -> str:
        """The coordinator's address. Network namespaces do not hide a Unix socket."""
        return f"unix:{self.folder / 'controller.sock'}"

    def host(self, name: str) -> RackHost | None:
        """The host with this name, namespace or address."""
        return next((host for host in self.hosts if name in (host.name, host.namespace, str(host.ip))), None)

    def save(self) -> None:
        """Write the file at once, readable by its owner alone."""
        draft = self.folder / f".rack.{os.getpid()}"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(self.model_dump_json(indent=2) + "\n")
        draft.replace(self.folder / "rack.json")


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """One process at a time looks which racks there are and adds or removes one."""
    RUN.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (RUN / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def load(name: str) -> RackRecord | None:
    """The record of a rack, whether its process lives or not; None if there is none that can be read."""
    try:
        return RackRecord.model_validate_json((RUN / name / "rack.json").read_text())
    except (OSError, ValidationError):
        return None


def records() -> list[RackRecord]:
    """All records on this machine, by name."""
    folders = sorted(path.name for path in RUN.iterdir()) if RUN.is_dir() else []
    return [record for record in map(load, folders) if record is not None]


def find(name: str | None = None) -> RackRecord:
    """The rack called `name`, else the only one that is up and nobody's own. RackError if that is no single one."""
    up = [record for record in records() if record.up]
    if name is not None:
        chosen = [record for record in up if record.name == name]
    else:
        chosen = [record for record in up if not record.private]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(record.name for record in up)
    if name is not None:
        raise RackError(f"rack: no rack '{name}' is up; there are: {names or 'none (esa up brings one up)'}")
    if not chosen:
        raise RackError("rack: none is up; bring one up with: esa up --hosts 5")
    raise RackError(f"rack: several are up ({names}); say which with --rack")


def _start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if it has ended, reaped or not."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else int(fields[18])


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
