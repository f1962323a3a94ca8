"""Two threads for each transport, in front of and behind the network:

    hook -> [submit: quantise, all_reduce] -> network -> [finish: redo or dequantise, average] -> DDP

so that neither quantising nor a repeat nor a redo ever holds up the backward pass. Sums are matched by nothing but
their order, so every rank must submit the same buckets in the same order. Two queues, each emptied by one thread, keep
the order in which the hooks were called, which DDP makes the same on every rank; all states on one transport share
these queues. What else needs an order is decided by merged exponents, which every rank reads alike:

- fragments to be repeated go out right behind the last bucket of their state's iteration. The submit thread waits there
  for the sums of that iteration: they need nothing of it any more, on any rank.
- buckets with repeats are finished behind that last bucket, all others in their place. The finish thread waits for
  nothing but sums, and a redo, a collective operation of its own, has its place among the finished buckets.

An error is final for its transport: after it the ranks may be out of step, and a wrong sum would be worse.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Protocol

import numpy as np
import torch

from esa.rounds import ON_HOST, Fragments, Quantiser, Rounds, nothing_agreed
from esa.scales import Exponents, Lanes
from esa.torch.timeline import BucketTimes
from esa.transport import Pending, SumTimes, Transport


@dataclass(eq=False)
class Slot:
    """What stays from one use of a bucket to the next: the array for its lanes, and its scales."""

    lanes: Lanes
    agreed: Exponents
    in_flight: bool = False

    @classmethod
    def of(cls, values: int, fragment_lanes: int, quantiser: Quantiser = ON_HOST) -> Slot:
        return cls(quantiser.empty(values, np.int32), nothing_agreed(values, fragment_lanes))


@dataclass
class Repeat:
    """The fragments of a bucket that went out again, and where their sums are in the all-reduce of all of them."""

    again: Fragments
    pending: Pending
    place: slice


@dataclass(eq=False)
class Bucket:
    """One use of one bucket, on its way through the queues."""

    owner: Owner
    index: int
    is_last: bool  # of its iteration
    buffer: torch.Tensor
    slot: Slot
    priority: int
    made: torch.cuda.Event | None = None  # gradients on a GPU are there from then on
    stream: torch.cuda.Stream | None = None  # for those, what is done with their average is done on it
    rounds: Rounds | None = None
    pending: Pending | None = None
    repeat: Repeat | None = None
    redo: bool = False
    error: BaseException | None = None
    launched: float | None = None  # times, see `esa.torch.timeline.BucketTimes`
    taken_up: float | None = None
    quantised: float | None = None
    network: SumTimes | None = None
    done: torch.futures.Future[torch.Tensor | Exception] = field(init=False)

    def __post_init__(self) -> None:
        # Who waits for it waits on the current stream of its own; torch wants to know the devices before.
        self.done = torch.futures.Future(devices=[self.buffer.device] if self.buffer.is_cuda else None)

    def times(self, written: float) -> BucketTimes:
        assert self.launched is not None
        return BucketTimes(self.index, self.launched, self.taken_up, self.quantised, self.network, written)


class Owner(Protocol):
    """Who launches buckets: an `EsaState`. `submit` is called in the submit thread, the others in the finish thread."""

    def submit(self, bucket: Bucket, transport: Transport) -> None:
        """Hand it over to the network; behind the last bucket of an iteration, what is repeated."""

    def abandon(self) -> None:
        """In the submit thread: forget the iteration that has begun."""

    def waits(self, bucket: Bucket) -> bool:
        """Whether it has to wait for repeats, behind the last bucket."""

    def finish(self, bucket: Bucket) -> None:
        """Wait for its sum and write the average into its buffer."""

    def completed(self, bucket: Bucket, error: BaseException | None) -> None:
        """It is done, but its future is not set yet."""


@dataclass(frozen=True)
class Abandoned:
    """No last bucket will come for what is waiting for one."""

    owner: Owner


class Pipeline:
    """The queues and the two threads of one transport."""

    # By the transport's id: two states on one transport have to find the same queues, or their order would differ
    # between ranks. An entry keeps its transport alive, so an id cannot come to mean another one.
    _of_transport: dict[int, Pipeline] = {}  # noqa: RUF012
    _lock = threading.Lock()

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._users = 0
        self._close_transport = False
        self._error: BaseException | None = None  # the first one; nothing is submitted after it
        self._launched: SimpleQueue[Bucket | Abandoned | None] = SimpleQueue()
        self._submitted: SimpleQueue[Bucket | Abandoned | None] = SimpleQueue()
        # Daemons: a training script that ends without closing its state must not hang.
        self._threads = [
            threading.Thread(target=self._submit, name="esa-submit", daemon=True),
            threading.Thread(target=self._finish, name="esa-finish", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @classmethod
    def of(cls, transport: Transport) -> Pipeline:
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
            del self._of_transport[id(self.transport)]
        self._launched.put(None)
        for thread in self._threads:
            thread.join()
        if self._close_transport:
            self.transport.close()

    def launch(self, bucket: Bucket) -> None:
        self._launched.put(bucket)

    def abandon(self, owner: Owner) -> None:
        """End, with an error, what waits for a last bucket that did not come before this call."""
        self._launched.put(Abandoned(owner))

    def _submit(self) -> None:
        while (item := self._launched.get()) is not None:
            if isinstance(item, Abandoned):
                item.owner.abandon()
            else:
                try:
                    if self._error is not None:
                        raise self._error
                    item.owner.submit(item, self.transport)
                except BaseException as error:
                    item.error = self._error = error
            self._submitted.put(item)
            del item  # an idle queue keeps no gradients alive
        self._submitted.put(None)

    def _finish(self) -> None:
        waiting: dict[Owner, list[Bucket]] = {}  # for the last bucket of their iteration, by state
        while (item := self._submitted.get()) is not None:
            if isinstance(item, Abandoned):
                ready = waiting.pop(item.owner, [])
                for bucket in ready:
                    bucket.error = RuntimeError("the last bucket of its iteration never came")
            elif item.is_last:
                ready = [*waiting.pop(item.owner, []), item]
                for bucket in ready:
                    bucket.error = bucket.error or item.error
            elif item.owner.waits(item):
                waiting.setdefault(item.owner, []).append(item)
                ready = []
            else:
                ready = [item]
            for bucket in ready:
                with torch.cuda.stream(bucket.stream):
                    self._complete(bucket)
            del item, ready
            bucket = None  # type: ignore[assignment]

    def _complete(self, bucket: Bucket) -> None:
        result: torch.Tensor | Exception = bucket.buffer
        failure: BaseException | None = None
        try:
            bucket.owner.finish(bucket)
        except BaseException as error:
            failure = error
            self._error = self._error or error
            result = RuntimeError(
                f"bucket {bucket.index} ({bucket.buffer.numel()} values): {type(error).__name__}: {error}"
            )
        bucket.owner.completed(bucket, failure)
        bucket.done.set_result(result)


def value_or_raise(done: torch.futures.Future[torch.Tensor | Exception]) -> torch.Tensor:
    # DDP does not see what Future.set_exception sets: it would take the exception for the result. Raising in a callback
    # makes an error that reaches backward().
    value = done.value()
    if isinstance(value, Exception):
        raise value
    return value
