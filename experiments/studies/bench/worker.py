"""One rank of a bench: the same all-reduce again and again; prints "ready", reads a line, prints what each took."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from esa.job import Job

RENDEZVOUS_PORT = 29500


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.bench.worker", description=__doc__)
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--values", type=int, required=True)
    parser.add_argument("--repeats", type=int, required=True)
    parser.add_argument("--gloo", action="store_true")
    options = parser.parse_args()
    job = Job.load(options.job)
    seconds = (_gloo if options.gloo else _switch)(job, options.rank, options.values, options.repeats)
    print(json.dumps(seconds), flush=True)
    sys.stdin.readline()  # others may still need this rank's answers


def _switch(job: Job, rank: int, values: int, repeats: int) -> list[float]:
    from esa.hosts import join

    lanes = np.arange(values, dtype=np.int32)
    worker = join(job, rank=rank)
    print("ready", flush=True)
    sys.stdin.readline()
    worker.all_reduce(lanes[:1000], priority=9).result()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        reduced = worker.all_reduce(lanes, priority=9).result()
        seconds.append(time.perf_counter() - start)
        if reduced.lanes[-1] != lanes[-1] * job.fan_in:
            raise RuntimeError(f"rank {rank}: wrong sum")
    return seconds


def _gloo(job: Job, rank: int, values: int, repeats: int) -> list[float]:
    import torch
    import torch.distributed as dist

    rendezvous = f"tcp://{job.workers[0].ip}:{RENDEZVOUS_PORT}"
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=job.fan_in)
    tensor = torch.zeros(values)
    dist.all_reduce(tensor[:1000])
    print("ready", flush=True)
    sys.stdin.readline()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        dist.all_reduce(tensor)
        seconds.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
