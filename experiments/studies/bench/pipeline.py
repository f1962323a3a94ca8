"""Gradient packets per second through the generated pipeline, in memory, on one core: next to a copy of their bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from esa import wire
from esa.entries.direct import apply
from esa.entries.job_entries import InstalledJob, flood_group, host_entry, job_entries, job_group
from esa.job import Pool, Run
from esa.program import program
from esa.switch import PacketBatch, Pipeline
from experiments.studies.bench import frames
from experiments.studies.bench.errors import BenchError
from experiments.studies.bench.frames import WORKERS
from experiments.studies.bench.row import Row, row

FRAGMENTS, REPEATS = 1024, 25


def pipeline_of(runs: Sequence[Run], lanes: int, say: Callable[[str], None]) -> Pipeline:
    """A pipeline in which these runs of jobs are installed."""
    pipeline = Pipeline.load(program(lanes).json.read_text(), progress=say)
    hosts = {m.mac: m.switch_port for m in (*runs[0].workers, runs[0].server)}
    apply([flood_group(hosts.values())], pipeline)
    apply([host_entry(mac, port) for mac, port in hosts.items()], pipeline)
    for index, run in enumerate(runs, 1):
        installed = InstalledJob.of(run, index=index)
        apply([job_group(installed)], pipeline)
        apply(job_entries(installed), pipeline)
    return pipeline


def packets_of(runs: Sequence[Run], fragments: int, times: int = 1) -> PacketBatch:
    """Every worker's gradient of every fragment, worker by worker within a fragment; fragments of the runs in turn.

    All of it so many times, one after the other; frames of one length lie so in memory, too.
    """
    each = [frames.gradients(run, fragments) for run in runs]
    batch = PacketBatch(WORKERS * fragments * len(runs) * times, each[0].shape[-1])
    for seq in [*range(fragments)] * times:
        for run, gradients in zip(runs, each, strict=True):
            for rank, worker in enumerate(run.workers):
                batch.append(worker.switch_port, gradients[rank, seq].tobytes())
    return batch


def timed(pipeline: Pipeline, packets: PacketBatch, frame_bytes: int) -> tuple[list[float], list[float]]:
    """Million packets/s of the pipeline and of a copy of the frames, in turn, for each of the repeats. BenchError."""
    results = PacketBatch(2 * packets.count, packets.data.shape[1])
    copy = np.empty_like(packets.data)
    passed, copied = [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        sent = pipeline.process_batch(packets, 0, results)
        middle = time.perf_counter()
        copy[:, :frame_bytes] = packets.data[:, :frame_bytes]
        copied.append(packets.count / (time.perf_counter() - middle) / 1e6)
        passed.append(packets.count / (middle - start) / 1e6)
        if sent != packets.count:
            raise BenchError(f"pipeline: {sent} results instead of {packets.count}")
    return passed[1:], copied[1:]  # the first one finds no page of the results


def measure(say: Callable[[str], None]) -> Iterator[Row]:
    """A row per build, in million packets/s."""
    for lanes in wire.LANE_COUNTS:
        say(f"pipeline, {lanes} lanes")
        runs = [frames.job(lanes, pool=Pool(base=0, size=FRAGMENTS), window=FRAGMENTS).run(epoch=1)]
        passed, copied = timed(pipeline_of(runs, lanes, say), packets_of(runs, FRAGMENTS), wire.packet_bytes(lanes))
        yield row(f"pipeline, {lanes} lanes", "million packets/s", passed, "numpy copy of the frames", copied)
