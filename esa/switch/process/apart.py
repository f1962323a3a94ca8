"""A program is compiled in a process of its own, which takes the memory that this needs with it when it ends.

python -m esa.switch.process.apart HALVES PRIORITIES < PROGRAM.json

HALVES: 1 for ports with queues, else 0. The machine code is kept on the disk, where the switch finds it.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable

from esa.startup import skip_scipy


def compile_apart(program: bytes, halves: bool, priorities: int, progress: Callable[[str], None]) -> None:
    """Compile BMv2 JSON; where that fails, `progress` is told, and whoever loads the program compiles it himself."""
    command = [sys.executable, "-m", "esa.switch.process.apart", str(int(halves)), str(priorities)]
    done = subprocess.run(command, input=program, check=False)
    if done.returncode:
        progress(f"the process that was to compile the P4 program ended with status {done.returncode}: compiling here")


def main() -> None:
    """Compile what is on standard input."""
    try:
        _compile()
    except Exception as error:  # one line: whoever started this process compiles, too, and says more
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(1)


def _compile() -> None:
    skip_scipy()
    gc.disable()  # a fifth of the time; what there is to collect goes with the process, and is 50 MiB
    from esa.switch.runtime.pipeline import Pipeline
    from esa.switch.runtime.queues import warm

    halves, priorities = bool(int(sys.argv[1])), int(sys.argv[2])
    pipeline = Pipeline.load(sys.stdin.buffer.read(), queues=halves, priorities=priorities)
    if pipeline.halves is not None:
        warm(pipeline, pipeline.halves, type(pipeline.halves_state))


if __name__ == "__main__":
    main()
