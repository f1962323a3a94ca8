"""What a run that was killed may have left behind, found by the names of its interfaces."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from topologies.single_rack import require_root

INTERFACE = re.compile(r"esa(\d+)p\d+")  # esa<process id>p<port>, see `single_rack`
GRACE_S = 15.0  # for a run to end by itself


def stop_runs() -> Iterator[str]:
    """End every run on this machine and delete the interfaces that none owns; yields what was done, in words."""
    require_root()
    for pid in sorted({int(match[1]) for match in _interfaces()}):
        if _is_run(pid):
            os.kill(pid, signal.SIGTERM)
            yield f"asked run {pid} to stop"
    deadline = time.monotonic() + GRACE_S
    while any(_is_run(int(match[1])) for match in _interfaces()) and time.monotonic() < deadline:
        time.sleep(0.2)
    for match in _interfaces():
        # Its host's end, and with it the host's namespace, goes too.
        done = subprocess.run(["ip", "link", "delete", match[0]], capture_output=True, text=True, check=False)
        yield f"deleted interface {match[0]}" if done.returncode == 0 else f"{match[0]}: {done.stderr.strip()}"


def _interfaces() -> list[re.Match[str]]:
    return [match for path in Path("/sys/class/net").iterdir() if (match := INTERFACE.fullmatch(path.name))]


def _is_run(pid: int) -> bool:
    """A process id may be another program's by now."""
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return any(b"python" in word for word in command[:1]) and pid != os.getpid()
    return False
