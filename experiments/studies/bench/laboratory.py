"""What `esa cluster` takes of a processor and of memory, beside what it is meant to take at most.

    python -m experiments.studies.bench.laboratory      # the rows alone, which need no root

Each run is in a process of its own, so that the memory is its own, and goes by CPU time: what else a machine does then
hardly counts. Compiling is not in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.studies.bench.cpu import peak_memory_bytes
from experiments.studies.bench.errors import BenchError
from experiments.studies.bench.row import Row, row

LIMIT_S = 900
REPEATS = 3
FIFO_S, ARYL_S, TICK_MS, MEMORY_GIB = 2.0, 180.0, 5.0, 2.0  # at most
ASKED = "at most"
# Philly's jobs on 512 GPUs at a load of 0.9, in the mean: some 13 days.
FIFO = {
    "name": "fifo",
    "cluster": {"hosts": 64, "gpus": 8, "racks": 8},
    "synthetic": {"jobs": 50_000, "mean_interval_s": 23.2},
}


def measure(say: Callable[[str], None]) -> Iterator[Row]:
    """CPU seconds of FIFO and Aryl, milliseconds of a tick of ONES, peaks of memory; all several times."""
    say("laboratory")
    runs = {name: [_in_own_process(name) for _ in range(REPEATS)] for name in RUNS}
    fifo, aryl, ones = runs["fifo"], runs["aryl"], runs["ones"]
    jobs = f"{fifo[0]['jobs']:,} jobs under FIFO at level 0, CPU"
    yield row(jobs, "s", [one["cpu_s"] for one in fifo], ASKED, FIFO_S)
    days = f"15 days of Aryl, {aryl[0]['jobs']:,} jobs, a tick a minute, CPU"
    yield row(days, "s", [one["cpu_s"] for one in aryl], ASKED, ARYL_S)
    for mark in (50, 99):
        what = f"a tick of ONES for 64 GPUs, {mark} %, CPU"
        yield row(what, "ms", [one[f"p{mark}_ms"] for one in ones], ASKED, TICK_MS)
    memory = [max(one["peak_memory_bytes"] for one in found) / 2**30 for found in zip(fifo, aryl, ones, strict=True)]
    yield row("schedulers, peak memory of the process", "GiB", memory, ASKED, MEMORY_GIB)
    yield row("ten million additions of Python, CPU, for scale", "s", [one["scale_s"] for one in fifo])


def _in_own_process(name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "experiments.studies.bench.laboratory", name]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode:
        raise BenchError(f"{name}: status {done.returncode}: {' '.join(done.stderr.splitlines()[-1:])}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def fifo() -> dict[str, float]:
    """50,000 jobs, each iteration a second; and what the processor is like just then."""
    from experiments.specs.cluster import ClusterScenario
    from experiments.specs.toml_files import validated

    before = time.process_time()
    total = 0
    for number in range(10**7):
        total += number
    scale_s = time.process_time() - before
    return _run(validated(ClusterScenario, FIFO, "fifo")) | {"scale_s": scale_s}


def aryl() -> dict[str, float]:
    """The first seed of `esa study aryl` at its target."""
    from experiments.studies.laboratory.aryl import TARGET, scenario

    return _run(scenario(1, TARGET, "aryl", {}, {}))


def _run(scenario: Any) -> dict[str, float]:
    from experiments.laboratory.run import evaluate, laboratory_of

    small = scenario.model_copy(update={"synthetic": scenario.synthetic.model_copy(update={"jobs": 20})})
    evaluate(small, laboratory_of(small, Path()))  # compiled, or loaded from the cache
    before = time.process_time()
    laboratory = laboratory_of(scenario, Path())
    summary, _ = evaluate(scenario, laboratory)
    cpu_s = time.process_time() - before
    if summary.incomplete is not None:
        raise BenchError(f"{scenario.name}: {summary.incomplete}")
    return {"cpu_s": cpu_s, "jobs": len(summary.jobs)}


def ones() -> dict[str, float]:
    """Ticks of a long run, without those in which it learns."""
    from experiments.laboratory.ones import tick_times

    p50, p99 = np.percentile(tick_times(), (50, 99)).tolist()
    return {"p50_ms": p50, "p99_ms": p99}


RUNS: dict[str, Callable[[], dict[str, float]]] = {"fifo": fifo, "aryl": aryl, "ones": ones}


def main(names: list[str]) -> None:
    """One run's figures as JSON, or, without a name, all rows for people."""
    if names:
        found = RUNS[names[0]]()
        found["peak_memory_bytes"] = peak_memory_bytes()
        print(json.dumps(found))
        return
    for one in measure(lambda text: None):
        beside = "" if one.other_figure is None else f"; {one.other} {one.other_figure}"
        print(f"{one.what}: {one.figure} {one.unit}{beside}")


if __name__ == "__main__":
    main(sys.argv[1:])
