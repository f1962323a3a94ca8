"""What the fuzzer kept is replayed: as shipped and as plain Python, with the same outcome and nothing wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz import loop, machines, steps
from tests.fuzz.__main__ import main
from tests.fuzz.switch_target import SwitchTarget
from tests.fuzz.worker_target import WorkerTarget

pytestmark = pytest.mark.timeout(240)

_MAX_FILES, _MAX_BYTES = 300, 1 << 20


@pytest.mark.slow
@pytest.mark.parametrize("target_class", loop.TARGETS, ids=lambda t: t.name)
def test_the_corpus(target_class):
    target = target_class()
    kept = list(loop.load(target.name))
    assert kept
    for path, inputs in kept:
        try:
            loop.compare(target, inputs)
        except Exception as error:
            raise AssertionError(f"{path}\n{loop.describe(target, inputs)}") from error


@pytest.mark.slow
def test_what_counts_branches_knows_all_that_generated_code_calls():
    made = machines.counted()  # compiled when it is first called, and not here
    assert made.pipeline.step.dispatcher.py_func.__module__ == "counted.switch"


def test_the_corpus_is_small():
    files = list(loop.CORPUS.rglob("*.steps"))
    assert len(files) < _MAX_FILES
    assert sum(path.stat().st_size for path in files) < _MAX_BYTES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seconds", "0"], "fuzz: SECONDS=0: a whole number from 1 to 86400\n"),
        (["--seconds", "ten"], "fuzz: SECONDS=ten: a whole number from 1 to 86400\n"),
        (["--seconds=-5"], "fuzz: SECONDS=-5: a whole number from 1 to 86400\n"),
        (["--seed", "x"], f"fuzz: SEED=x: a whole number from 0 to {2**63 - 1}\n"),
        (["--targets", "switch,ps"], "fuzz: TARGETS=ps: one of switch, worker, server, system\n"),
    ],
)
def test_bad_input_is_refused_in_one_line(capsys, arguments, message):
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    assert (status, capsys.readouterr().err) == (2, message)


def test_a_failing_input_becomes_short_and_readable():
    target = WorkerTarget()
    inputs = target.genuine[:40].copy()
    inputs["fill"][17] = 77
    short = loop.shrunk(inputs, lambda s: bool(np.any(s["fill"] == 77)))
    assert len(short) == 1
    assert short.dtype == steps.STEP
    text = loop.describe(target, short)
    assert "[ ESA ]" in text
    assert "seq " in text
    switch = SwitchTarget()
    assert "[ Ethernet ]" in loop.describe(switch, switch.genuine[:1])


def test_inputs_repeat_for_a_seed():
    genuine = WorkerTarget().genuine
    first, second = (
        steps.mutated(np.random.default_rng(3), genuine[:5], genuine[5:9], genuine).tobytes() for _ in range(2)
    )
    assert first == second


@pytest.mark.slow
def test_the_generated_switch_does_not_depend_on_the_hash_seed():
    """Else Numba would compile it again in every process."""
    code = (
        "from esa.program import program; from esa.switch import Pipeline; "
        "print(Pipeline.load(program(64).json.read_text(), compiled=False).source)"
    )
    root = Path(__file__).parents[2]
    texts = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, cwd=root,
            capture_output=True, check=True, timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(texts) == 1
