"""A switch with all the ports that it may have: what it takes of memory."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.client import Switch
from esa.native_cache import cache_directory
from esa.program import program
from tests.switches import running_switch

PORTS = 511  # 511 itself is where dropped packets go
ALLOWED_MIB = 256


@pytest.fixture
def namespace(root: None) -> Iterator[str]:
    """A network namespace with the interfaces s0 to s510, veth pairs within it."""
    name = f"esa-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=20)
    pairs = [f"link add s{port} type veth peer name h{port}" for port in range(PORTS)]
    ups = [f"link set {end}{port} up" for port in range(PORTS) for end in "sh"]
    try:
        batch = "\n".join([*pairs, *ups])
        subprocess.run(["ip", "-n", name, "-batch", "-"], input=batch, text=True, check=True, timeout=60)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, timeout=60)


@pytest.mark.slow
@pytest.mark.timeout(300)  # a thousand interfaces, and all of a program compiled
def test_511_ports_and_the_program_of_64_lanes_fit_in_256_mib(
    namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """When the program is compiled, in a process of its own, and when its machine code is on the disk."""
    (tmp_path / "esa-native").symlink_to(cache_directory("esa-native"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    interfaces = {port: f"s{port}" for port in range(PORTS)}
    first, then = _most_mib(namespace, interfaces), _most_mib(namespace, interfaces)
    assert 100 < first < ALLOWED_MIB
    assert 100 < then < ALLOWED_MIB


def _most_mib(namespace: str, interfaces: dict[int, str]) -> float:
    """What a switch with these ports, and a program, had at most."""
    with (
        running_switch("embedded", interfaces=interfaces, namespace=namespace, patience_s=90, forked=False) as process,
        Switch.connect(process.address, process.device_id) as switch,
    ):
        switch.load(program(64))
        status = Path(f"/proc/{process.process.pid}/status").read_text()
    (most,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(most) / 1024
