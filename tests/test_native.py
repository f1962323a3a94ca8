"""Compiled code is never that of an earlier source."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import esa
from esa.native_cache import native_folder

PROGRAM = "from esa.user import answer; print(answer())"
RULE = "from esa.native import native\n\n@native\ndef rule():\n    return {}\n"
USER = "from esa.native import native\nfrom esa.rule import rule\n\n@native\ndef answer():\n    return rule()\n"


def copy_of_package(folder: Path, value: int) -> None:
    package = folder / "esa"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    for name in ("native.py", "native_cache.py", "native_parts.py", "sources.py", "errors.py"):
        shutil.copy(Path(esa.__file__).parent / name, package)
    (package / "rule.py").write_text(RULE.format(value))
    (package / "user.py").write_text(USER)


def answer_of(folder: Path, cache: Path, program: str = PROGRAM) -> int:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={
            "XDG_CACHE_HOME": str(cache),
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",  # or an old .pyc of the same second is taken
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.slow
def test_a_change_in_another_file_is_seen(tmp_path: Path) -> None:
    # `answer` holds the code of `rule`, and its own file does not change.
    for value in (1, 2):
        copy_of_package(tmp_path, value)
        assert answer_of(tmp_path, tmp_path / "cache") == value


@pytest.mark.slow
def test_copies_of_the_same_code_share_its_machine_code(tmp_path: Path) -> None:
    written = []
    for number, folder in enumerate((tmp_path / "one", tmp_path / "two")):
        copy_of_package(folder, 7)
        for file in (folder / "esa").iterdir():
            os.utime(file, (1e9 + number, 1e9 + number))
        assert answer_of(folder, tmp_path / "cache") == 7
        written.append({path: path.stat().st_mtime_ns for path in tmp_path.joinpath("cache").rglob("*.nb?")})
    assert len(written[0]) == 2  # an index and the code of the one that Python calls, which has the other in it
    assert written[1] == written[0]


def test_old_versions_are_taken_away_once_nobody_uses_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    now = time.time()
    for age_s in (10, 20, 30, 40, 5000, 6000):
        old = tmp_path / "esa-native" / "esa.wire" / f"{age_s}"
        old.mkdir(parents=True)
        os.utime(old, (now - age_s, now - age_s))
    kept = native_folder.__wrapped__(Path(esa.__file__).with_name("wire.py"))
    names = {path.name for path in kept.parent.iterdir()}
    assert names == {kept.name, "10", "20", "30", "40"}  # those beyond three were used just now


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "esa.switch", "--no-p4"],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "file")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(r"esa: cache: cannot write \S+: Not a directory; allowed: XDG_CACHE_HOME=FOLDER\n", done.stderr)
