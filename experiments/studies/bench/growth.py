"""What a gradient packet costs as jobs and rows become more: the pipeline in memory, payload-free, one core."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from esa import wire
from esa.job import Pool
from experiments.studies.bench import frames
from experiments.studies.bench.pipeline import packets_of, pipeline_of, timed
from experiments.studies.bench.row import Row, row

MANY_JOBS = 255  # at a time
FEW_ROWS = 256
ROWS = 65_536  # of the payload-free build
LANES = 0


def _rates(jobs: int, rows_of_each: int, say: Callable[[str], None]) -> list[float]:
    """Million packets/s; the pools of the jobs follow each other. However many rows: as many packets."""
    say(f"pipeline, {jobs} jobs with {rows_of_each:,} rows each")
    pools = [Pool(base=number * rows_of_each, size=rows_of_each) for number in range(jobs)]
    runs = [frames.job(LANES, number=n, pool=pool, window=FEW_ROWS).run(epoch=1) for n, pool in enumerate(pools, 1)]
    packets = packets_of(runs, rows_of_each, times=ROWS // (rows_of_each * jobs))
    return timed(pipeline_of(runs, LANES, say), packets, wire.packet_bytes(LANES))[0]


def measure(say: Callable[[str], None]) -> Iterator[Row]:
    """Rows of ratios: many jobs over one with as many rows, many rows over few."""
    unit = "million packets/s"
    few, many, jobs = _rates(1, FEW_ROWS, say), _rates(1, ROWS, say), _rates(MANY_JOBS, FEW_ROWS, say)
    yield row(f"pipeline, 0 lanes, one job, {ROWS:,} rows in use", unit, many, f"{FEW_ROWS} rows", few)
    what = f"pipeline, 0 lanes, {MANY_JOBS} jobs with {FEW_ROWS} rows each"
    yield row(what, unit, jobs, f"one job with {ROWS:,} rows", many)
