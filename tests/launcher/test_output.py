"""What ranks print comes out in whole lines, each with its rank's prefix, on the stream that it was meant for."""

from __future__ import annotations

import io
import subprocess
import sys
import time

import pytest

from topologies.launcher.output import LONGEST_LINE, Output


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def passed_on(*scripts: str, out: io.BytesIO | None = None) -> tuple[bytes, bytes]:
    """What comes out on stdout and stderr when these Python scripts run side by side."""
    out, err = out or io.BytesIO(), io.BytesIO()
    output = Output(out, err)
    processes = []
    for rank, script in enumerate(scripts):
        command = [sys.executable, "-u", "-c", script]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output.add(process, str(rank), rank)
        processes.append(process)
    deadline = time.monotonic() + 30
    while output.open:
        assert time.monotonic() < deadline
        output.pump(0.1)
    output.close()
    for process in processes:
        process.wait(10)
    return out.getvalue(), err.getvalue()


def test_lines_written_in_pieces_by_two_stay_whole() -> None:
    pieces = "import sys, time\nfor i in range(20):\n sys.stdout.write('ab'); time.sleep(0.002); print('cd', i)"
    out, err = passed_on(pieces, pieces)
    lines = out.decode().splitlines()
    for rank in range(2):
        assert [line for line in lines if line.startswith(f"[{rank}]")] == [f"[{rank}] abcd {i}" for i in range(20)]
    assert (len(lines), err) == (40, b"")


def test_streams_are_kept_apart_and_a_last_line_needs_no_end() -> None:
    out, err = passed_on("import sys; print('to', 'stdout', end=''); print('to stderr', file=sys.stderr)")
    assert (out, err) == (b"[0] to stdout\n", b"[0] to stderr\n")


def test_bytes_that_are_no_text_and_empty_lines_pass() -> None:
    out, _ = passed_on(r"import os; os.write(1, b'\xff\x00\n\nx\r\n')")
    assert out == b"[0] \xff\x00\n[0] \n[0] x\r\n"


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    out, _ = passed_on(f"import os\nfor _ in range(4): os.write(1, b'x' * {LONGEST_LINE})")
    lines = out.splitlines()
    assert len(lines) > 1
    assert sum(len(line) - len("[0] ") for line in lines) == 4 * LONGEST_LINE


@pytest.mark.parametrize(
    ("terminal", "no_colour", "coloured"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_colours_are_for_terminals(
    terminal: bool, no_colour: bool, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    out, _ = passed_on("print('x')", out=Terminal() if terminal else io.BytesIO())
    assert out == (b"\033[36m[0]\033[0m x\n" if coloured else b"[0] x\n")
