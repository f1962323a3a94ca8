"""PyTorch DistributedDataParallel over in-network aggregation: a communication hook and its state.

    with WorkerEndpoint(job, rank) as worker, EsaState(worker, fraction_bits=job.fraction_bits) as state:
        model.register_comm_hook(state, esa_hook)
        ...  # train as usual

Two threads stand behind each transport, in front of and behind the network:

    hook -> [submit: quantise, all_reduce] -> network -> [finish: redo or dequantise, average] -> DDP

so that neither quantising nor an exponent-only round nor a redo ever holds up the backward pass. Sums are matched by
nothing but their order, so every rank must submit the same buckets in the same order. Two queues, each emptied by one
thread, keep the order in which the hooks were called, which DDP makes the same on every rank; all states on one
transport share these queues. A redo is a collective operation and needs the same order too: it happens in the finish
thread, and whether it happens is decided by the network's maximum of the exponents, which every rank reads alike.

An error is final for its transport: after it the ranks may be out of step, and a wrong sum would be worse.
"""

# No `from __future__ import annotations` here: DDP compares the hook's annotations with types, not with strings.

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from esa.priority import HIGHEST, LOWEST, Priority, PriorityFunction, Urgency
from esa.quantize import (
    EXPONENT_MIN,
    adaptive_fraction_bits,
    block_exponent,
    dequantise,
    quantise,
    quantise_block,
)
from esa.wire import EXPONENT_POISON

EWMA_WEIGHT = 0.25  # of the newest iteration in the measured times behind the priority


class ReducedLike(Protocol):
    """A sum: `lanes` (n,) int32 and the maximum of the workers' `exponent`s."""

    @property
    def lanes(self) -> NDArray[np.int32]: ...

    @property
    def exponent(self) -> int: ...


class Pending(Protocol):
    """A sum on its way; `concurrent.futures.Future` is one."""

    def result(self) -> ReducedLike:
        """Wait for the sum; raise if there will be none."""


class Transport(Protocol):
    """What the hook needs of a network: `hosts.WorkerEndpoint`, or anything else that sums int32.

    The k-th `all_reduce` of every worker belongs together. Several may be in flight. `lanes` stay unchanged until the
    sum is there. It must come, or an error must: the hook has no time limit of its own.
    """

    def all_reduce(self, lanes: NDArray[np.int32], priority: int, exponent: int) -> Pending: ...

    def close(self) -> None: ...


@dataclass
class Statistics:
    """Totals of one state. An iteration ends when its last bucket is done; the first begins with its first bucket.

    `elapsed_s`: seconds of all iterations. `comm_s`: those during which at least one bucket was between hook and
    result. `compute_s`: all but those between the last bucket's hook and the iteration's end, in which the backward
    pass has nothing left to do but to wait. Communication that hides behind computation counts in both.
    """

    iterations: int = 0
    buckets: int = 0
    bytes: int = 0  # of lanes handed to the transport
    comm_s: float = 0.0
    compute_s: float = 0.0
    elapsed_s: float = 0.0
    exponent_rounds: int = 0  # `adaptive`: buckets whose scale had to be agreed on first
    overflows: int = 0  # buckets in which this worker had a value that does not fit, a NaN or an infinity
    redone_buckets: int = 0  # buckets in which any worker had one


@dataclass
class Timeline:
    """Splits the time of a state's iterations into communication and computation, as `Statistics` defines them."""

    statistics: Statistics
    comm_s: float | None = None  # moving averages of one iteration, once a whole one has been seen
    compute_s: float | None = None
    _in_flight: int = 0
    _busy_since: float = 0.0
    _iteration_start: float | None = None
    _iteration_comm_s: float = 0.0
    _last_launched: float | None = None

    def launched(self, now: float, is_last: bool) -> None:
        """A bucket reached the hook."""
        if self._iteration_start is None:
            self._iteration_start = now
        if self._in_flight == 0:
            self._busy_since = now
        self._in_flight += 1
        if is_last:
            self._last_launched = now

    def completed(self, now: float) -> None:
        """A bucket's result is there."""
        self._in_flight -= 1
        if self._in_flight > 0:
            return
        self.statistics.comm_s += now - self._busy_since
        self._iteration_comm_s += now - self._busy_since
        if self._last_launched is None or self._iteration_start is None:
            return
        compute_s = self._last_launched - self._iteration_start
        self.statistics.compute_s += compute_s
        self.statistics.elapsed_s += now - self._iteration_start
        # The first iteration lacks its forward pass: it says nothing about the next ones.
        if self.statistics.iterations > 0:
            self.comm_s = _averaged(self.comm_s, self._iteration_comm_s)
            self.compute_s = _averaged(self.compute_s, compute_s)
        self.statistics.iterations += 1
        self._iteration_start = now
        self._iteration_comm_s = 0.0
        self._last_launched = None


def _averaged(average: float | None, newest: float) -> float:
    return newest if average is None else average + EWMA_WEIGHT * (newest - average)


class EsaState:
    """The state of one DDP model's `esa_hook`: settings, statistics, and the queues to the transport.

    Creating one is a collective operation over `process_group`: it makes a gloo group of the same ranks for redoing
    buckets in floating point and for the closing barrier. Every rank creates its states in the same order. Several
    models may share a transport, each with a state of its own, as long as their backward passes interleave alike on
    every rank.

    - `transport`: sums int32 over exactly the ranks of `process_group` (None: the default group).
    - `quantisation`: "fixed" scales all buckets by 2**`fraction_bits`; "adaptive" each bucket by its largest value.
    - `priority`: from `Urgency` to 1..255.
    - `total_iterations`: of the training; where not given, priorities go by attained service.
    - `timeout_s`: for a redo and for the closing barrier.
    - `owns_transport`: close it with the last state on it.
    - `clock`: seconds, monotonic.

    Pickling keeps settings and statistics and drops transport and process group: `attach` afterwards.
    """

    def __init__(
        self,
        transport: Transport,
        process_group: dist.ProcessGroup | None = None,
        *,
        quantisation: Literal["fixed", "adaptive"] = "fixed",
        fraction_bits: int = 20,
        priority: PriorityFunction | None = None,
        total_iterations: int | None = None,
        timeout_s: float = 300.0,
        owns_transport: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if quantisation not in ("fixed", "adaptive"):
            raise ValueError(f"quantisation: unknown '{quantisation}'; allowed: fixed, adaptive")
        if not -64 <= fraction_bits <= 64:
            raise ValueError(f"fraction_bits: {fraction_bits} is not in -64..64")
        self.quantisation = quantisation
        self.fraction_bits = fraction_bits
        self.priority: PriorityFunction = priority if priority is not None else Priority()
        self.total_iterations = total_iterations
        self.timeout_s = timeout_s
        self.owns_transport = owns_transport
        self.clock = clock
        self._initialise(Statistics())
        self.attach(transport, process_group)

    def _initialise(self, statistics: Statistics) -> None:
        self._timeline = Timeline(statistics)
        self._slots: dict[int, _Slot] = {}
        self._layer_groups: int | None = None  # buckets per iteration, known once the last one was seen
        self._idle = threading.Condition()  # guards everything above; notified when nothing is in flight
        self._in_flight = 0
        self._failed = False
        self._pipeline: _Pipeline | None = None
        self._group: dist.ProcessGroup | None = None
        self._world_size = 0

    def attach(self, transport: Transport, process_group: dist.ProcessGroup | None = None) -> None:
        """Connect a state without a transport, as it comes from a pickle; collective, like creating one."""
        if self._pipeline is not None:
            raise RuntimeError("this EsaState has a transport already")
        self._group = _gloo_twin(process_group, timedelta(seconds=self.timeout_s))
        self._world_size = dist.get_world_size(self._group)
        self._pipeline = _Pipeline.of(transport)

    @property
    def statistics(self) -> Statistics:
        """A copy of the totals."""
        with self._idle:
            return replace(self._timeline.statistics)

    def close(self, *, barrier: bool = True) -> None:
        """Wait for what is in flight, then for all ranks, then let go of the transport; collective.

        The barrier keeps this worker there to answer the network's queries until every worker has its last result. It
        is left out after an error, when the other ranks may never come.
        """
        with self._idle:
            pipeline, self._pipeline = self._pipeline, None
            if pipeline is None:
                return
            self._idle.wait_for(lambda: self._in_flight == 0)
        try:
            if barrier and not self._failed:
                dist.monitored_barrier(self._group, timedelta(seconds=self.timeout_s), wait_all_ranks=True)
        finally:
            self._group = None
            pipeline.release(close_transport=self.owns_transport)

    def __enter__(self) -> "EsaState":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(barrier=error is None)

    def __getstate__(self) -> dict[str, Any]:
        settings = ("quantisation", "fraction_bits", "priority", "total_iterations", "timeout_s", "clock")
        return {**{name: getattr(self, name) for name in settings}, "statistics": self.statistics}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        statistics = kept.pop("statistics")
        self.__dict__.update(kept)
        self.owns_transport = False
        self._initialise(statistics)

    def _launch(
        self,
        grad_bucket: dist.GradBucket,  # type: ignore[name-defined]
    ) -> torch.futures.Future[torch.Tensor]:
        """Called by the hook: put the bucket into the queue and return at once."""
        index, is_last, buffer = grad_bucket.index(), grad_bucket.is_last(), grad_bucket.buffer().detach()
        if buffer.layout != torch.strided or buffer.device.type != "cpu" or not buffer.is_floating_point():
            raise TypeError(
                f"bucket {index}: gradients are {buffer.dtype}, {buffer.layout}, on {buffer.device}; "
                "esa_hook sums dense floating-point gradients in host memory"
            )
        with self._idle:
            pipeline = self._pipeline
            if pipeline is None:
                raise RuntimeError("this EsaState is closed, or was unpickled and has no transport: call attach first")
            slot = self._slot(index, buffer.numel(), is_last)
            bucket = _Bucket(self, index, buffer, slot, self._fragment_priority(index))
            slot.in_flight = True
            self._in_flight += 1
            self._timeline.launched(self.clock(), is_last)
            # Inside the lock, so that the queue's order is the order of the hooks even if two threads call them.
            pipeline.launch(bucket)
        return bucket.done.then(_value_or_raise)

    def _slot(self, index: int, values: int, is_last: bool) -> "_Slot":
        slot = self._slots.get(index)
        if slot is not None and slot.in_flight and not self._failed:
            raise RuntimeError(f"bucket {index} is in flight already: each DDP model needs an EsaState of its own")
        if slot is None or slot.lanes.size != values or slot.in_flight:
            # First use, or DDP has rebuilt its buckets (after the first iteration, in the order of the gradients).
            slot = self._slots[index] = _Slot(np.empty(values, np.int32))
        if is_last:
            self._layer_groups = index + 1
            for stale in [i for i in self._slots if i > index]:
                del self._slots[stale]
        return slot

    def _fragment_priority(self, index: int) -> int:
        # Workers may differ here, in what they measured; the switch takes the maximum.
        timeline = self._timeline
        statistics = timeline.statistics
        service_s: float | None = statistics.elapsed_s
        if self.total_iterations is not None:
            remaining = max(self.total_iterations - statistics.iterations, 1)
            service_s = remaining * statistics.elapsed_s / statistics.iterations if statistics.iterations else None
        # DDP fills its buckets from the back: the last bucket holds the layers next to the input.
        layer = None if self._layer_groups is None else max(self._layer_groups - index, 1)
        urgency = Urgency(timeline.comm_s, timeline.compute_s, service_s, layer)
        return min(max(int(self.priority(urgency)), LOWEST), HIGHEST)

    def _submit(self, bucket: "_Bucket", transport: Transport) -> None:
        """In the submit thread: quantise and hand over to the network."""
        if bucket.buffer.numel() == 0:
            return
        slot, lanes = bucket.slot, bucket.slot.lanes
        values: NDArray[np.float32] = bucket.buffer.to(torch.float32).numpy()
        if self.quantisation == "fixed":
            bucket.fraction_bits = self.fraction_bits
            overflow = quantise(values, bucket.fraction_bits, self._world_size, lanes)
            exponent = EXPONENT_POISON if overflow else 0
        else:
            if slot.exponent is None:
                exponent = block_exponent(values)
                nothing = np.empty(0, np.int32)
                agreed = int(transport.all_reduce(nothing, bucket.priority, exponent).result().exponent)
                with self._idle:
                    self._timeline.statistics.exponent_rounds += 1
                    self._timeline.statistics.overflows += exponent == EXPONENT_POISON
                if agreed == EXPONENT_POISON:
                    bucket.redo = True
                    return
                slot.exponent = agreed
            bucket.fraction_bits = adaptive_fraction_bits(slot.exponent, self._world_size)
            exponent = quantise_block(values, bucket.fraction_bits, self._world_size, lanes)
        with self._idle:
            self._timeline.statistics.bytes += lanes.nbytes
            self._timeline.statistics.overflows += exponent == EXPONENT_POISON
        bucket.pending = transport.all_reduce(lanes, bucket.priority, exponent)

    def _finish(self, bucket: "_Bucket") -> None:
        """In the finish thread: wait for the sum and write the average into the bucket."""
        if bucket.error is not None:
            raise bucket.error
        if bucket.pending is not None:
            reduced = bucket.pending.result()
            exponent = int(reduced.exponent)
            bucket.redo = exponent == EXPONENT_POISON
            if self.quantisation == "adaptive":
                # A block of zeros says nothing about the next one: then, as after a redo, the scale is agreed on anew.
                bucket.slot.exponent = exponent if EXPONENT_MIN < exponent < EXPONENT_POISON else None
            if not bucket.redo:
                self._average(bucket, reduced.lanes)
        if bucket.redo:
            self._redo(bucket.buffer)

    def _average(self, bucket: "_Bucket", lanes: NDArray[np.int32]) -> None:
        if bucket.buffer.dtype == torch.float32:
            dequantise(lanes, bucket.fraction_bits, bucket.buffer.numpy(), self._world_size)
        else:
            averages = np.empty(lanes.size, np.float32)
            dequantise(lanes, bucket.fraction_bits, averages, self._world_size)
            bucket.buffer.copy_(torch.from_numpy(averages))

    def _redo(self, buffer: torch.Tensor) -> None:
        """Sum in floating point: in float64 if the gradients are, else in float32."""
        exact = buffer if buffer.dtype == torch.float64 else buffer.to(torch.float32)
        dist.all_reduce(exact, group=self._group)
        exact.div_(self._world_size)
        if exact is not buffer:
            buffer.copy_(exact)

    def _completed(self, bucket: "_Bucket", error: BaseException | None) -> None:
        with self._idle:
            statistics = self._timeline.statistics
            statistics.buckets += 1
            statistics.redone_buckets += bucket.redo and error is None
            self._failed |= error is not None
            self._timeline.completed(self.clock())
            bucket.slot.in_flight = False
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.notify_all()


def esa_hook(
    state: EsaState,
    bucket: dist.GradBucket,  # type: ignore[name-defined]  # torch has it, its stubs do not pass it on
) -> torch.futures.Future[torch.Tensor]:
    """DDP communication hook: average `bucket` over the workers by in-network aggregation.

    `model.register_comm_hook(state, esa_hook)`. The int32 sum is exact and is divided afterwards. An error of the
    transport is raised, with its text, by `backward()`.
    """
    return state._launch(bucket)


def _value_or_raise(done: torch.futures.Future[torch.Tensor | Exception]) -> torch.Tensor:
    # DDP does not see what Future.set_exception sets: it would take the exception for the result. Raising in a callback
    # makes an error that reaches backward().
    value = done.value()
    if isinstance(value, Exception):
        raise value
    return value


def _gloo_twin(process_group: dist.ProcessGroup | None, timeout: timedelta) -> dist.ProcessGroup:
    """A gloo group with the ranks of `process_group`, which is left to DDP: two threads must not share one."""
    original = process_group if process_group is not None else dist.group.WORLD
    if original is None:
        raise RuntimeError("EsaState needs a process group: call torch.distributed.init_process_group first")
    ranks = dist.get_process_group_ranks(original)
    # Ranks outside the group, such as another job's, need not take part. The name of a group made that way can come
    # again once the group is destroyed, with the old one's addresses behind it: so a twin lives as long as the world.
    local = len(ranks) < dist.get_world_size()
    twin = dist.new_group(ranks, timeout=timeout, backend="gloo", use_local_synchronization=local)
    if not isinstance(twin, dist.ProcessGroup):
        raise ValueError(f"process_group: this rank is not among its ranks {ranks}")
    return twin


@dataclass(eq=False)
class _Slot:
    """What stays from one use of a bucket to the next: the array for its lanes, and its scale."""

    lanes: NDArray[np.int32]
    exponent: int | None = None  # `adaptive`: None if the next use has to agree on one first
    in_flight: bool = False


@dataclass(eq=False)
class _Bucket:
    """One use of one bucket, on its way through the queues."""

    state: EsaState
    index: int
    buffer: torch.Tensor
    slot: _Slot
    priority: int
    fraction_bits: int = 0
    redo: bool = False
    pending: Pending | None = None
    error: BaseException | None = None
    done: torch.futures.Future[torch.Tensor | Exception] = field(default_factory=torch.futures.Future)


class _Pipeline:
    """The queues and the two threads of one transport."""

    # By the transport's id: two states on one transport have to find the same queues, or their order would differ
    # between ranks. An entry keeps its transport alive, so an id cannot come to mean another one.
    _of_transport: dict[int, "_Pipeline"] = {}  # noqa: RUF012
    _lock = threading.Lock()

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._users = 0
        self._close_transport = False
        self._error: BaseException | None = None  # the first one; nothing is submitted after it
        self._launched: SimpleQueue[_Bucket | None] = SimpleQueue()
        self._submitted: SimpleQueue[_Bucket | None] = SimpleQueue()
        # Daemons: a training script that ends without closing its state must not hang.
        self._threads = [
            threading.Thread(target=self._submit, name="esa-submit", daemon=True),
            threading.Thread(target=self._finish, name="esa-finish", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @classmethod
    def of(cls, transport: Transport) -> "_Pipeline":
        """The pipeline of `transport`, with one user more."""
        with cls._lock:
            pipeline = cls._of_transport.get(id(transport))
            if pipeline is None:
                pipeline = cls._of_transport[id(transport)] = cls(transport)
            pipeline._users += 1
            return pipeline

    def release(self, *, close_transport: bool) -> None:
        """One user less; the last one stops the threads, and closes the transport if any user asked for it."""
        with self._lock:
            self._users -= 1
            self._close_transport |= close_transport
            if self._users > 0:
                return
            del self._of_transport[id(self._transport)]
        self._launched.put(None)
        for thread in self._threads:
            thread.join()
        if self._close_transport:
            self._transport.close()

    def launch(self, bucket: _Bucket) -> None:
        self._launched.put(bucket)

    def _submit(self) -> None:
        while (bucket := self._launched.get()) is not None:
            try:
                if self._error is not None:
                    raise self._error
                bucket.state._submit(bucket, self._transport)
            except BaseException as error:
                bucket.error = self._error = error
            self._submitted.put(bucket)
            del bucket  # an idle queue keeps no gradients alive
        self._submitted.put(None)

    def _finish(self) -> None:
        while (bucket := self._submitted.get()) is not None:
            result: torch.Tensor | Exception = bucket.buffer
            failure: BaseException | None = None
            try:
                bucket.state._finish(bucket)
            except BaseException as error:
                failure = error
                self._error = self._error or error
                result = RuntimeError(
                    f"bucket {bucket.index} ({bucket.buffer.numel()} values): {type(error).__name__}: {error}"
                )
            bucket.state._completed(bucket, failure)
            bucket.done.set_result(result)
            del bucket, result, failure
