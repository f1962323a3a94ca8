"""A worker: one rank of one job, real PyTorch DDP training. The run forks it (`topologies.forked`).

Records go to stdout, one JSON object a line; everything else to stderr. It waits for the line "join" on stdin, says
"ready" when all is set up and warm, waits for "go", trains, and says "end". Times are seconds of the machine's
monotonic clock.
"""

# No `from __future__ import annotations` here: DDP compares the hook's annotations with types, not with strings.

import contextlib
import copy
import dataclasses
import hashlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, TextIO

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from esa.job import Job
from esa.torch import EsaState, Statistics, Timeline, esa_hook
from esa.torch.messages import MessageTransport
from esa.torch.timeline import BucketTimes
from esa.transport import SumTimes, Transport
from experiments.live.models import MODELS, batches, load_data
from experiments.live.snapshots import KEPT, snapshot
from experiments.live.task import TrainingTask

torch.use_deterministic_algorithms(True)  # imports as much again: here, so that ranks are forked after it

GLOO_TIMEOUT = timedelta(seconds=120)
WARM_UP_ITERATIONS = 2  # DDP rebuilds its buckets after the first
MOMENTUM = 0.9
NETWORK_COUNTS = ("fragments", "resends", "via_ps", "ecn", "duplicates", "queries", "answers")


class Aggregation:
    """Sums the gradients of DDP models: over the switch, the same integers by gloo, or with gloo's ordinary all-reduce.

    Measures all alike.
    """

    def __init__(
        self, task: TrainingTask, rank: int, wait_for: Callable[[str], None], iterations_done: int = 0
    ) -> None:
        self._iterations = task.iterations - iterations_done
        self._job = self._worker = self._messages = None
        if task.aggregation is not None and task.by_messages:
            self._job = Job.load(task.aggregation)
            wait_for("join")
        elif task.aggregation is not None:
            from esa.hosts import join  # gloo alone does without its compiler
            from esa.hosts.warm import say_compiling, warm

            self._job = Job.load(task.aggregation)
            warm(say_compiling)  # while the control plane starts
            wait_for("join")
            self._worker = join(
                self._job,
                task.controller,
                rank=rank,
                size=task.workers,
                faults=task.faults[rank] if task.faults else None,
                timers=task.timers,
            )
        else:
            wait_for("join")

    @contextlib.contextmanager
    def of(
        self, model: DistributedDataParallel, on_bucket: Callable[[BucketTimes], None] | None = None
    ) -> Iterator[Callable[[], Statistics]]:
        """Register the hook for the block's length; yields a function that returns the totals so far."""
        if self._job is None:
            timeline = Timeline(Statistics())
            model.register_comm_hook((timeline, on_bucket), timed_allreduce)
            yield lambda: timeline.statistics
            dist.barrier()
        else:
            settings = {"total_iterations": self._iterations, "clock": time.monotonic, "on_bucket": on_bucket}
            state = EsaState.of(self._job, self._transport(self._job), **settings)
            model.register_comm_hook(state, esa_hook)
            yield lambda: state.statistics
            state.close()  # not after an error: it waits for what may not come

    def _transport(self, job: Job) -> Transport:
        """One for all models; without rows by gloo, among all ranks at once."""
        if self._worker is not None:
            return self._worker
        if self._messages is None:
            self._messages = MessageTransport(fragment_lanes=job.lanes, timeout_s=job.wait_limit_s)
        return self._messages

    def network_statistics(self) -> dict[str, float]:
        """Counts of this worker's packets since its start."""
        return {} if self._worker is None else self._worker.stats()

    def faults(self) -> dict[str, dict[str, int]]:
        """What was done to this worker's packets on purpose since its start."""
        return {} if self._worker is None else self._worker.faults()

    def close(self, why: str | None = None) -> None:
        if self._worker is not None:
            self._worker.close(why)


def timed_allreduce(
    told: tuple[Timeline, Callable[[BucketTimes], None] | None], bucket: dist.GradBucket
) -> torch.futures.Future[torch.Tensor]:
    """DDP's own all-reduce, its times noted."""
    timeline, on_bucket = told
    launched, index = time.monotonic(), bucket.index()
    timeline.launched(launched, bucket.is_last())
    timeline.statistics.buckets += 1
    timeline.statistics.bytes += bucket.buffer().nbytes
    future = allreduce_hook(dist.group.WORLD, bucket)

    def completed(done: torch.futures.Future[torch.Tensor]) -> torch.Tensor:
        now = time.monotonic()
        timeline.completed(now)
        if on_bucket is not None:
            on_bucket(BucketTimes(index, launched, None, None, None, now))
        return done.value()

    return future.then(completed)  # what waits for the sum waits until it is noted


def bucket_record(times: BucketTimes) -> list[float | None]:
    """As records have it: the bucket's number, then what `esa.report.live_trace.TIMES` names."""
    network = times.network or (None,) * len(SumTimes._fields)
    return [times.bucket, times.launched, times.taken_up, times.quantised, *network, times.written]


@dataclasses.dataclass
class Counted:
    """Of a rank's iterations, also those before its job was stopped."""

    statistics: dict[str, float]
    network: dict[str, float]

    def plus(self, statistics: Statistics, network: dict[str, float]) -> "Counted":
        return Counted(_added(self.statistics, dataclasses.asdict(statistics)), _added(self.network, network))


def _added(before: dict[str, float], now: dict[str, float]) -> dict[str, float]:
    return {name: before.get(name, 0) + value for name, value in now.items()}


class Snapshots:
    """A rank's, of its last iterations; none are written where the task names no folder."""

    def __init__(self, task: TrainingTask, rank: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        self._task, self._rank = task, rank
        self._model, self._optimiser = model, optimiser

    def load(self, iterations: int) -> Counted:
        """Take model and optimiser to where they were after so many iterations; 0: leave them as they are."""
        if iterations == 0:
            return Counted({}, {})
        kept = torch.load(self._path(iterations), weights_only=True)
        self._model.load_state_dict(kept["model"])
        self._optimiser.load_state_dict(kept["optimiser"])
        return Counted(**kept["counted"])

    def save(self, iterations: int, counted: Callable[[], Counted]) -> None:
        if self._task.snapshots is None:
            return
        path = self._path(iterations)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {
            "model": self._model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "counted": dataclasses.asdict(counted()),
        }
        torch.save(kept, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)  # whoever dies while it writes leaves no half of one
        self._path(iterations - KEPT).unlink(missing_ok=True)

    def _path(self, iterations: int) -> Path:
        assert self._task.snapshots is not None
        return snapshot(self._task.snapshots, self._task.job, self._rank, iterations)


def train(
    task: TrainingTask,
    rank: int,
    record: Callable[..., None],
    wait_for: Callable[[str], None],
    iterations_done: int = 0,
) -> None:
    """Train one rank from rendezvous to the last weights; iterations_done: of those, before its job was stopped."""
    torch.set_num_threads(1)
    torch.manual_seed(task.seed)
    model = MODELS[task.model]()  # the same seed gives every rank the same weights
    optimiser = torch.optim.SGD(model.parameters(), lr=task.learning_rate, momentum=MOMENTUM)
    snapshots = Snapshots(task, rank, model, optimiser)
    earlier = snapshots.load(iterations_done)
    aggregation = Aggregation(task, rank, wait_for, iterations_done)
    data = load_data(task.data)  # there before anybody is told to join
    samples = batches(len(data.train_labels), task.batch_size, rank, task.workers, task.seed, task.iterations)
    dist.init_process_group(
        "gloo", init_method=f"tcp://{task.rendezvous}", rank=rank, world_size=task.workers, timeout=GLOO_TIMEOUT
    )
    cap = task.bucket_cap_mb

    def gradients(ddp: nn.Module, chosen: torch.Tensor) -> float:
        loss = nn.functional.cross_entropy(ddp(data.train_images[chosen]), data.train_labels[chosen])
        loss.backward()
        return loss.item()

    # On a copy, so that neither weights nor measurements know of it.
    warm = DistributedDataParallel(copy.deepcopy(model), bucket_cap_mb=cap)
    with aggregation.of(warm):
        for _ in range(WARM_UP_ITERATIONS):
            gradients(warm, samples[0])
    del warm

    ddp = DistributedDataParallel(model, bucket_cap_mb=cap)
    buckets: list[BucketTimes] = []
    with aggregation.of(ddp, buckets.append) as totals:
        before = aggregation.network_statistics()

        def network() -> dict[str, float]:
            now = aggregation.network_statistics()
            return {name: now[name] - before[name] for name in NETWORK_COUNTS if name in now}

        record("ready")
        wait_for("go")
        for iteration, chosen in enumerate(samples[iterations_done:], iterations_done):
            start = time.monotonic()
            optimiser.zero_grad()
            loss = gradients(ddp, chosen)
            optimiser.step()
            seconds = time.monotonic() - start
            snapshots.save(iteration + 1, lambda: earlier.plus(totals(), network()))
            through, buckets[:] = list(map(bucket_record, buckets)), []
            counts = network()
            sums = {"buckets": through, **{name: int(counts.get(name, 0)) for name in ("fragments", "via_ps")}}
            record("iteration", iteration=iteration, loss=loss, seconds=seconds, **sums)
        end = time.monotonic()
        sent = network()
    counted = earlier.plus(totals(), sent)
    loss, accuracy = evaluate(model, data.test_images, data.test_labels)
    record(
        "end",
        end=end,
        loss=loss,
        accuracy=accuracy,
        weights_sha256=digest(model),
        statistics=counted.statistics,
        network=counted.network,
        faults=aggregation.faults(),
    )
    aggregation.close()
    dist.destroy_process_group()


def evaluate(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Mean cross-entropy and accuracy."""
    model.eval()
    with torch.no_grad():
        scores = model(images)
    return nn.functional.cross_entropy(scores, labels).item(), (scores.argmax(1) == labels).float().mean().item()


def digest(model: nn.Module) -> str:
    """SHA-256 over every weight, in the order of their names."""
    total = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        total.update(name.encode())
        total.update(value.contiguous().numpy().tobytes())
    return total.hexdigest()


def begin(path: Path, rank: int, iterations_done: int) -> NoReturn:
    """Be rank `rank` of the job whose task file this is, which has so many iterations behind it."""
    task = TrainingTask.model_validate_json(path.read_text())
    records = _take_stdout()

    def record(event: str, **values: Any) -> None:
        line = {"event": event, "job": task.job, "rank": rank, "t": time.monotonic(), **values}
        records.write(json.dumps(line) + "\n")
        records.flush()

    def wait_for(word: str) -> None:
        if sys.stdin.readline() != f"{word}\n":
            raise EOFError("the run ended before the training was started")

    try:
        train(task, rank, record, wait_for, iterations_done)
    except BaseException as error:
        traceback.print_exc()
        record("error", message=f"{type(error).__name__}: {error}")
        leave(1)
    leave(0)


def leave(status: int) -> NoReturn:
    """End without taking torch down, which takes seconds, and after an error may wait for peers that will not come."""
    sys.stderr.flush()
    os._exit(status)


def _take_stdout() -> TextIO:
    """Keep stdout for the records: what libraries print goes to stderr."""
    records = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return records
