"""Root, and what networks on this machine need of its kernel: each is tried, in a namespace that is gone at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from topologies.doctor.finding import MISSING, OK, WRONG, Finding, one_line

LIMIT_S = 20
ETH_P_ALL = 3


class Trial(NamedTuple):
    """A command that works where the kernel has what `check` says; else `mend` is what to do."""

    check: str
    command: str
    mend: str
    needed: bool = True


TRIALS = (
    Trial("network namespaces", "unshare -n true", "start the container with --privileged, or run on the machine"),
    Trial("Mininet's mnexec", "mnexec -n true", "sudo apt-get install mininet"),
    Trial("veth", "unshare -n ip link add esa-d0 type veth peer name esa-d1", "sudo modprobe veth"),
    Trial(
        "shaped links (tbf)",
        "unshare -n tc qdisc add dev lo root tbf rate 1mbit burst 10kb latency 10ms",
        "sudo modprobe sch_tbf",
    ),
    Trial(
        "tunnels (VXLAN)",
        "unshare -n ip link add esa-d0 type vxlan id 1 dstport 4789",
        "sudo modprobe vxlan",
        needed=False,
    ),
)


def check() -> Iterator[Finding]:
    root = os.geteuid() == 0
    yield root_finding(os.geteuid())
    for trial in TRIALS:
        yield trial_finding(trial, refusal(trial.command.split()) if root else "", root)
    yield packet_socket_finding(packet_socket_refusal() if root else "", root)
    yield loopback_finding(loopback_refusal())


def root_finding(user: int) -> Finding:
    if user == 0:
        return Finding("root", OK, "network namespaces may be made")
    return Finding("root", MISSING, f"this is user {user}; namespaces and raw sockets need root", _again_as_root())


def trial_finding(trial: Trial, refusal: str, root: bool) -> Finding:
    """refusal: why it did not work, empty: it did."""
    if not root:
        return Finding(trial.check, MISSING, "not tried without root", _again_as_root(), trial.needed)
    if refusal:
        return Finding(trial.check, WRONG, f"`{trial.command}`: {refusal}", trial.mend, trial.needed)
    return Finding(trial.check, OK, f"`{trial.command}` works", needed=trial.needed)


def packet_socket_finding(refusal: str, root: bool) -> Finding:
    check = "packet sockets (AF_PACKET)"
    if not root:
        return Finding(check, MISSING, "not tried without root", _again_as_root())
    if refusal:
        return Finding(check, WRONG, refusal, "start the container with --cap-add NET_RAW, or: sudo modprobe af_packet")
    return Finding(check, OK, "one could be opened")


def loopback_finding(refusal: str) -> Finding:
    if refusal:
        return Finding("loopback", WRONG, f"nothing reaches 127.0.0.1: {refusal}", "sudo ip link set lo up")
    return Finding("loopback", OK, "127.0.0.1 reaches 127.0.0.1")


def refusal(command: list[str]) -> str:
    """Why a command does not work, in one line; empty if it does."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"not at its end within {LIMIT_S} s"
    return "" if done.returncode == 0 else one_line(done.stderr or done.stdout)


def packet_socket_refusal() -> str:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)).close()
    except OSError as error:
        return str(error.strerror)
    return ""


def loopback_refusal() -> str:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=LIMIT_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _again_as_root() -> str:
    return f"sudo {Path(sys.prefix) / 'bin' / 'esa'} doctor"
