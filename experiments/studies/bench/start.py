"""How long users wait before anything happens: imports, the command, the first load of a program and the next ones."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from experiments.studies.bench.errors import BenchError
from experiments.studies.bench.row import Row, row

REPEATS = 5
LIMIT_S = 300.0
LANES = 64
_LOAD = f"""
from esa.program import program
from esa.switch import Pipeline
Pipeline.load(program({LANES}).json.read_text())
"""


def _seconds(*words: str, **environment: str) -> float:
    """What a command takes from its start to its end."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=LIMIT_S, env=os.environ | environment
    )
    if done.returncode:
        raise BenchError(f"{' '.join(words)}: {' '.join(done.stderr.splitlines()[-1:])}")
    return time.perf_counter() - start


def measure(say: Callable[[str], None]) -> Iterator[Row]:
    """Seconds of whole processes, the interpreter's own start and the imports among them."""
    say("imports, and a program's first and next load")
    repeats = range(REPEATS)
    yield row("import esa", "s", [_seconds("-c", "import esa") for _ in repeats], "python alone",
              [_seconds("-c", "") for _ in repeats])  # fmt: skip
    yield row("esa --help", "s", [_seconds("-m", "experiments", "--help") for _ in repeats])
    yield row("import esa.torch", "s", [_seconds("-c", "import esa.torch") for _ in repeats], "import torch",
              [_seconds("-c", "import torch") for _ in repeats])  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="esa-bench-") as folder:
        first = _seconds("-c", _LOAD, XDG_CACHE_HOME=folder)
        cached = [_seconds("-c", _LOAD, XDG_CACHE_HOME=folder) for _ in repeats]
    yield row(f"program of {LANES} lanes, first load with nothing compiled", "s", first, "compiled before", cached)
