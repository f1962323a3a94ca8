"""Random programs and packets on BMv2 and here; `python -m tests.switch.test_random_programs FIRST LAST` tries more."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from esa.switch import Pipeline
from tests.switch import bmv2_files
from tests.switch.random_programs import Program
from tests.switch.test_differential import ours, same

COMPILER = "p4c-bm2-ss"
PACKETS = 60


def try_seed(seed: int, folder: Path) -> None:
    """Raises AssertionError, which names the seed, if what leaves is not the same."""
    made = Program(seed)
    source, compiled = folder / f"program-{seed}.p4", folder / f"program-{seed}.json"
    source.write_text(made.text)
    done = subprocess.run([COMPILER, "-o", str(compiled), str(source)], capture_output=True, text=True, timeout=60)
    assert compiled.exists(), f"seed {seed}: {done.stderr}"
    packets = {0: [made.packet() for _ in range(PACKETS)]}
    theirs = bmv2_files.run(compiled, packets)
    assert theirs[1], f"seed {seed}: nothing leaves"
    try:
        same(theirs, ours(Pipeline.load(compiled.read_text(), compiled=False), packets))
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.bmv2
@pytest.mark.supports(
    "numbers: saturating addition and subtraction, up to 64 bits", "numbers: bit and int of up to 64 bits"
)
@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"needs {COMPILER} on the PATH")
@pytest.mark.parametrize("seed", [4, 9, 77])
def test_random_programs_are_bmv2s(seed: int, tmp_path: Path) -> None:
    try_seed(seed, tmp_path)


if __name__ == "__main__":
    first, last = map(int, sys.argv[1:])
    with tempfile.TemporaryDirectory() as place:
        for each in range(first, last + 1):
            try_seed(each, Path(place))
            print(f"seed {each}: the same", flush=True)
