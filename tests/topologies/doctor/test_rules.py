"""What findings mean, on plain values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from controller.commands.supervise import COORDINATOR_ADDRESS
from esa.switch.process.options import parse
from topologies.doctor import caches, interfaces, kernel, packages, ports
from topologies.doctor.finding import NOTHING_WRONG, Finding, one_line, short
from topologies.interfaces import OFFLOADS

TRIAL = kernel.Trial("veth", "unshare -n true", "modprobe veth")
USE = ports.Use("tcp", 9559, "esa-switch", "another port")


def test_a_line_says_state_check_what_and_how_to_mend() -> None:
    assert Finding("root", "ok", "is there").line == "ok      root: is there"
    assert Finding("x", "wrong", "is bad", "do y").line == "wrong   x: is bad; mend: do y"
    optional = Finding("p4c", "missing", "none", "install", needed=False)
    assert optional.line == "missing p4c: none (live runs do without); mend: install"
    assert list(short([optional])) == [NOTHING_WRONG]
    assert list(short([optional, Finding("x", "wrong", "is bad")])) == ["wrong   x: is bad"]


def test_what_a_command_said_last_is_its_reason() -> None:
    assert one_line("a\n  b  c \n\n") == "b c"
    assert one_line("") == "it does not say why"


@pytest.mark.parametrize(
    ("refusal", "root", "state"), [("", True, "ok"), ("Operation not permitted", True, "wrong"), ("", False, "missing")]
)
def test_a_trial(refusal: str, root: bool, state: str) -> None:
    finding = kernel.trial_finding(TRIAL, refusal, root)
    assert (finding.state, refusal in finding.said) == (state, True)
    assert bool(finding.mend) == (state != "ok")


def test_a_command_that_fails_says_why() -> None:
    assert kernel.refusal(["true"]) == ""
    assert kernel.refusal(["sh", "-c", "echo no such thing >&2; exit 3"]) == "no such thing"
    assert kernel.refusal(["no-such-program"]) == "no-such-program: No such file or directory"


def test_offloads_that_are_on() -> None:
    text = "Features for x:\nrx-checksumming: on\ntx-checksumming: off\n\ttx-checksum-ipv4: on\nscatter-gather: on\n"
    text += "tcp-segmentation-offload: on [fixed]\ngeneric-receive-offload: on\n"
    assert interfaces.offloads_on(text) == ["rx", "sg", "gro"]
    assert set(interfaces.FEATURES) == set(OFFLOADS)


def test_ports_in_the_kernels_tables() -> None:
    lines = [
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
        "   0: 0100007F:2557 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0",
        "   1: 0100007F:2557 0100007F:8F12 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0",
    ]
    assert list(ports.sockets(lines, ports.LISTEN)) == [(9559, "4711")]


def test_ports_are_those_that_commands_use() -> None:
    assert f"127.0.0.1:{ports.COORDINATOR_PORT}" == COORDINATOR_ADDRESS
    assert parse(["--no-p4"]).grpc_address == f"127.0.0.1:{ports.SWITCH_PORT}"


def test_the_doctor_looks_where_little_is_installed() -> None:
    text = "import sys, topologies.doctor; print([n for n in ('mininet', 'torch', 'grpc', 'rich') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_a_port_that_our_own_program_has_is_right() -> None:
    ours = ports.Holder("tcp", 9559, 5, "python3 -m esa.switch --no-p4")
    other = ports.Holder("tcp", 9559, 6, "nginx")
    unknown = ports.Holder("tcp", 9559, 0, "")
    assert ports.port_finding(USE, [ours]).state == "ok"
    assert ports.port_finding(USE, []).state == "ok"
    assert ports.port_finding(USE, [other]).mend == "end it (kill 6), or: another port"
    assert ports.port_finding(USE, [unknown]).said == "esa-switch uses it, and another user's process has it"


def test_caches() -> None:
    def cache(**changes: object) -> Finding:
        given = caches.Cache(Path("/c"), True, 3 << 20, 2 * caches.DAY_S, True)._replace(**changes)
        return caches.cache_finding("esa-native", "loops", given)

    assert cache().said == "3 MiB of loops in /c, the oldest 2 days old"
    assert (cache(there=False).state, cache(writable=False).bad) == ("ok", True)
    large = cache(size=caches.LARGE_BYTES + 1)
    assert (large.state, large.bad, large.mend.startswith("rm -r /c")) == ("wrong", False, True)


@pytest.mark.parametrize(
    ("version", "refusal", "state"),
    [
        ("2.13.0", "", "ok"),
        (None, "ModuleNotFoundError: No module named 'torch'", "missing"),
        (None, "ImportError: x", "wrong"),
    ],
)
def test_torch(version: str | None, refusal: str, state: str) -> None:
    assert packages.torch_finding(version, refusal).state == state
