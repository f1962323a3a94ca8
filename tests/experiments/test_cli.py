"""Bad input ends with one line and status 2, and nothing is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments import cli

DEFAULT = str(Path(__file__).parents[2] / "experiments" / "scenarios" / "default.toml")


def refused(arguments: list[str]) -> str:
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 2, result.output
    line = result.stderr.strip()
    assert "\n" not in line
    return line


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--policy", "best"], "policy: unknown policy 'best'; allowed: esa, atp, a2tp, switchml, ps"),
        (["--policy", "esa,gloo,best"], "policy: unknown policy 'best'"),
        (["--virtual", "--pcap"], "pcap: virtual time has switches of its own; allowed: without --virtual"),
        (["--loss", "2"], "loss: 2; allowed: 0 to 1"),
        (["--switch", "tofino"], "switch: unknown switch 'tofino'; allowed: embedded, bmv2"),
        (["--seed", "-1"], "seed: -1: input should be greater than or equal to 0"),
    ],
)
def test_bad_options_are_refused_before_anything_starts(options: list[str], message: str) -> None:
    assert message in refused(["run", DEFAULT, *options])
    assert not Path("results").exists()


def test_a_missing_scenario_is_named() -> None:
    assert "cannot read absent.toml" in refused(["run", "absent.toml"])


def test_results_that_cannot_be_written_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    Path("taken").write_text("a file")
    assert "results: cannot make the folder taken" in refused(["run", DEFAULT, "--results", "taken"])


def test_without_root_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in refused(["run", DEFAULT])
    assert "needs root" in refused(["stop"])
    assert not Path("results").exists()


def test_report_of_what_is_no_run_is_refused() -> None:
    assert "not the folder of a run" in refused(["report", "nowhere"])


def test_switch_takes_the_switch_s_own_arguments(capfd: pytest.CaptureFixture[str]) -> None:
    result = CliRunner().invoke(cli.app, ["switch", "--no-p4", "-i", "nonsense"])
    assert result.exit_code == 2
