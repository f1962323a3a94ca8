"""The state of the hook: settings, scales, statistics, and what is done to a bucket before and behind the network."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.distributed as dist

from esa.job import Job
from esa.policy import policy
from esa.priority import HIGHEST, LOWEST, Classes, PriorityFunction, Urgency, priority_function
from esa.rounds import Rounds, prepare
from esa.scales import adaptive_scale, fixed_scale, lane_limit
from esa.torch.check import check_bucket
from esa.torch.groups import agree, gloo_twin, hold_alike, world_of
from esa.torch.notices import FLOAT64_TEXT, Notices, redo_text, vanished_text
from esa.torch.pipeline import Bucket, Pipeline, Repeat, Slot, value_or_raise
from esa.torch.staging import Staging, staging_of
from esa.torch.timeline import BucketTimes, Statistics, Timeline
from esa.transport import Transport
from esa.wire import EXPONENT_POISON

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from esa.torch.settings import StateSettings

VANISHED_SHARE = 0.01  # of an iteration's non-zero values: more that become zero are told to the user


class EsaState:
    """The state of one DDP model's `esa_hook`: settings, statistics, and the queues to the transport.

    Creating one is a collective operation over `process_group`: it makes a gloo group of the same ranks for redoing
    buckets in floating point and for the closing barrier. Every rank creates its states in the same order. Several
    models may share a transport, each with a state of its own, as long as their backward passes interleave alike on
    every rank.

    - `transport`: sums int32 over exactly the ranks of `process_group` (None: the default group). ValueError if it has
      another number of workers.
    - `quantisation`: "adaptive" scales each fragment by its largest value; "fixed" all of them by 2**`fraction_bits`.
      ValueError, on every rank, if they differ between ranks.
    - `priority`: from `Urgency` to 1..255; None: `esa.priority.Classes`, or what the job's policy goes by.
    - `total_iterations`: of the training; where not given, priorities go by attained service.
    - `timeout_s`: for a redo and for the closing barrier.
    - `owns_transport`: close it with the last state on it.
    - `clock`: seconds, monotonic.
    - `on_bucket`: told the times of each bucket that is through, in the thread that finishes it, before who waits for
      it goes on; it should be quick, and must not raise.

    Detours and losses are counted in `statistics`; each kind is also told once, by an `EsaWarning`. Pickling keeps
    settings and statistics and drops transport and process group: `attach` afterwards.
    """

    def __init__(
        self,
        transport: Transport,
        process_group: dist.ProcessGroup | None = None,
        *,
        quantisation: Literal["fixed", "adaptive"] = "adaptive",
        fraction_bits: int = 20,
        priority: PriorityFunction | None = None,
        total_iterations: int | None = None,
        timeout_s: float = 300.0,
        owns_transport: bool = False,
        clock: Callable[[], float] = time.perf_counter,
        on_bucket: Callable[[BucketTimes], None] | None = None,
    ) -> None:
        self.quantisation = quantisation
        self.fraction_bits = fraction_bits
        self.priority: PriorityFunction = priority if priority is not None else Classes()
        self.total_iterations = total_iterations
        self.timeout_s = timeout_s
        self.owns_transport = owns_transport
        self.clock = clock
        self.on_bucket = on_bucket
        self._initialise(Statistics(), Notices())
        self.attach(transport, process_group)

    @classmethod
    def of(
        cls,
        job: Job,
        transport: Transport,
        process_group: dist.ProcessGroup | None = None,
        **settings: Unpack[StateSettings],
    ) -> EsaState:
        """The state of a model of `job`: quantised as it says, by its policy's priorities, or as `settings` say."""
        _check_size(f"job {job.name}", job.fan_in, world_of(process_group))
        settings.setdefault("quantisation", job.quantisation)
        settings.setdefault("fraction_bits", job.fraction_bits)
        settings.setdefault("priority", priority_function(policy(job.policy), job.compares))
        return cls(transport, process_group, **settings)

    def _initialise(self, statistics: Statistics, notices: Notices) -> None:
        self._timeline = Timeline(statistics)
        self._notices = notices
        self._slots: dict[int, Slot] = {}
        self._stagings: dict[torch.device, Staging] = {}
        self._layer_groups: int | None = None  # buckets per iteration, known once the last one was seen
        self._idle = threading.Condition()  # guards everything above; notified when nothing is in flight
        self._in_flight = 0
        self._failed = False
        self._pipeline: Pipeline | None = None
        self._group: dist.ProcessGroup | None = None
        self._submitted: list[Bucket] = []  # of this iteration; the submit thread's
        self._vanished = self._nonzero = 0  # in this iteration; the finish thread's

    def attach(self, transport: Transport, process_group: dist.ProcessGroup | None = None) -> None:
        """Connect a state without a transport, as it comes from a pickle; collective, like creating one."""
        if self._pipeline is not None:
            raise RuntimeError("this EsaState has a transport already")
        problem = self._problem()
        if problem and dist.group.WORLD is None:
            raise ValueError(problem)
        original = world_of(process_group)
        _check_size("the transport", transport.size, original)
        if not problem:
            self._workers = transport.size
            self._scale = (
                adaptive_scale(self._workers)
                if self.quantisation == "adaptive"
                else fixed_scale(self.fraction_bits, self._workers)
            )
            prepare(self._scale)
        twin = gloo_twin(original, timedelta(seconds=self.timeout_s))
        agree(problem, twin, ValueError)
        lanes = f"{transport.fragment_lanes} lanes to a fragment"
        how = "adaptive" if self.quantisation == "adaptive" else f"fixed with {self.fraction_bits} fraction bits"
        hold_alike("quantisation", f"{how}, {lanes}", twin, ValueError)
        self._group = twin
        self._slots = {}  # ranks that were not there before know nothing of what was agreed on
        self._pipeline = Pipeline.of(transport)

    def _problem(self) -> str:
        if self.quantisation not in ("fixed", "adaptive"):
            return f"quantisation: unknown '{self.quantisation}'; allowed: fixed, adaptive"
        if not -64 <= self.fraction_bits <= 64:
            return f"fraction_bits: {self.fraction_bits} is not in -64..64"
        return ""

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
            pipeline.abandon(self)
            self._idle.wait_for(lambda: self._in_flight == 0)
        try:
            if barrier and not self._failed:
                dist.monitored_barrier(self._group, timedelta(seconds=self.timeout_s), wait_all_ranks=True)
        finally:
            self._group = None
            pipeline.release(close_transport=self.owns_transport)
        self._notices.tell()

    def __enter__(self) -> EsaState:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(barrier=error is None)

    def __getstate__(self) -> dict[str, Any]:
        settings = ("quantisation", "fraction_bits", "priority", "total_iterations", "timeout_s", "clock")
        kept = {name: getattr(self, name) for name in settings}
        return {**kept, "statistics": self.statistics, "told": self._notices.told}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        statistics, told = kept.pop("statistics"), kept.pop("told")
        self.__dict__.update(kept)
        self.owns_transport = False
        self.on_bucket = None
        self._initialise(statistics, Notices(told))

    def launch(
        self,
        grad_bucket: dist.GradBucket,  # type: ignore[name-defined]
    ) -> torch.futures.Future[torch.Tensor]:
        """Called by the hook: put the bucket into the queue and return at once."""
        index, is_last, buffer = grad_bucket.index(), grad_bucket.is_last(), grad_bucket.buffer().detach()
        check_bucket(index, buffer)
        self._notices.tell()
        with self._idle:
            pipeline = self._pipeline
            if pipeline is None:
                raise RuntimeError("this EsaState is closed, or was unpickled and has no transport: call attach first")
            staging = self._stagings.get(buffer.device)
            if staging is None:
                staging = self._stagings[buffer.device] = staging_of(buffer.device)
            slot = self._slot(index, buffer.numel(), is_last, pipeline.transport.fragment_lanes, staging)
            priority = self._fragment_priority(index)
            bucket = Bucket(self, index, is_last, buffer, slot, priority, staging.mark(), staging.incoming)
            slot.in_flight = True
            self._in_flight += 1
            if bucket.made is None:
                self._launched(bucket)
            # Inside the lock, so that the queue's order is the order of the hooks even if two threads call them.
            pipeline.launch(bucket)
        return bucket.done.then(value_or_raise)

    def _slot(self, index: int, values: int, is_last: bool, fragment_lanes: int, staging: Staging) -> Slot:
        slot = self._slots.get(index)
        if slot is not None and slot.in_flight and not self._failed:
            raise RuntimeError(
                f"bucket {index} is in flight already: each DDP model needs an EsaState of its own, "
                "and a new one after a backward pass that did not end"
            )
        if slot is None or slot.lanes.size != values or slot.in_flight:
            # First use, or DDP has rebuilt its buckets (after the first iteration, in the order of the gradients).
            slot = self._slots[index] = Slot.of(values, fragment_lanes, staging)
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
        urgency = Urgency(timeline.comm_s, timeline.compute_s, service_s, layer, self._layer_groups)
        return min(max(int(self.priority(urgency)), LOWEST), HIGHEST)

    def _launched(self, bucket: Bucket) -> None:
        """Its gradients are there. The lock is held."""
        bucket.launched = self.clock()
        self._timeline.launched(bucket.launched, bucket.is_last)

    def submit(self, bucket: Bucket, transport: Transport) -> None:
        """In the submit thread: quantise and hand over to the network; behind the last bucket, what is repeated."""
        if bucket.made is not None:
            bucket.made.synchronize()
            with self._idle:
                self._launched(bucket)
        bucket.taken_up = self.clock()
        if bucket.buffer.numel() > 0:
            slot, staging = bucket.slot, self._stagings[bucket.buffer.device]
            values = staging.values(bucket.buffer)
            bucket.rounds = Rounds(values, slot.agreed, transport.fragment_lanes, self._scale, slot.lanes, staging)
            with self._idle:
                statistics = self._timeline.statistics
                statistics.bytes += slot.lanes.nbytes
                statistics.fragments += slot.agreed.size
                statistics.overflows += bool((bucket.rounds.exponents == EXPONENT_POISON).any())
                statistics.nonzero_values += bucket.rounds.nonzero
                statistics.float64_buckets += bucket.buffer.dtype == torch.float64
            bucket.quantised = self.clock()
            bucket.pending = transport.all_reduce(slot.lanes, bucket.priority, bucket.rounds.exponents)
        self._submitted.append(bucket)
        if bucket.is_last:
            iteration, self._submitted = self._submitted, []
            self._repeat(iteration, transport)

    def _repeat(self, iteration: list[Bucket], transport: Transport) -> None:
        """Send the fragments of all its buckets that need another scale, as one array."""
        parts = []
        place = 0
        for bucket in iteration:
            if bucket.rounds is None or bucket.pending is None:
                continue
            merged = bucket.pending.result().exponents
            again = bucket.rounds.again(merged)
            if again.size:
                lanes, exponents = bucket.rounds.repeat(again, merged)
                parts.append((bucket, again, slice(place, place + lanes.size), lanes, exponents))
                place += lanes.size
        if not parts:
            return
        lanes = np.concatenate([part[3] for part in parts])
        exponents = np.concatenate([part[4] for part in parts])
        with self._idle:
            self._timeline.statistics.bytes += lanes.nbytes
            self._timeline.statistics.repeated_fragments += exponents.size
        pending = transport.all_reduce(lanes, max(part[0].priority for part in parts), exponents)
        for bucket, again, where, _, _ in parts:
            bucket.repeat = Repeat(again, pending, where)

    def abandon(self) -> None:
        """In the submit thread: forget the iteration that has begun."""
        self._submitted = []

    def waits(self, bucket: Bucket) -> bool:
        """In the finish thread: whether some of its fragments are repeated, behind the iteration's last bucket."""
        if bucket.error is not None or bucket.rounds is None or bucket.pending is None:
            return False
        try:
            merged = bucket.pending.result().exponents
        except BaseException:
            return False  # `finish` meets it again
        return bucket.rounds.again(merged).size > 0

    def finish(self, bucket: Bucket) -> None:
        """In the finish thread: wait for the sum and write the average into the bucket."""
        if bucket.error is not None:
            raise bucket.error
        rounds = bucket.rounds
        if rounds is None or bucket.pending is None:
            return
        reduced = bucket.pending.result()
        bucket.network = reduced.times
        bucket.slot.agreed = rounds.agreed_next(reduced.exponents)
        bucket.redo = bool((reduced.exponents == EXPONENT_POISON).any())
        if bucket.redo:
            self._redo(bucket.buffer)
            largest = float(self._scale.unit[0]) * lane_limit(self._workers)
            self._notices.add("redo", redo_text(bucket, None if self._scale.adaptive else largest))
        else:
            again, repeated = rounds.again(reduced.exponents), reduced.lanes
            if bucket.repeat is not None:
                repeated = bucket.repeat.pending.result().lanes[bucket.repeat.place]
            rounds.write(reduced, again, repeated, bucket.buffer, self._workers)
            self._vanished += rounds.vanished
        self._nonzero += rounds.nonzero
        if bucket.buffer.dtype == torch.float64:
            self._notices.add("float64", FLOAT64_TEXT)

    def _redo(self, buffer: torch.Tensor) -> None:
        """Sum in floating point, in host memory: in float64 if the gradients are, else in float32."""
        exact = buffer.to("cpu", torch.float64 if buffer.dtype == torch.float64 else torch.float32)
        dist.all_reduce(exact, group=self._group)
        exact.div_(self._workers)
        if exact is not buffer:
            buffer.copy_(exact)

    def completed(self, bucket: Bucket, error: BaseException | None) -> None:
        """In the finish thread: the bucket is through."""
        if bucket.is_last:
            self._look_at_vanished()
        now = self.clock()
        if self.on_bucket is not None and error is None:
            self.on_bucket(bucket.times(now))
        with self._idle:
            statistics = self._timeline.statistics
            statistics.buckets += 1
            statistics.redone_buckets += bucket.redo and error is None
            self._failed |= error is not None
            if bucket.launched is not None:
                self._timeline.completed(now)
            bucket.slot.in_flight = False
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.notify_all()

    def _look_at_vanished(self) -> None:
        """At the end of an iteration."""
        vanished, nonzero = self._vanished, self._nonzero
        self._vanished = self._nonzero = 0
        with self._idle:
            self._timeline.statistics.vanished_values += vanished
        if vanished > VANISHED_SHARE * nonzero:
            fraction_bits = self.fraction_bits if self.quantisation == "fixed" else None
            self._notices.add("vanished", vanished_text(vanished, nonzero, fraction_bits))


def _check_size(who: str, workers: int, group: dist.ProcessGroup) -> None:
    ranks = dist.get_world_size(group)
    if workers != ranks:
        raise ValueError(
            f"{who} has {workers} workers, the process group {ranks}: "
            "give as process_group the group of exactly these workers' ranks"
        )
