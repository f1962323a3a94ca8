"""What is installed: Mininet and the programs that it calls, torch; p4c and BMv2, which few need."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from topologies.doctor.finding import MISSING, OK, WRONG, Finding, one_line

PROGRAMS = {  # what networks on this machine call, and the Debian packages that have it
    "ip": "iproute2",
    "tc": "iproute2",
    "ethtool": "ethtool",
    "sysctl": "procps",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
P4C = "p4c-bm2-ss"
BMV2 = ("simple_switch_grpc", "simple_switch_CLI")
FROM_P4LANG = "README.md, 'p4c and BMv2', says where p4lang has it"
TORCH_LIMIT_S = 120


def check() -> Iterator[Finding]:
    yield mininet_finding(importlib.util.find_spec("mininet") is not None, _version("mininet"))
    yield programs_finding({name: shutil.which(name) for name in PROGRAMS})
    yield optional_finding("p4c", {P4C: shutil.which(P4C)}, "the compiled program is in the repository")
    yield optional_finding("BMv2", {name: shutil.which(name) for name in BMV2}, "the embedded switch is there")


def mininet_finding(found: bool, version: str | None) -> Finding:
    if found:
        return Finding("Mininet", OK, f"version {version or 'unknown'}")
    own = "" if sys.prefix == sys.base_prefix else f" for {sys.executable}"
    mend = "sudo apt-get install mininet; the environment sees it with --system-site-packages (make setup makes it so)"
    return Finding("Mininet", MISSING, f"no Python package mininet{own}", mend)


def programs_finding(places: dict[str, str | None]) -> Finding:
    """places: of the programs by name, None: not on the PATH."""
    lacking = [name for name, place in places.items() if place is None]
    if not lacking:
        return Finding("programs", OK, f"{', '.join(places)} are on the PATH")
    packages = " ".join(sorted({PROGRAMS[name] for name in lacking}))
    return Finding("programs", MISSING, f"{', '.join(lacking)}: not on the PATH", f"sudo apt-get install {packages}")


def optional_finding(check: str, places: dict[str, str | None], instead: str) -> Finding:
    lacking = [name for name, place in places.items() if place is None]
    if not lacking:
        return Finding(check, OK, ", ".join(filter(None, places.values())), needed=False)
    said = f"{', '.join(lacking)}: not on the PATH; {instead}"
    return Finding(check, MISSING, said, FROM_P4LANG, needed=False)


class TorchTrial:
    """Imports torch in a process of its own while the block does other things.

    with TorchTrial() as torch:
        finding = torch.finding()
    """

    def __enter__(self) -> TorchTrial:
        self._process = subprocess.Popen(
            [sys.executable, "-c", "import torch; print(torch.__version__)"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def finding(self) -> Finding:
        try:
            printed, errors = self._process.communicate(timeout=TORCH_LIMIT_S)
        except subprocess.TimeoutExpired:
            return torch_finding(None, f"`import torch` is not through after {TORCH_LIMIT_S} s")
        return torch_finding(printed.strip() if self._process.returncode == 0 else None, one_line(errors))


def torch_finding(version: str | None, refusal: str) -> Finding:
    """version: None if it cannot be imported, for the reason `refusal`."""
    if version is not None:
        return Finding("torch", OK, f"version {version}")
    state = MISSING if "No module named 'torch'" in refusal else WRONG
    pip = Path(sys.prefix) / "bin" / "pip"
    return Finding("torch", state, refusal, f"{pip} install torch==2.13.0 (make setup takes the build for CPUs)")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
