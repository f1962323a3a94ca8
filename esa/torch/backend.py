"""A torch.distributed backend: float sums go over the switch, everything else goes where it would go without.

    dist.init_process_group("cpu:esa,cuda:nccl")       # the job: ESA_JOB and ESA_CONTROLLER, as `esa launch` sets them
    model = FullyShardedDataParallel(model)            # or DistributedDataParallel, or dist.all_reduce
    dist.group.WORLD.statistics                        # what went over the switch, and what did not

That is all_reduce and reduce_scatter, SUM and AVG, of dense floating point in host memory. A switch adds, it does not
scatter: a reduce_scatter takes as much of the network as an all_reduce of its input. DDP is faster with `esa_hook`,
whose sums do not wait for each other.

A rank takes part in one run of one job. So the groups with the ranks of the first one share its sums; those with other
ranks add over gloo.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store  # their own module does not export them to mypy
from torch.distributed import distributed_c10d as c10d

from esa import hosts  # whose parts are imported when they are used
from esa.autoload import NAME
from esa.errors import BadInput
from esa.scales import Scale, adaptive_scale, fixed_scale
from esa.torch.session import job_of
from esa.torch.sums import Output, Record, Sums, SumStatistics
from esa.transport import Transport

PRIORITY = 128
AT_EXIT_S = 5.0
GRACE_S = 0.5
_ADDED = (dist.ReduceOp.SUM, dist.ReduceOp.AVG)


@dataclass(frozen=True)
class EsaOptions:
    """`init_process_group("cpu:esa", pg_options=EsaOptions(...))`.

    transport: instead of joining the job that the environment names; its owner closes it. priority: 1..255.
    """

    transport: Transport | None = None
    priority: int = PRIORITY

    def __post_init__(self) -> None:
        if not 1 <= self.priority <= 255:
            raise BadInput(f"priority: {self.priority} is not in 1..255")


@dataclass(frozen=True)
class Network:
    """What the groups of the job's ranks share."""

    ranks: tuple[int, ...]  # in the default group
    transport: Transport
    scale: Scale
    priority: int


class EsaGroup(dist.ProcessGroup):
    """A process group whose float sums go over `network`; without one over gloo, which is counted.

    owns_transport: the network's transport is closed with this group.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        size: int,
        timeout: timedelta,
        network: Network | None,
        owns_transport: bool = False,
        nccl_options: Any = None,
    ) -> None:
        super().__init__(rank, size)  # type: ignore[call-arg]  # the stub lacks the one for subclasses
        self._store = store
        self._born_within = sys.exc_info()[1]
        self._record = Record()
        self._plain = _gloo(PrefixStore("plain", store), rank, size, timeout)
        devices = [torch.device("cpu")]
        if torch.cuda.is_available() and dist.is_nccl_available():
            devices.append(torch.device("cuda"))
            nccl = _nccl(PrefixStore("cuda", store), rank, size, timeout, nccl_options)
            self._plain._register_backend(devices[1], dist.ProcessGroup.BackendType.NCCL, nccl)
        for device in devices:  # for those that ask which devices it is for
            backend = self._plain._get_backend(device)
            kind = dist.ProcessGroup.BackendType.GLOO if device.type == "cpu" else dist.ProcessGroup.BackendType.NCCL
            self._register_backend(device, kind, backend)
        self._set_default_backend(dist.ProcessGroup.BackendType.GLOO)
        self.network = network
        self._owns_transport = owns_transport
        self._sums: Sums | None = None
        self._leaver: _Leaver | None = None
        if network is not None:
            redo = _gloo(PrefixStore("redo", store), rank, size, timeout)
            self._sums = Sums(network.transport, redo, network.scale, network.priority, self._record)
            if owns_transport:
                self._leaver = _Leaver(self._sums, network.transport)

    @property
    def statistics(self) -> SumStatistics:
        """A copy of this rank's totals."""
        return self._record.statistics()

    @property
    def transport(self) -> Transport | None:
        """What the sums go over, for an `EsaState` on the same; None where they go over gloo."""
        return None if self.network is None else self.network.transport

    def getBackendName(self) -> str:  # noqa: N802 - torch's name
        return NAME

    def get_group_store(self) -> Store:
        return self._store

    # Collectives. C++ code, such as DDP's and that of functional collectives, finds these by their names, too.

    def allreduce(self, tensors: Any, opts: Any = dist.ReduceOp.SUM) -> Any:  # type: ignore[override]
        listed = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
        if not self._takes("all_reduce", listed, opts):
            return self._plain.allreduce(tensors, opts)
        return self._add("all_reduce", listed, _row(listed), opts)

    def allreduce_coalesced(self, tensors: list[torch.Tensor], opts: Any = dist.ReduceOp.SUM) -> Any:
        if not self._takes("all_reduce_coalesced", tensors, opts):
            return self._plain.allreduce_coalesced(tensors, opts)
        return self._add("all_reduce_coalesced", tensors, _row(tensors), opts)

    def reduce_scatter(  # type: ignore[override]
        self, outputs: list[torch.Tensor], inputs: list[list[torch.Tensor]], opts: Any = dist.ReduceOp.SUM
    ) -> Any:
        listed = list(chain.from_iterable(inputs))
        if not self._takes("reduce_scatter", [*listed, *outputs], opts):
            return self._plain.reduce_scatter(outputs, inputs, opts)
        parts, place = [], 0
        for output, row in zip(outputs, inputs, strict=True):
            _check_parts("reduce_scatter", row[self.rank()], output, 1)
            parts.append(Output(output, place + sum(tensor.numel() for tensor in row[: self.rank()])))
            place += sum(tensor.numel() for tensor in row)
        return self._add("reduce_scatter", listed, parts, opts)

    def reduce_scatter_single(self, output: torch.Tensor, input: torch.Tensor, opts: Any = dist.ReduceOp.SUM) -> Any:
        if not self._takes("reduce_scatter_single", [input, output], opts):
            return self._plain._reduce_scatter_base(output, input, opts)
        return self._scatter("reduce_scatter_single", [output], [input], opts)

    def reduce_scatter_single_coalesced(
        self, outputs: list[torch.Tensor], inputs: list[torch.Tensor], opts: Any = dist.ReduceOp.SUM
    ) -> Any:
        if not self._takes("reduce_scatter_single_coalesced", [*inputs, *outputs], opts):
            plain: Any = self._plain
            if hasattr(plain, "reduce_scatter_single_coalesced"):
                return plain.reduce_scatter_single_coalesced(outputs, inputs, opts)
            return plain.reduce_scatter_tensor_coalesced(outputs, inputs, opts)
        return self._scatter("reduce_scatter_single_coalesced", outputs, inputs, opts)

    # Their names before torch 2.13.
    _reduce_scatter_base = reduce_scatter_single  # type: ignore[assignment]
    reduce_scatter_tensor_coalesced = reduce_scatter_single_coalesced  # type: ignore[assignment]

    def reduce(self, tensors: list[torch.Tensor], opts: Any) -> Any:  # type: ignore[override]
        if _is_float_sum(tensors, opts):
            self._detour("reduce", "reduce", tensors, "a sum to one rank only goes")
        return self._plain.reduce(tensors, opts)

    def _scatter(self, name: str, outputs: list[torch.Tensor], inputs: list[torch.Tensor], opts: Any) -> Any:
        parts, place = [], 0
        for output, whole in zip(outputs, inputs, strict=True):
            _check_parts(name, whole, output, self.size())
            parts.append(Output(output, place + self.rank() * _width(output)))
            place += _width(whole)
        return self._add(name, inputs, parts, opts)

    def _add(self, name: str, inputs: list[torch.Tensor], outputs: list[Output], opts: Any) -> Any:
        assert self._sums is not None
        return self._sums.launch(name, inputs, outputs, self.size() if _operation(opts) == dist.ReduceOp.AVG else 1)

    def _takes(self, name: str, tensors: Sequence[torch.Tensor], opts: Any) -> bool:
        """Whether this is one for the switch. If it is a sum of floats that goes another way, it is counted."""
        if not _is_float_sum(tensors, opts):
            return False
        if any(tensor.layout != torch.strided for tensor in tensors):
            self._detour("sparse", name, tensors, "sparse tensors go")
            return False
        if self.network is None:
            self._detour("group", name, tensors, f"{self.size()} ranks that are not exactly the job's add")
            return False
        self._record.notices.tell()
        return True

    def _detour(self, why: str, name: str, tensors: Sequence[torch.Tensor], text: str) -> None:
        values = sum(tensor.numel() for tensor in tensors if tensor.layout == torch.strided)
        self._record.detour(why, f"{name} of {values} values: {text} over gloo, not over the switch")
        self._record.notices.tell()

    # The end.

    def shutdown(self) -> None:
        """Called by `destroy_process_group`: wait for what is in flight, then leave the run.

        While an exception is on its way up, as in a `finally`, the others are told it instead of being waited for.
        """
        error = sys.exc_info()[1]
        self._close(None if error is self._born_within else _told(error))
        self._record.notices.tell()

    def abort(self) -> None:
        self._close("the process group was aborted")

    def _close(self, why: str | None) -> None:
        if self._leaver is not None:
            self._leaver.forget()
        if self._sums is not None:
            self._sums.close(close_transport=self._owns_transport, why=why)


def _passed_on(name: str) -> Callable[..., Any]:
    def collective(self: EsaGroup, *arguments: Any, **more: Any) -> Any:
        return getattr(self._plain, name)(*arguments, **more)

    collective.__name__ = name
    return collective


# Without these torch would find a backend by itself, but enter C++ with the interpreter's lock held, which gloo's
# threads may need to get on (`WORK_OVERRIDE` in PyProcessGroup.hpp).
_PASSED_ON = (
    "_allgather_base all_gather_single all_gather_single_coalesced all_to_all_single allgather allgather_coalesced "
    "allgather_into_tensor_coalesced alltoall alltoall_base barrier broadcast gather monitored_barrier recv "
    "recv_anysource scatter send"
)
for _name in _PASSED_ON.split():
    if hasattr(dist.ProcessGroup, _name):  # in this version
        setattr(EsaGroup, _name, _passed_on(_name))


class _Leaver:
    """Leaves the run where a program ends without `destroy_process_group`.

    Whether it ends well cannot be known then. So the others get a moment for what they have not received yet, and are
    told: who still wants a sum learns at once that there will be none.
    """

    def __init__(self, sums: Sums, transport: Transport) -> None:
        self._sums = sums
        self._transport = transport
        self._needed = True
        self._why: str | None = None
        self._now = threading.Event()
        # Made now, because an interpreter that ends starts no thread any more.
        self._thread = threading.Thread(target=self._run, name="esa-leave", daemon=True)
        self._thread.start()
        atexit.register(self._at_exit)

    def forget(self) -> None:
        """Somebody else has left the run, or does."""
        atexit.unregister(self._at_exit)
        self._needed = False
        self._now.set()

    def _run(self) -> None:
        self._now.wait()
        if not self._needed:
            return
        if self._why is None:
            self._sums.close(close_transport=False)
            time.sleep(GRACE_S)
        self._transport.close(self._why or "it ended without destroy_process_group()")

    def _at_exit(self) -> None:
        self._why = _told(getattr(sys, "last_value", None))  # what the interpreter has printed, if it ends for that
        self._now.set()
        self._thread.join(AT_EXIT_S)


def create(options: Any, own: Any = None) -> EsaGroup:
    """What torch.distributed calls for a new group, on its members: `options` are a `_DistributedBackendOptions`.

    own: the `pg_options` of the call, `EsaOptions` or NCCL's. The first group joins the job; JoinError if that fails.
    """
    ranks = tuple(options.global_ranks_in_group) or tuple(range(options.group_size))
    settings = own if isinstance(own, EsaOptions) else EsaOptions()
    network, joined = _network_of(ranks, options.group_rank, settings)
    nccl_options = None if isinstance(own, EsaOptions) else own
    store, rank, size, timeout = options.store, options.group_rank, options.group_size, options.timeout
    try:
        return EsaGroup(store, rank, size, timeout, network, joined, nccl_options)
    except BaseException as error:
        if joined and network is not None:
            network.transport.close(_told(error))
        raise


def _network_of(ranks: tuple[int, ...], rank: int, settings: EsaOptions) -> tuple[Network | None, bool]:
    """That of a group with these ranks, and whether the job was joined for it."""
    known = [group.network for group in c10d._world.pg_map if isinstance(group, EsaGroup) and group.network]
    if known:
        return next((each for each in known if each.ranks == ranks), None), False
    if isinstance(c10d.GroupMember.WORLD, EsaGroup):
        return None, False
    if settings.transport is not None:
        if settings.transport.size != len(ranks):
            raise BadInput(f"transport: it has {settings.transport.size} workers, the group {len(ranks)} ranks")
        scale = adaptive_scale(len(ranks))
        return Network(ranks, settings.transport, scale, settings.priority), False
    job = job_of(None)
    worker = hosts.join(job, rank=rank, size=len(ranks))
    fixed = job.quantisation == "fixed"
    scale = fixed_scale(job.fraction_bits, job.fan_in) if fixed else adaptive_scale(job.fan_in)
    return Network(ranks, worker, scale, settings.priority), True


def _gloo(store: Store, rank: int, size: int, timeout: timedelta) -> dist.ProcessGroup:
    gloo = dist.ProcessGroupGloo(store, rank, size, timeout=timeout)
    gloo._set_sequence_number_for_group()
    group = dist.ProcessGroup(store, rank, size)
    group._set_default_backend(dist.ProcessGroup.BackendType.GLOO)
    group._register_backend(torch.device("cpu"), dist.ProcessGroup.BackendType.GLOO, gloo)
    return group


def _nccl(store: Store, rank: int, size: int, timeout: timedelta, options: Any) -> Any:
    options = options if options is not None else dist.ProcessGroupNCCL.Options()
    options._timeout = timeout
    nccl = dist.ProcessGroupNCCL(store, rank, size, options)
    nccl._set_sequence_number_for_group()
    return nccl


def _operation(opts: Any) -> Any:
    return getattr(opts, "reduceOp", opts)


def _is_float_sum(tensors: Sequence[torch.Tensor], opts: Any) -> bool:
    """Of tensors in host memory."""
    operation = _operation(opts)  # which has the `==` that knows the other
    return any(operation == added for added in _ADDED) and all(
        tensor.device.type == "cpu" and (tensor.is_floating_point() or tensor.is_complex()) for tensor in tensors
    )


def _width(tensor: torch.Tensor) -> int:
    """In real values."""
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def _row(tensors: Sequence[torch.Tensor]) -> list[Output]:
    outputs, place = [], 0
    for tensor in tensors:
        outputs.append(Output(tensor, place))
        place += _width(tensor)
    return outputs


def _check_parts(name: str, whole: torch.Tensor, part: torch.Tensor, parts: int) -> None:
    if whole.numel() != parts * part.numel() or whole.dtype != part.dtype:
        raise BadInput(
            f"{name}: an output of {part.numel()} {part.dtype} values does not fit an input of {whole.numel()} "
            f"{whole.dtype} values for {parts} ranks"
        )


def _told(error: BaseException | None) -> str | None:
    """What the other ranks are told of this one's end; None for one in good order."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return None
    return f"{type(error).__name__}: {error}".rstrip(": ")
