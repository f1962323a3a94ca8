"""Sums of tensors as a process group asks for them, over the queues of `pipeline`: each goes out at once, by itself.

Unlike a hook's buckets these have no last one of an iteration, so the submit thread waits for each sum before it hands
over the next, and what is to be repeated goes out in between. The finish thread works on one sum while the next is on
its way.
"""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist

from esa.errors import EsaError
from esa.rounds import Rounds, nothing_agreed
from esa.scales import EXPONENT_MIN, Floats, Scale
from esa.torch.notices import Notices
from esa.torch.pipeline import Bucket, Pipeline, Repeat, Slot
from esa.torch.precedents import Precedents
from esa.transport import Transport
from esa.wire import EXPONENT_POISON


@dataclass
class SumStatistics:
    """Totals of one process group: float sums over the switch, and those that took another way (`detours`, by why).

    Why: "group", its ranks are not the job's; "values", a NaN, an infinity or a value from 2**126 on; "tiny", float64
    below 2**-125, which has no scale; "sparse", not dense; "reduce", to one rank only.
    """

    sums: int = 0
    values: int = 0
    fragments: int = 0  # sent for the first time
    repeated_fragments: int = 0  # of these, sent again under another scale
    bytes: int = 0  # of lanes handed to the transport, repeats included
    nonzero_values: int = 0  # of this rank
    vanished_values: int = 0  # of these, sent as zero
    float64_sums: int = 0  # which keep 31 bits of a fragment's largest value
    detours: Counter[str] = field(default_factory=Counter)


class Record:
    """What a process group counts, from several threads, and what it has to tell its user."""

    def __init__(self) -> None:
        self.notices = Notices()
        self._lock = threading.Lock()
        self._statistics = SumStatistics()

    def statistics(self) -> SumStatistics:
        with self._lock:
            return replace(self._statistics, detours=Counter(self._statistics.detours))

    def count(self, **amounts: int) -> None:
        with self._lock:
            for name, amount in amounts.items():
                setattr(self._statistics, name, getattr(self._statistics, name) + amount)

    def detour(self, why: str, text: str) -> None:
        with self._lock:
            self._statistics.detours[why] += 1
        self.notices.add(why, f"{text}. statistics.detours[{why!r}] counts them")


@dataclass
class Output:
    """A tensor that gets the sum's values from `start` on."""

    tensor: torch.Tensor
    start: int


@dataclass(eq=False)
class Sum(Bucket):
    """One collective call on its way through the queues. `inputs` in a row are this rank's values."""

    name: str = ""
    inputs: list[torch.Tensor] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    divisor: int = 1
    ended: Future[list[torch.Tensor]] = field(default_factory=Future)

    @property
    def results(self) -> list[torch.Tensor]:
        return [output.tensor for output in self.outputs]

    def target(self) -> torch.Tensor:
        """Where the sums of all values may be written: the output itself, if it is one and takes them as they are."""
        whole, values = self.outputs[0].tensor, self.buffer.numel()
        if whole.numel() == values and whole.dtype == self.buffer.dtype and whole.is_contiguous():
            return whole.view(-1)
        return torch.empty(values, dtype=self.buffer.dtype, device="cpu")

    def write(self, sums: torch.Tensor) -> None:
        """Write the sums of all values to the outputs, which `sums` may be already."""
        for output in self.outputs:
            if output.tensor.data_ptr() == sums.data_ptr():
                continue
            tensor = output.tensor
            tensor.copy_(sums[output.start : output.start + tensor.numel()].view(tensor.shape))


class SumWork(dist.Work):
    """A sum on its way. `wait` raises what went wrong as it is."""

    def __init__(self, summing: Sum, notices: Notices) -> None:
        super().__init__()
        self._sum = summing
        self._notices = notices

    def wait(self, timeout: timedelta = timedelta(0)) -> bool:
        """True once the outputs hold the sum; timeout: 0 for none, else RuntimeError if it takes longer."""
        limit_s = timeout.total_seconds()
        if not wait([self._sum.ended], limit_s or None).done:
            raise RuntimeError(f"{self._sum.name} of {self._sum.slot.lanes.size} values: no sum within {limit_s:g} s")
        self._sum.ended.result()
        self._notices.tell()
        return True

    def synchronize(self) -> None:
        self.wait()

    def is_completed(self) -> bool:
        return self._sum.ended.done()

    def is_success(self) -> bool:
        return self.is_completed() and self._sum.ended.exception() is None

    def exception(self) -> BaseException | None:
        return self._sum.ended.exception() if self.is_completed() else None

    def result(self) -> list[torch.Tensor]:
        return self._sum.results

    def get_future(self) -> torch.futures.Future[list[torch.Tensor]]:
        """With the outputs as its value."""
        ended, results = self._sum.ended, self._sum.results

        def outcome(done: torch.futures.Future[torch.Tensor | Exception]) -> list[torch.Tensor]:
            # Only what a callback raises is an error to C++ code, such as DDP's, that takes the future.
            error = ended.exception()
            if error is not None:
                raise error
            return results

        return self._sum.done.then(outcome)


class Sums:
    """The float sums of one process group. `redo` is a group of the same ranks that nobody else uses.

    It uses `transport` through its pipeline, so that hooks on the same transport may be used in between.
    """

    def __init__(self, transport: Transport, redo: dist.ProcessGroup, scale: Scale, priority: int, record: Record):
        self._pipeline: Pipeline | None = Pipeline.of(transport)
        self._width = transport.fragment_lanes
        self._redo_group = redo
        self._scale = scale
        self._priority = priority
        self._record = record
        self._precedents = Precedents()  # the submit thread's
        self._lock = threading.Lock()  # an entry's place in the queue is that of its call

    def launch(self, name: str, inputs: list[torch.Tensor], outputs: list[Output], divisor: int) -> SumWork:
        """Sum the ranks' `inputs`, dense floating point in host memory, and divide; what is in `outputs` is replaced.

        `inputs` stay as they are until then.
        """
        inputs = [_real(tensor) for tensor in inputs]
        outputs = [Output(_real(output.tensor), output.start) for output in outputs]
        values = sum(tensor.numel() for tensor in inputs)
        kind = torch.float64 if any(tensor.dtype == torch.float64 for tensor in inputs) else torch.float32
        summing = Sum(
            owner=self,
            index=0,
            is_last=True,
            buffer=torch.empty(0, dtype=kind, device="cpu"),
            slot=Slot.of(values, self._width),
            priority=self._priority,
            name=name,
            inputs=inputs,
            outputs=outputs,
            divisor=divisor,
        )
        work = SumWork(summing, self._record.notices)
        if values == 0:
            summing.ended.set_result([])
            summing.done.set_result(summing.buffer)
            return work
        with self._lock:
            if self._pipeline is None:
                raise EsaError(f"{name}: this process group was destroyed")
            self._pipeline.launch(summing)
        return work

    def close(self, *, close_transport: bool, why: str | None = None) -> None:
        """Wait for what is in flight, then let go of the transport; `why`: after an error, which ends all sums."""
        with self._lock:
            pipeline, self._pipeline = self._pipeline, None
        if pipeline is None:
            return
        if why is not None and close_transport:
            pipeline.transport.close(why)
        pipeline.release(close_transport=False)
        if close_transport:
            pipeline.transport.close()

    def submit(self, bucket: Bucket, transport: Transport) -> None:
        summing = _own(bucket)
        values = self._gather(summing)
        summing.buffer = values
        numbers: Floats = values.numpy()
        slot = summing.slot
        agreed = self._precedents.recall((values.dtype, values.numel()))
        slot.agreed = nothing_agreed(values.numel(), self._width) if agreed is None else agreed
        rounds = Rounds(numbers, slot.agreed, self._width, self._scale, slot.lanes)
        pending = transport.all_reduce(slot.lanes, summing.priority, rounds.exponents)
        merged = pending.result().exponents
        again = rounds.again(merged)
        repeated_bytes = 0
        if again.size:
            lanes, exponents = rounds.repeat(again, merged)
            repeated_bytes = lanes.nbytes
            place = slice(0, lanes.size)
            summing.repeat = Repeat(again, transport.all_reduce(lanes, summing.priority, exponents), place)
        self._precedents.remember(rounds.agreed_next(merged))
        summing.rounds, summing.pending = rounds, pending
        self._record.count(
            sums=1,
            values=values.numel(),
            fragments=slot.agreed.size,
            repeated_fragments=again.size,
            bytes=slot.lanes.nbytes + repeated_bytes,
            nonzero_values=rounds.nonzero,
            vanished_values=rounds.vanished,
            float64_sums=values.dtype == torch.float64,
        )

    def abandon(self) -> None:
        """Nothing ever waits for a last bucket here."""

    def waits(self, bucket: Bucket) -> bool:
        return False

    def finish(self, bucket: Bucket) -> None:
        summing = _own(bucket)
        if summing.error is not None:
            raise summing.error
        rounds, pending = summing.rounds, summing.pending
        if rounds is None or pending is None:
            raise EsaError(f"{summing.name}: it was never submitted")
        reduced = pending.result()
        double = summing.buffer.dtype == torch.float64
        poison = bool((reduced.exponents == EXPONENT_POISON).any())
        if poison or (double and self._scale.adaptive and bool((reduced.exponents == EXPONENT_MIN).any())):
            self._redo(summing, poison)
            return
        repeated = reduced.lanes if summing.repeat is None else summing.repeat.pending.result().lanes
        again = rounds.again(reduced.exponents)
        sums = summing.target()
        rounds.write(reduced, again, repeated, sums.numpy(), summing.divisor)
        summing.write(sums)
        if double:
            self._record.notices.add("float64", _float64_text(summing))

    def completed(self, bucket: Bucket, error: BaseException | None) -> None:
        summing = _own(bucket)
        if error is None:
            summing.ended.set_result(summing.results)
        else:
            summing.ended.set_exception(error)
        summing.buffer = torch.empty(0, device="cpu")
        summing.inputs = []

    def _gather(self, summing: Sum) -> torch.Tensor:
        """The values in a row; where they are one tensor that can be sent as it is, that tensor."""
        rows = [tensor.detach().reshape(-1).to(summing.buffer.dtype) for tensor in summing.inputs]
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def _redo(self, summing: Sum, poison: bool) -> None:
        """Sum in floating point, over the other network."""
        sums = summing.buffer.clone()
        self._redo_group.allreduce([sums]).wait()
        summing.write(sums.div_(summing.divisor))
        exponents = np.empty(0) if summing.rounds is None else summing.rounds.exponents
        if poison:
            here = "this rank has" if EXPONENT_POISON in exponents else "another rank has"
            self._record.detour(
                "values",
                f"{summing.name} of {sums.numel()} values: {here} a NaN, an infinity or a value from 2**126 on; it was "
                "summed in floating point over gloo, which is slower: look at the loss and the learning rate",
            )
        else:
            self._record.detour(
                "tiny",
                f"{summing.name} of {sums.numel()} float64 values: some are below 2**-125 (2e-38), for which there is "
                "no scale; it was summed over gloo, which is slower",
            )


def _own(bucket: Bucket) -> Sum:
    assert isinstance(bucket, Sum)
    return bucket


def _real(tensor: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()


def _float64_text(summing: Sum) -> str:
    return (
        f"{summing.name} of {summing.buffer.numel()} float64 values: summed with at most 31 bits to a fragment's "
        "largest value, not 53. statistics.float64_sums counts them"
    )
