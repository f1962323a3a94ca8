"""Compiled code is never that of an earlier source."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import esa

PROGRAM = "from user import answer; print(answer())"
RULE = "from esa.native import native\n\n@native\ndef rule():\n    return {}\n"
USER = "from esa.native import native\nfrom esa.rule import rule\n\n@native\ndef answer():\n    return rule()\n"


def test_a_change_in_another_file_is_seen(tmp_path: Path) -> None:
    # `answer` holds the code of `rule`, and its own file does not change.
    package = tmp_path / "esa"
    package.mkdir()
    (package / "__init__.py").write_text("")
    shutil.copy(Path(esa.__file__).parent / "native.py", package)
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
