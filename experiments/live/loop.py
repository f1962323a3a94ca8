"""One rank that sums arrays for ever and checks every sum; without torch, so it starts quickly:

    python -m experiments.live.loop --job job.json --rank 0 --values 20000

Says what it does on stdout, a JSON object a line: "ready", then "sum" per all-reduce, at the end "end", or "error" or
"wrong". Reads "go" and "stop" from stdin; told to stop, it goes on until every rank was told, which the arrays
themselves say, and then answers its peers until stdin is closed.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from esa.hosts import AllReduceError, JoinError, WorkerEndpoint, join
from esa.job import Job
from esa.net.impairment import LinkFaults
from esa.protocol import Timers
from esa.startup import skip_scipy

RTO_FLOOR_NS = 20_000_000  # as many processes as cores, and more: a peer that waits for the CPU is not lost


def contribution(k: int, rank: int, values: int) -> npt.NDArray[np.int32]:
    """Rank `rank`'s array of the k-th all-reduce; element 0 is left to the caller."""
    numbers = np.arange(values, dtype=np.int64) * 7919 + k * 1_000_003 + rank * 104_729
    return ((numbers * 2_654_435_761 >> 7) % 2_000_001 - 1_000_000).astype(np.int32)


def expected(k: int, ranks: int, values: int) -> npt.NDArray[np.int32]:
    return np.sum([contribution(k, rank, values) for rank in range(ranks)], axis=0, dtype=np.int32)


def size(k: int, values: int) -> int:
    """Elements of the k-th array: between half of `values` and all."""
    return values - k * 7919 % max(1, values // 2)


def begin(*arguments: str) -> int:
    """As `main`, for who forks a process for it."""
    return main(list(arguments))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.live.loop", description=__doc__)
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--values", type=int, default=20_000)
    parser.add_argument("--priority", type=int, default=100)
    parser.add_argument("--pause", type=float, default=0.0, metavar="SECONDS", help="between two all-reduces")
    parser.add_argument("--faults", type=Path, help="what its link does to packets on purpose: a JSON file")
    options = parser.parse_args(arguments)
    job = Job.load(options.job)
    faults = None if options.faults is None else LinkFaults.model_validate_json(options.faults.read_text())

    def say(event: str, **more: object) -> None:
        print(json.dumps({"event": event, "t": time.monotonic(), **more}), flush=True)

    timers = Timers(rto_initial_ns=2 * RTO_FLOOR_NS, rto_floor_ns=RTO_FLOOR_NS)
    try:
        worker = join(job, rank=options.rank, faults=faults, timers=timers)
    except JoinError as error:
        say("error", message=str(error))
        return 1
    say("ready")
    sys.stdin.readline()
    told_to_stop = threading.Event()
    threading.Thread(target=lambda: sys.stdin.readline() and told_to_stop.set(), daemon=True).start()
    k = 0
    while True:
        lanes = contribution(k, options.rank, size(k, options.values))
        lanes[0] = told_to_stop.is_set()
        start = time.monotonic()
        before = worker.stats()["resends"], lost(worker)
        try:
            total = worker.all_reduce(lanes, priority=options.priority).result().lanes
        except (AllReduceError, OSError) as error:
            say("error", k=k, start=start, message=str(error))
            worker.close()
            return 1
        resends, gone = worker.stats()["resends"] - before[0], lost(worker) - before[1]
        if not 0 <= total[0] <= job.fan_in or np.any(total[1:] != expected(k, job.fan_in, len(lanes))[1:]):
            say("wrong", k=k)
            worker.close("a wrong sum")
            return 3
        say("sum", k=k, start=start, resends=resends, lost=gone)
        if total[0] == job.fan_in:
            break
        k += 1
        time.sleep(options.pause)
    say("end", stats=worker.stats(), faults=worker.faults())
    while sys.stdin.readline():
        pass
    worker.close()
    return 0


def lost(worker: WorkerEndpoint) -> int:
    """Packets lost on purpose so far."""
    return sum(counters["lost"] for counters in worker.faults().values())


if __name__ == "__main__":
    skip_scipy()
    sys.exit(main())
