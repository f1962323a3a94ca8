"""Which build of the program the event loop runs, and when it is loaded and compiled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from esa.sim import simulate
from tests.sim.plans import job, plan

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop


def told(program: str) -> list[str]:
    """What a Python process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=250,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.slow
def test_no_program_is_loaded_before_a_simulation_asks_for_it() -> None:
    asks = "import esa.sim; from esa.sim.fabric.switches import loaded; "
    assert told(asks + "print(loaded.cache_info().currsize)") == ["0"]
    runs = "from tests.sim.plans import *; from esa.sim import simulate; simulate(plan(job(), lanes=64)); "
    assert told(asks + runs + "print(loaded.cache_info().currsize)") == ["1"]


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [0, 64])
def test_another_process_finds_the_machine_code_of_each_build(lanes: int) -> None:
    simulate(plan(job(), lanes=lanes))
    program = (
        "from tests.sim.plans import *; from esa.sim import loop, simulate; "
        f"simulate(plan(job(), lanes={lanes})); "
        "print(sum(loop.run.stats.cache_hits.values()), sum(loop.run.stats.cache_misses.values()))"
    )
    assert told(program) == ["1", "0"]
