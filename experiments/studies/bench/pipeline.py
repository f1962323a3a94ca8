"""Gradient packets per second through the generated pipeline, in memory, on one core: next to a copy of their bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from statistics import median
from typing import Any

import numpy as np
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from esa import wire
from esa.entries.direct import apply
from esa.entries.job_entries import InstalledJob, flood_group, host_entry, job_entries, job_group
from esa.job import Job, Member, Pool, Run
from esa.program import program
from esa.scapy_layer import ESA
from esa.switch import PacketBatch, Pipeline
from experiments.studies.bench.errors import BenchError

WORKERS, FRAGMENTS, REPEATS = 4, 1024, 9


def _member(host: int, udp_port: int) -> Member:
    return Member(
        ip=IPv4Address(f"10.0.0.{host}"), mac=f"02:00:00:00:00:{host:02x}", udp_port=udp_port, switch_port=host
    )


def _job(lanes: int) -> Run:
    return Job(
        name="bench",
        job=1,
        policy="esa",
        lanes=lanes,
        workers=tuple(_member(rank + 1, 5000) for rank in range(WORKERS)),
        server=_member(WORKERS + 1, wire.ESA_PORT),
        switch_ip=IPv4Address("10.0.0.254"),
        pool=Pool(base=0, size=FRAGMENTS),
        window=FRAGMENTS,
    ).run(epoch=1)


def _gradients(job: Run) -> PacketBatch:
    """Every worker's gradient of every fragment, worker by worker within a fragment."""
    rng = np.random.default_rng(1)
    batch = PacketBatch(WORKERS * FRAGMENTS)
    for seq in range(FRAGMENTS):
        for rank, worker in enumerate(job.workers):
            frame = (
                Ether(dst=job.server.mac, src=worker.mac)
                / IP(src=str(worker.ip), dst=str(job.server.ip))
                / UDP(sport=worker.udp_port, dport=wire.ESA_PORT, chksum=0)
                / ESA(
                    job=job.job,
                    epoch=job.epoch,
                    seq=seq,
                    index=wire.aggregator_index(job.job, job.epoch, seq),
                    priority=9,
                    bitmap0=1 << rank,
                    bitmap1=1,
                    lanes=rng.integers(-(2**20), 2**20, job.lanes).tolist(),
                )
            )
            batch.append(worker.switch_port, bytes(frame))
    return batch


def measure(say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """One row per build, in million packets/s: median of the repeats, copy and pipeline in turn."""
    for lanes in wire.LANE_COUNTS:
        say(f"pipeline, {lanes} lanes")
        job = _job(lanes)
        pipeline = Pipeline.load(program(lanes).json.read_text(), progress=say)
        installed = InstalledJob.of(job, index=1)
        hosts = {m.mac: m.switch_port for m in (*job.workers, job.server)}
        apply([flood_group(hosts.values()), job_group(installed)], pipeline)
        apply([host_entry(mac, port) for mac, port in hosts.items()], pipeline)
        apply(job_entries(installed), pipeline)
        gradients, results = _gradients(job), PacketBatch(2 * WORKERS * FRAGMENTS)
        copy = np.empty_like(gradients.data)
        frame = wire.packet_bytes(lanes)
        pipeline_s, copy_s = [], []
        for _ in range(REPEATS):
            start = time.perf_counter()
            sent = pipeline.process_batch(gradients, 0, results)
            middle = time.perf_counter()
            copy[:, :frame] = gradients.data[:, :frame]
            copy_s.append(time.perf_counter() - middle)
            pipeline_s.append(middle - start)
            if sent != WORKERS * FRAGMENTS:
                raise BenchError(f"pipeline, {lanes} lanes: {sent} results instead of {WORKERS * FRAGMENTS}")
        packets = gradients.count / 1e6
        yield {
            "what": f"pipeline, {lanes} lanes",
            "figure": packets / median(pipeline_s),
            "unit": "million packets/s",
            "other": "numpy copy of the frames",
            "other_figure": packets / median(copy_s),
        }
