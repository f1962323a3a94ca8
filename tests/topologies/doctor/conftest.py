"""A network namespace of its own for each test, with folders of its own: what is wrong there is what the test made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


class Place:
    """`esa` commands inside a namespace."""

    def __init__(self, namespace: str, folder: Path) -> None:
        self.namespace = namespace
        self.environment = os.environ | {
            "ESA_RUN_FOLDER": str(folder / "run"),
            "TMPDIR": str(folder / "tmp"),
            "PYTHONPATH": str(ROOT),
        }
        (folder / "tmp").mkdir()

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace, "sh", "-c", command],
            cwd=ROOT,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def do(self, command: str) -> None:
        done = self.run(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    def esa(self, arguments: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(f"{before} {sys.executable} -m experiments {arguments}", **environment)

    def findings(self, **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """`esa doctor`'s exit status, and every finding by its check."""
        done = self.esa("doctor --json", **environment)
        assert done.stdout, done.stderr
        return done.returncode, {one["check"]: one for one in json.loads(done.stdout)}

    def look(self, kind: str, check: str) -> dict[str, Any]:
        """The finding of one check, by its module in `topologies.doctor`: all of them import torch, for seconds."""
        text = f"import json; from topologies.doctor import {kind} as k; "
        text += "print(json.dumps([one.record() for one in k.check()]))"
        done = self.run(f"{sys.executable} -c '{text}'")
        assert done.returncode == 0, done.stderr
        found: dict[str, dict[str, Any]] = {one["check"]: one for one in json.loads(done.stdout)}
        return found[check]


@pytest.fixture
def place(root: None, tmp_path: Path) -> Iterator[Place]:
    name = f"doctor-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=30)
    try:
        made = Place(name, tmp_path)
        made.do("ip link set lo up")
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True, timeout=30)
