"""Which files a module's behaviour comes from, held to what Python loads."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from esa import sources

POINT = """
import json, sys
from experiments.virtual.sweep import run_point
print(json.dumps([m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)]))
"""


def test_a_closure_has_whatever_python_loads_but_packages_that_are_passed_through() -> None:
    done = subprocess.run(
        [sys.executable, "-c", POINT], cwd=sources.ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {Path(file) for file in json.loads(done.stdout)}
    ours = {path for path in loaded if any(path.is_relative_to(sources.ROOT / name) for name in sources.PACKAGES)}
    found = set(sources.closure(sources.ROOT / "experiments/virtual/sweep.py"))
    assert sources.ROOT / "esa/sim/loop.py" in ours & found
    # A package's own file, passed through, loads others, too: they cannot change what was asked for.
    passed = [path for path in ours - found if path.name == "__init__.py"]
    assert ours - found <= {file for path in passed for file in sources.closure(path)}


def test_a_module_that_nobody_imports_is_in_no_closure() -> None:
    found = sources.closure(sources.ROOT / "esa/protocol/worker.py")
    assert sources.ROOT / "esa/wire.py" in found
    assert sources.ROOT / "esa/report/plots.py" not in found


def imported(tree: ast.AST) -> set[str]:
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))}


@pytest.mark.slow
def test_no_import_of_any_file_is_overlooked() -> None:
    files = [file for package in sources.PACKAGES for file in (sources.ROOT / package).rglob("*.py")]
    assert len(files) > 200
    for file in files:
        text = file.read_bytes()
        assert imported(ast.parse(text)) <= imported(sources._import_statements(text)), file


@pytest.mark.parametrize(
    "text",
    [
        "import esa",
        "import numpy as np, esa.wire as wire",
        "if True:\n    from esa import wire",
        "from esa.wire import (\n    Kind,  # one\n    ESA_PORT,\n)",
        "from esa.wire import (  # (all of it)\n    Kind,\n)",
        "from esa.wire import \\\n    Kind",
        "from esa.wire import*",
        "from . import wire",
        '"""\nfrom the beginning import nothing\n"""\nimport esa.wire',
    ],
)
def test_an_import_is_found_however_it_is_written(text: str) -> None:
    assert imported(ast.parse(text)) <= imported(sources._import_statements(text.encode()))
    assert imported(ast.parse(text))


def test_a_digest_changes_with_a_file_and_with_its_name(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("1")
    first = sources.digest([a])
    a.write_text("2")
    assert sources.digest([a]) != first
    b.write_text("1")
    assert sources.digest([b]) != first
