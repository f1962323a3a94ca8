"""Names of hosts: network namespaces that other terminals enter, and name resolution inside them.

`ip netns exec NAME` puts the files of /etc/netns/NAME in the place of those in /etc.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from topologies import namespaces
from topologies.record import RackError, RackHost

NAMESPACES = Path("/run/netns")
FILES = Path("/etc/netns")


def enter(host: RackHost) -> list[str]:
    """What goes before a command that shall run on this host."""
    return ["ip", "netns", "exec", host.namespace]


def enter_network_of(pid: int) -> None:
    """Move this process into another's network namespace; nothing where that is not possible.

    A rack's switch listens on the loopback interface of the rack's process, which a terminal inside one of its hosts
    cannot see. To be called while the process has one thread.
    """
    with contextlib.suppress(OSError):
        if Path(f"/proc/{pid}/ns/net").stat().st_ino != Path("/proc/self/ns/net").stat().st_ino:
            namespaces.enter(pid, "net")


def check_free(hosts: Sequence[RackHost]) -> None:
    """Refuse names that somebody else uses."""
    for host in hosts:
        for path in (NAMESPACES / host.namespace, FILES / host.namespace):
            if path.exists():
                raise RackError(f"rack: {path} is there already and no rack's: choose another --name, or remove it")


def attach(host: RackHost, pid: int, hosts: Sequence[RackHost]) -> None:
    """Give the network namespace of process `pid` the host's name, in which the names of all `hosts` resolve."""
    done = subprocess.run(
        ["ip", "netns", "attach", host.namespace, str(pid)], capture_output=True, text=True, timeout=30, check=False
    )
    if done.returncode != 0:
        raise RackError(f"rack: cannot name the namespace {host.namespace}: {done.stderr.strip()}")
    folder = FILES / host.namespace
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"hosts": hosts_file(host, hosts), "resolv.conf": RESOLV_CONF}.items():
        if Path("/etc", name).exists():  # else `ip` has nothing to put it in the place of, and says so every time
            (folder / name).write_text(text)


def detach(host: RackHost) -> bool:
    """Remove the name and its files; whether there was something. The namespace goes with its last process."""
    there = False
    if (NAMESPACES / host.namespace).exists():
        there = True
        subprocess.run(["ip", "netns", "delete", host.namespace], capture_output=True, timeout=30, check=False)
    folder = FILES / host.namespace
    if folder.is_dir():
        there = True
        for name in ("hosts", "resolv.conf"):
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody has put more into it
            folder.rmdir()
        with contextlib.suppress(OSError):  # others have names
            FILES.rmdir()
    return there


def hosts_file(host: RackHost, hosts: Sequence[RackHost]) -> str:
    """/etc/hosts of one host. The machine's own name is this host: libraries ask for it to find their address."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    for other in hosts:
        lines.append(f"{other.ip} {other.name}" + (f" {socket.gethostname()}" if other == host else ""))
        lines.append(f"::ffff:{other.ip} {other.name}")  # torch's store asks whose address it is in this form
    return "\n".join(lines) + "\n"


# Nobody serves names here: a question is refused at once instead of waiting for an answer.
RESOLV_CONF = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
