"""Metrics as Prometheus gets them, and promtool's word on them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool on the PATH (Debian's prometheus)"
)


def asked(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return str(answer.read().decode())


def values(text: str) -> Mapping[tuple[str, tuple[str, ...]], float]:
    """By name and labels' values, in the order of the labels' names; without those of the process itself."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.startswith("process_")
    }


def free_ports(count: int) -> str:
    """An address of this machine of which so many ports in a row are free, the first of them: HOST:PORT.

    They are below those that the kernel gives to whoever connects.
    """
    for first in range(10000 + os.getpid() % 1000 * 8, 32000, count):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + count):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return f"127.0.0.1:{first}"
    raise AssertionError("no free ports")


def check_with_promtool(text: str) -> None:
    """Its linter finds nothing; skipped where it is not installed by `needs_promtool`."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
