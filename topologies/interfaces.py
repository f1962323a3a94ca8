"""What interfaces of hosts and of the switch have in common, whatever network they are part of; who may make them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from esa.errors import EsaError

# With these on, frames reach the switch unsegmented or merged, and without checksums.
OFFLOADS = ("tx", "rx", "sg", "tso", "gso", "gro")
QUEUE_BYTES = 512 * 1024  # of each end of a shaped link: about 1,600 fragments of 64 lanes
SWITCH_MAC = "02:00:00:00:00:fe"  # where hosts send what is for the switch itself: it answers no ARP


class NotRootError(EsaError, PermissionError):
    """Network namespaces and interfaces need root."""

    status = 2


def interface_exists(interface: str) -> bool:
    """Whether the root namespace has an interface of this name."""
    return Path("/sys/class/net", interface).exists()


def delete_interface(interface: str) -> str | None:
    """Delete an interface, of a pair the other one too, whatever namespace it is in; return what kept it, or None."""
    done = subprocess.run(["ip", "link", "delete", interface], capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else None


def require_root() -> None:
    """Raise NotRootError, one line, unless this process may make network namespaces."""
    if os.geteuid() != 0:
        raise NotRootError(
            "Mininet makes network namespaces, veth pairs and raw sockets, which needs root: run with sudo"
        )
    # Mininet waits for ever where its helper fails, as in a container without privileges or in a chroot.
    trial = subprocess.run(["mnexec", "-n", "true"], capture_output=True, text=True, timeout=10, check=False)
    if trial.returncode != 0:
        why = (trial.stderr or trial.stdout).strip().splitlines()
        raise NotRootError(
            f"Mininet's mnexec cannot make a network namespace here: {why[-1] if why else 'no reason given'}"
        )
