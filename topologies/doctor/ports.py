"""Ports that commands use unless told otherwise: who has them now."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from esa.wire import ESA_PORT
from topologies.doctor.finding import OK, WRONG, Finding

SWITCH_PORT = 9559  # `esa-switch`, and what esactl talks to
COORDINATOR_PORT = 9560  # `esactl supervise`
LISTEN, UNCONNECTED = "0A", "07"  # states in /proc/net/tcp and udp
OURS = ("esa-switch", "esa.switch", "simple_switch", "esactl", "controller", "topologies", "esa.hosts", "experiments")


class Use(NamedTuple):
    """A port that a command uses by default. otherwise: how to give it another."""

    protocol: str
    port: int
    by: str
    otherwise: str


class Holder(NamedTuple):
    """Who has a port. pid 0: nobody that this process may look at."""

    protocol: str
    port: int
    pid: int
    command: str

    @property
    def ours(self) -> bool:
        return any(word in self.command for word in OURS)


USES = (
    Use(
        "tcp",
        SWITCH_PORT,
        "esa-switch",
        f"esa-switch ... -- --grpc-server-addr 127.0.0.1:{SWITCH_PORT + 10}; "
        f"export ESA_SWITCH=127.0.0.1:{SWITCH_PORT + 10}",
    ),
    Use(
        "tcp",
        COORDINATOR_PORT,
        "esactl supervise",
        "esactl supervise --listen 127.0.0.1:9570; export ESA_CONTROLLER=127.0.0.1:9570",
    ),
    Use("udp", ESA_PORT, "workers and PSs outside of racks", "no other port is an ESA packet's"),
)


def check() -> Iterator[Finding]:
    there = list(holders({(use.protocol, use.port) for use in USES}))
    for use in USES:
        yield port_finding(use, there)


def port_finding(use: Use, there: Iterable[Holder]) -> Finding:
    name = f"port {use.port}/{use.protocol}"
    mine = [holder for holder in there if (holder.protocol, holder.port) == (use.protocol, use.port)]
    strange = [holder for holder in mine if not holder.ours]
    if not mine:
        return Finding(name, OK, f"free for {use.by}", needed=False)
    if not strange:
        held = ", ".join(f"process {holder.pid}, {holder.command}" for holder in mine)
        return Finding(name, OK, f"used by {held}", needed=False)
    held = ", ".join(f"process {one.pid}, {one.command}" if one.pid else "another user's process" for one in strange)
    pids = " ".join(str(holder.pid) for holder in strange if holder.pid)
    end = f"end it (kill {pids})" if pids else "end it"
    return Finding(name, WRONG, f"{use.by} uses it, and {held} has it", f"{end}, or: {use.otherwise}", needed=False)


def holders(wanted: set[tuple[str, int]]) -> Iterator[Holder]:
    """Who listens on these (protocol, port) in this network namespace."""
    inodes: dict[str, tuple[str, int]] = {}
    for protocol, state in (("tcp", LISTEN), ("udp", UNCONNECTED)):
        for table in (protocol, f"{protocol}6"):
            for port, inode in sockets(_lines(Path("/proc/self/net") / table), state):
                if (protocol, port) in wanted:
                    inodes[inode] = (protocol, port)
    if not inodes:
        return
    pids = _owners(set(inodes))
    for inode, (protocol, port) in inodes.items():
        pid = pids.get(inode, 0)
        yield Holder(protocol, port, pid, _command(pid) if pid else "")


def sockets(lines: Sequence[str], state: str) -> Iterator[tuple[int, str]]:
    """(local port, inode) of the sockets in a table of /proc/net that are in `state`."""
    for line in lines[1:]:
        words = line.split()
        if len(words) > 9 and words[3] == state:
            yield int(words[1].rpartition(":")[2], 16), words[9]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # a kernel without IPv6
        return []


def _owners(inodes: set[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                for descriptor in (process / "fd").iterdir():
                    link = str(descriptor.readlink())
                    if link.startswith("socket:[") and link[8:-1] in inodes:
                        found[link[8:-1]] = int(process.name)
    return found


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        text = " ".join(word for word in words if word)
        return "".join(c for c in text if c.isprintable())[:60] or "unnamed"
    return "ended meanwhile"
