"""One rank of a bench: the same all-reduce again and again; prints "ready", reads a line, prints what each took.

Sums are put in the place of what is summed, as gloo has it. The first ones need not be counted: memory that nobody has
used before is zeroed by the kernel while they run, a fifth of their time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from esa.job import Job

RENDEZVOUS_PORT = 29500


def parser_of_a_rank(name: str, description: str | None) -> argparse.ArgumentParser:
    """What ranks of all-reduces are told: which job's, which one, how many float32, how often, after how many more."""
    parser = argparse.ArgumentParser(prog=f"python -m experiments.studies.bench.{name}", description=description)
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--values", type=int, required=True)
    parser.add_argument("--repeats", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    return parser


def main() -> None:
    parser = parser_of_a_rank("worker", __doc__)
    parser.add_argument("--gloo", action="store_true")
    options = parser.parse_args()
    job = Job.load(options.job)
    seconds = (_gloo if options.gloo else _switch)(job, options.rank, options.values, options.repeats, options.warm_up)
    print(json.dumps(seconds), flush=True)
    sys.stdin.readline()  # others may still need this rank's answers


def _switch(job: Job, rank: int, values: int, repeats: int, warm_up: int) -> list[float]:
    from esa.hosts import join

    own = np.arange(values, dtype=np.int32)
    lanes = np.empty_like(own)
    worker = join(job, rank=rank)
    print("ready", flush=True)
    sys.stdin.readline()
    seconds = []
    for _ in range(warm_up + repeats):
        np.copyto(lanes, own)
        start = time.perf_counter()
        worker.all_reduce(lanes, priority=9, out=lanes).result()
        seconds.append(time.perf_counter() - start)
        if lanes[-1] != own[-1] * job.fan_in:
            raise RuntimeError(f"rank {rank}: wrong sum")
    return seconds[warm_up:]


def _gloo(job: Job, rank: int, values: int, repeats: int, warm_up: int) -> list[float]:
    import torch
    import torch.distributed as dist

    rendezvous = f"tcp://{job.workers[0].ip}:{RENDEZVOUS_PORT}"
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=job.fan_in)
    tensor = torch.zeros(values)
    print("ready", flush=True)
    sys.stdin.readline()
    seconds = []
    for _ in range(warm_up + repeats):
        start = time.perf_counter()
        dist.all_reduce(tensor)
        seconds.append(time.perf_counter() - start)
    return seconds[warm_up:]


if __name__ == "__main__":
    main()
