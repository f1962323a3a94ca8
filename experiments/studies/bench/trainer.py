"""One rank of the bench of training: DDP iterations of a plain network; prints "ready", reads a line, prints phases.

For each iteration an object of JSON: seconds of all of it, and of each phase that `training` names (by gloo: none but
computing, and idle in the rest).
"""

# No `from __future__ import annotations` here: DDP compares the hook's annotations with types, not with strings.

import argparse
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from esa.job import Job
from esa.torch import EsaState, esa_hook
from esa.torch.timeline import BucketTimes

RENDEZVOUS_PORT = 29500
BATCH = 8
WARM_UP = 2  # DDP rebuilds its buckets after the first
Interval = tuple[float, float]


def covered(intervals: Iterable[Interval]) -> float:
    """Seconds during which at least one of the intervals is under way."""
    seconds, until = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        seconds += max(end, until) - max(begin, until) if end > until else 0.0
        until = max(until, end)
    return seconds


def phases(start: float, end: float, computed: float, buckets: Iterable[BucketTimes]) -> dict[str, float]:
    """The seconds of an iteration, all of them and in each phase; computed: when the last bucket was handed over."""
    found: dict[str, list[Interval]] = {"compute": [(start, computed)]}
    for name in ("quantise", "send", "switch", "receive", "dequantise"):
        found[name] = []
    for bucket in buckets:
        if bucket.taken_up is None or bucket.quantised is None or bucket.network is None:
            continue
        fed, came = bucket.network[:2], bucket.network[2:]
        found["quantise"].append((bucket.taken_up, bucket.quantised))
        found["send"].append((fed[0], fed[1]))
        found["switch"].append((fed[0], came[0]))
        found["receive"].append((came[0], came[1]))
        found["dequantise"].append((came[1], bucket.written))
    seconds = {name: covered(intervals) for name, intervals in found.items()}
    busy = covered(interval for intervals in found.values() for interval in intervals)
    return {"iteration": end - start, **seconds, "idle": max(end - start - busy, 0.0)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.bench.trainer", description=__doc__)
    parser.add_argument("--job", type=Path, required=True)
    for name in ("--rank", "--width", "--layers", "--iterations"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--device", default="cpu", help="cuda: the first GPU, which all ranks share")
    parser.add_argument("--gloo", action="store_true")
    options = parser.parse_args()
    job = Job.load(options.job)
    rendezvous = f"tcp://{job.workers[0].ip}:{RENDEZVOUS_PORT}"
    dist.init_process_group("gloo", init_method=rendezvous, rank=options.rank, world_size=job.fan_in)
    torch.manual_seed(1)
    layers = [nn.Linear(options.width, options.width) for _ in range(options.layers)]
    device = torch.device(options.device)
    model = DistributedDataParallel(nn.Sequential(*layers).to(device))
    buckets: list[BucketTimes] = []
    if not options.gloo:
        from esa.hosts import join

        worker = join(job, rank=options.rank)
        state = EsaState.of(job, worker, clock=time.monotonic, on_bucket=buckets.append)
        model.register_comm_hook(state, esa_hook)
    samples = torch.randn(BATCH, options.width).to(device)

    def iterate() -> dict[str, float]:
        buckets.clear()
        start = time.monotonic()
        model(samples).square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        end = time.monotonic()
        computed = max((each.launched for each in buckets), default=end)
        return phases(start, end, computed, buckets)

    for _ in range(WARM_UP):
        iterate()
    dist.barrier()
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps([iterate() for _ in range(options.iterations)]), flush=True)
    sys.stdin.readline()  # others may still need this rank's answers


if __name__ == "__main__":
    main()
