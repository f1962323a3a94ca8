"""Compiled code is never that of an earlier source."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import esa
from esa.native import native_folder

PROGRAM = "from user import answer; print(answer())"
RULE = "from esa.native import native\n\n@native\ndef rule():\n    return {}\n"
USER = "from esa.native import native\nfrom esa.rule import rule\n\n@native\ndef answer():\n    return rule()\n"


def test_a_change_in_another_file_is_seen(tmp_path: Path) -> None:
    # `answer` holds the code of `rule`, and its own file does not change.
    package = tmp_path / "esa"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name in ("native.py", "sources.py"):
        shutil.copy(Path(esa.__file__).parent / name, package)
    (tmp_path / "user.py").write_text(USER)
    answers = []
    for value in (1, 2):
        (package / "rule.py").write_text(RULE.format(value))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=tmp_path,
            env={
                "XDG_CACHE_HOME": str(tmp_path / "cache"),
                "PYTHONPATH": str(tmp_path),
                "PYTHONDONTWRITEBYTECODE": "1",  # or an old .pyc of the same second is taken
            },
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
        answers.append(int(done.stdout))
    assert answers == [1, 2]


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
