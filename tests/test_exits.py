"""Every command ends with the status that follows from what ended it, and one line that says it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from esa.errors import BadInput, SwitchError, Unreachable
from esa.exits import commands, exit_status

app = typer.Typer(cls=commands("tool"), no_args_is_help=True)
ENDINGS: dict[str, BaseException] = {
    "bad": BadInput("hosts: 0; allowed: 1 to 253"),
    "switch": SwitchError("the switch refused it"),
    "away": Unreachable("the switch does not answer"),
    "stopped": KeyboardInterrupt("interrupted; what was measured is kept"),
    "quietly": KeyboardInterrupt(),
    "bug": ZeroDivisionError("a bug"),
}


@app.command()
def end(how: str, times: int = 1) -> None:
    raise ENDINGS[how]


@app.command()
def fine(status: int = 0) -> None:
    raise typer.Exit(status)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["end", "bad"], 2, "tool: hosts: 0; allowed: 1 to 253\n"),
        (["end", "switch"], 1, "tool: the switch refused it\n"),
        (["end", "away"], 1, "tool: the switch does not answer\n"),
        (["end", "stopped"], 130, "tool: interrupted; what was measured is kept\n"),
        (["end", "quietly"], 130, ""),
        (["fine"], 0, ""),
        (["fine", "--status", "7"], 7, ""),
    ],
)
def test_the_status_and_the_line_of_each_ending(arguments: list[str], status: int, said: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.stderr) == (status, said)


@pytest.mark.parametrize("arguments", [["end", "bad", "--times", "x"], ["end", "bad", "--nosuch"], ["nosuch"], ["end"]])
def test_wrong_usage_is_one_line_and_2(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("tool: ")
    assert done.stderr.count("\n") == 1


def test_a_command_s_process_ends_without_looking_for_garbage() -> None:
    text = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0)); import esa.exits"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_without_a_command_there_is_help() -> None:
    done = CliRunner().invoke(app, [])
    assert "Usage: " in done.output


def test_a_bug_keeps_its_traceback() -> None:
    assert isinstance(CliRunner().invoke(app, ["end", "bug"]).exception, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        exit_status("tool", end, "bug")


def test_a_command_with_a_parser_of_its_own_ends_alike(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("tool", lambda: None) == 0
    assert exit_status("tool", lambda: 3) == 3
    assert exit_status("tool", end, "bad") == 2
    assert capsys.readouterr().err == "tool: hosts: 0; allowed: 1 to 253\n"
