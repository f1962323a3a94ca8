"""Processes that a test has started: none outlives it."""

from __future__ import annotations

import subprocess

STARTED: list[subprocess.Popen[str]] = []


def end_all() -> None:
    """A test that fails leaves its run to nobody: it would go on for minutes."""
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)
