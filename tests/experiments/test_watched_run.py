"""`esa run --watch` on a terminal: what its tables show of a run under way, and what Ctrl-C leaves behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.experiments.started import STARTED
from tests.experiments.test_run import LIMIT_S, leftovers

# Too few rows for both jobs' windows, so that the PS has something to sum; the third job is not there yet.
SCENARIO = """
name = "watched"
aggregators = 32
[network]
rate = "100 Mb/s"
[[jobs]]
name = "mlp"
model = "mlp"
window = 64
iterations = 5000
[[jobs]]
name = "cnn"
model = "cnn"
window = 64
iterations = 5000
batch_size = 16
[[jobs]]
name = "later"
model = "mlp"
window = 64
iterations = 1
submit_s = 3000
"""
SIZE = (50, 120)  # lines, columns
HIDDEN, SHOWN = b"\x1b[?25l", b"\x1b[?25h"
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A terminal of its own: what a process writes on it is read meanwhile, and keys are pressed."""

    def __init__(self) -> None:
        self.keyboard, self.screen = os.openpty()
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        os.set_blocking(self.keyboard, False)
        self.written = b""

    def read(self) -> str:
        """All that was written on it until now, without what moves the cursor or colours it."""
        with contextlib.suppress(BlockingIOError):
            while octets := os.read(self.keyboard, 1 << 16):
                self.written += octets
        return ESCAPE.sub("", self.written.decode()).replace("\r\n", "\n")

    def press(self, key: bytes) -> None:
        os.write(self.keyboard, key)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    os.close(terminal.keyboard)
    os.close(terminal.screen)


def start(scenario: Path, terminal: Terminal) -> subprocess.Popen[str]:
    """It has the terminal for itself, in a session of its own: `setsid` becomes it."""
    process = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-m", "experiments", "run", scenario, "--watch"],
        stdin=terminal.screen,
        stdout=terminal.screen,
        stderr=terminal.screen,
        cwd=scenario.parent,
        text=True,
    )
    STARTED.append(process)
    return process


def last_row(text: str, table: str, name: str) -> list[str]:
    """The cells of a row as it was shown last; empty before it is."""
    _, _, shown = text.rpartition(table)
    rows = [line.split() for line in shown.splitlines() if line.startswith(f"{name} ")]
    return rows[0] if rows else []


@pytest.mark.timeout(3 * LIMIT_S)
def test_a_watched_run_shows_what_it_does_and_ctrl_c_gives_the_terminal_back(
    root: None, tmp_path: Path, terminal: Terminal
) -> None:
    (tmp_path / "watched.toml").write_text(SCENARIO)
    settings = termios.tcgetattr(terminal.screen)
    process = start(tmp_path / "watched.toml", terminal)
    deadline = time.monotonic() + LIMIT_S
    # mlp 12/5000 5.10 2.3 s 981.3 s 91.2% 8.8% 1.9; links are told of once they were read twice.
    while len(last_row(terminal.read(), "links, Mb/s", "host-0")) < 3:
        assert process.poll() is None, terminal.read()
        assert time.monotonic() < deadline, terminal.read()
        time.sleep(0.1)
    shown = terminal.read()
    for job in ("mlp", "cnn"):
        cells = last_row(shown, "JCT so far", job)
        done, rate, so_far_s, _, expected_s, _, by_switch, by_ps, loss = cells[1:]
        assert 0 < int(done.removesuffix("/5000")) < 5000
        assert float(rate) > 0
        assert 0 < float(so_far_s) < float(expected_s)
        assert float(by_switch.rstrip("%")) + float(by_ps.rstrip("%")) == pytest.approx(100, abs=0.11)
        assert float(loss) > 0
    assert last_row(shown, "JCT so far", "later") == ["later", "waits"]
    assert all(float(rate) > 0 for rate in last_row(shown, "links, Mb/s", "host-0")[1:])
    assert "rows, of 32" in shown
    assert terminal.written.count(HIDDEN) > 0
    terminal.press(b"\x03")
    assert process.wait(LIMIT_S) == 130
    told = terminal.read()
    assert terminal.written.rindex(SHOWN) > terminal.written.rindex(HIDDEN)
    assert told.splitlines()[-1] == "esa: interrupted; everything is stopped, what was measured is kept"
    assert told.count("interrupted") == 1
    assert "Traceback" not in told
    assert termios.tcgetattr(terminal.screen) == settings
    (summary,) = tmp_path.glob("results/watched-*/summary.json")
    kept = json.loads(summary.read_text())
    assert kept["incomplete"] == "interrupted"
    assert kept["jobs"][0]["iterations"] > 0
    assert leftovers(process.pid, tmp_path) == []
