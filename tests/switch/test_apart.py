"""A program that is compiled in another process is on the disk for this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.switch.process.apart import compile_apart

PROGRAM = Path(__file__).parent / "programs" / "kept.json"


@pytest.mark.slow
@pytest.mark.parametrize("halves", [False, True])
def test_machine_code_is_on_the_disk_afterwards(halves: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    told: list[str] = []
    compile_apart(PROGRAM.read_bytes(), halves, 1, told.append)
    assert told == []
    functions = {path.name.split("-")[0] for path in tmp_path.glob("esa-switch/*/__pycache__/*.nbi")}
    assert functions == ({"program.ingress_step", "program.egress_step"} if halves else {"program.step"})


def test_what_cannot_be_compiled_there_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    compile_apart(b"{", False, 1, told.append)
    assert told == ["the process that was to compile the P4 program ended with status 1: compiling here"]
    assert capfd.readouterr().err.startswith("UnsupportedError: not JSON")
