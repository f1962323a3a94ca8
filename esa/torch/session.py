"""One line after `DistributedDataParallel`, and gradients are summed by the switch.

    model = DistributedDataParallel(model)
    esa.torch.attach(model)

or, where the end should be seen,

    with esa.torch.session() as session:
        model.register_comm_hook(*session.hook(model))
        train(model)

What a session needs is a job (ESA_JOB), a coordinator (ESA_CONTROLLER; `esa launch` sets both), and a process group of
exactly the job's workers. Opening one is collective: a problem of any rank is told on every rank, before anything
starts. Leaving it says so to the others, with the error that ended it, if one did.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from pydantic import ValidationError
from torch import nn

from esa import hosts  # whose parts are imported when they are used
from esa.coordination import Cannot
from esa.errors import BadInput, EsaError, JoinError
from esa.hosts.membership import coordinator_address, say, tell
from esa.job import Job
from esa.torch.check import check_model
from esa.torch.groups import agree, hold_alike, is_destroyed, world_of
from esa.torch.hook import esa_hook
from esa.torch.notices import EsaWarning
from esa.torch.state import EsaState
from esa.torch.timeline import Statistics

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from esa.torch.settings import StateSettings

JOB_VARIABLE = "ESA_JOB"
INSIST_S = 0.5

Hook = Callable[[EsaState, Any], torch.futures.Future[torch.Tensor]]


@dataclass(frozen=True)
class Traffic:
    """What a session's gradients took: fragments, and how their sums came about."""

    fragments: int
    by_switch: int  # results that came from the switch
    by_ps: int  # results that came from the PS: what it completed, what a peer gave, and all of them under `atp`
    resends: int
    repeated: int  # fragments sent again under another scale
    redone_buckets: int  # summed in floating point over gloo

    def __str__(self) -> str:
        done = max(1, self.by_switch + self.by_ps)
        return (
            f"{self.fragments:,} fragments, results: {self.by_switch / done:.1%} from the switch,"
            f" {self.by_ps / done:.1%} from the PS; {self.resends:,} resends, {self.repeated:,} under a new scale,"
            f" {self.redone_buckets} buckets redone"
        )


class Session:
    """This process's part in one run of a job; models' states come and go with it. `attach` and `session` make them."""

    def __init__(
        self,
        job: Job,
        worker: hosts.WorkerEndpoint,
        process_group: dist.ProcessGroup,
        *,
        quiet: bool,
        owns_worker: bool = True,
    ) -> None:
        self.job = job
        self.worker = worker
        self._owns_worker = owns_worker
        self._group = process_group
        self._quiet = quiet
        self._states: list[EsaState] = []
        self._before: list[Statistics] = []  # what a state from a checkpoint had counted
        self._closed = False
        self._process = os.getpid()
        atexit.register(self._at_exit)

    @classmethod
    def open(
        cls,
        job: Job | str | Path | None = None,
        controller: str | None = None,
        process_group: dist.ProcessGroup | None = None,
        *,
        quiet: bool = False,
    ) -> Session:
        """Join the job's next run with all ranks of the process group; collective.

        JoinError, on every rank: what does not agree, or which rank cannot take part, and why.
        """
        group = world_of(process_group)
        joined = getattr(group, "transport", None)  # a group of the backend "esa" is in a run already
        if job is None and isinstance(joined, hosts.WorkerEndpoint):
            return cls(joined.job.description, joined, group, quiet=quiet, owns_worker=False)
        loaded: Job | None = None
        try:
            loaded = job_of(job)
            coordinator_address(controller)
            if loaded.fan_in != dist.get_world_size(group):
                raise BadInput(
                    f"job {loaded.name} has {loaded.fan_in} workers, the process group {dist.get_world_size(group)}: "
                    "give as process_group the group of exactly these workers' ranks"
                )
            problem = ""
        except EsaError as error:
            problem = str(error)
        agree(problem, group, JoinError)
        assert loaded is not None
        hold_alike("the job", _summary(loaded), group, JoinError)
        worker: hosts.WorkerEndpoint | None = None
        try:
            worker = hosts.join(loaded, controller, rank=dist.get_rank(group), size=dist.get_world_size(group))
            problem = ""
        except (EsaError, OSError) as error:
            problem = str(error)
        try:
            with _insisting(coordinator_address(controller), loaded, problem):
                agree(problem, group, JoinError)
        except JoinError:
            if worker is not None:
                worker.close("another rank could not join")
            raise
        assert worker is not None
        return cls(loaded, worker, group, quiet=quiet)

    def state(
        self, model: nn.Module | None = None, *, restored: EsaState | None = None, **settings: Unpack[StateSettings]
    ) -> EsaState:
        """A state for one more DDP model; collective. TypeError if the model's gradients cannot be summed.

        restored: a state from a checkpoint to go on with; it keeps its settings and statistics.
        """
        if model is not None:
            _check_on_all_ranks(model, self._group)
        if restored is None:
            state = EsaState.of(self.job, self.worker, self._group, **settings)
        elif settings:
            raise ValueError(f"{', '.join(settings)}: a restored state keeps its own settings; change its attributes")
        else:
            state = restored
            state.attach(self.worker, self._group)
        self._states.append(state)
        self._before.append(Statistics() if restored is None else state.statistics)
        return state

    def hook(self, model: nn.Module | None = None, **settings: Unpack[StateSettings]) -> tuple[EsaState, Hook]:
        """What `register_comm_hook` takes: `ddp.register_comm_hook(*session.hook(ddp))`. Settings are `EsaState`'s."""
        return self.state(model, **settings), esa_hook

    @property
    def statistics(self) -> list[Statistics]:
        """Of every model's state, in the order of their making."""
        return [state.statistics for state in self._states]

    @property
    def traffic(self) -> Traffic:
        """Totals so far."""
        counts, states = self.worker.stats(), self.statistics
        results, via_ps = int(counts["results"]), int(counts["via_ps"])
        before = self._before
        return Traffic(
            fragments=int(counts["fragments"]),
            by_switch=results - via_ps,
            by_ps=via_ps,
            resends=int(counts["resends"]),
            repeated=sum(s.repeated_fragments for s in states) - sum(s.repeated_fragments for s in before),
            redone_buckets=sum(s.redone_buckets for s in states) - sum(s.redone_buckets for s in before),
        )

    def close(self, why: str | None = None) -> None:
        """Leave the run. `why` if it ends before its end; then nobody is waited for."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._at_exit)
        try:
            for state in self._states:
                if why is None:
                    state.close(barrier=False)  # the endpoint stays until all have left
            traffic = self.traffic
            buckets = sum(s.buckets for s in self.statistics) - sum(s.buckets for s in self._before)
        finally:
            if self._owns_worker:
                self.worker.close(why)
            for state in self._states:
                state.close(barrier=False)
        if why is None and self._states and not buckets:
            warnings.warn(
                f"job {self.job.name}: no bucket of gradients ever reached the hook: the switch summed nothing. "
                "Was it registered on the model that was trained (register_comm_hook of DistributedDataParallel)?",
                EsaWarning,
                stacklevel=2,
            )
        elif not self._quiet and self.worker.rank == 0:
            say(f"job {self.job.name}, rank 0: {traffic}")

    def _not_for(self, group: dist.ProcessGroup) -> str:
        """Why this session cannot sum gradients over `group`; empty if it can."""
        ranks, mine = dist.get_process_group_ranks(group), dist.get_process_group_ranks(self._group)
        if self._closed or ranks == mine:
            return ""
        return (
            f"the model's process group has ranks {ranks}, the session's {mine}: a process takes part in one job at a"
            " time with attach; esa.torch.session opens another one beside it"
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(None if error is None else described(error))

    def _at_exit(self) -> None:
        if os.getpid() != self._process:  # a forked child, which is no member of the run
            return
        # A script that ended by an exception has left it here; its threads, this object's too, are still alive.
        error = getattr(sys, "last_value", None)
        self.close(None if error is None else described(error))


_attached: Session | None = None  # what `attach` opened: one run for all models of a process


def session(
    job: Job | str | Path | None = None,
    controller: str | None = None,
    process_group: dist.ProcessGroup | None = None,
    *,
    quiet: bool = False,
) -> Session:
    """Take part in a job's next run: `with esa.torch.session() as session:`; collective.

    job: a Job, or the path of its file; by default ESA_JOB's. controller: where runs are started; by default
    ESA_CONTROLLER's. quiet: no line at the end. JoinError says on every rank what does not agree.
    """
    return Session.open(job, controller, process_group, quiet=quiet)


def attach(
    model: nn.parallel.DistributedDataParallel,
    job: Job | str | Path | None = None,
    controller: str | None = None,
    *,
    wrapper: Callable[[Hook], Hook] | None = None,
    restored: EsaState | None = None,
    quiet: bool = False,
    **settings: Unpack[StateSettings],
) -> EsaState:
    """Let the switch sum this model's gradients from now on; collective over the model's process group.

    The first call opens a session, which ends with the process (or `detach`); models attached later share it. wrapper:
    around the hook, such as torch's `fp16_compress_wrapper`. restored: a state from a checkpoint to go on with.
    settings: those of `EsaState` (`StateSettings`), by default the job's. Returns the model's state, whose
    `statistics` count what happens. A session whose process group was destroyed is ended, and a new one opened.
    """
    global _attached
    if not isinstance(model, nn.parallel.DistributedDataParallel):
        raise TypeError(f"model: a {type(model).__name__}; attach takes the DistributedDataParallel around it")
    group = model.process_group
    _check_on_all_ranks(model, group)
    if _attached is not None and is_destroyed(_attached._group):
        detach()
    agree("" if _attached is None else _attached._not_for(group), group, BadInput)
    if _attached is None or _attached._closed:
        _attached = Session.open(job, controller, group, quiet=quiet)
    state = _attached.state(restored=restored, **settings)
    hook: Hook = esa_hook
    if wrapper is not None:
        hook = wrapper(esa_hook)
        with suppress(AttributeError):  # a bound method's name stays
            # DDP knows bf16_compress_wrapper by its name, and wants NCCL for it: here nobody adds bfloat16.
            hook.__name__ = esa_hook.__name__
    model.register_comm_hook(state, hook)
    return state


def attached() -> Session | None:
    """The session that `attach` opened, if there is one: its `traffic`, its `worker`."""
    return _attached


def detach(why: str | None = None) -> None:
    """End the session that `attach` opened: in good order, as all ranks do, or at once because of `why`.

    Its models' hooks are of no more use.
    """
    global _attached
    if _attached is not None:
        ended, _attached = _attached, None
        ended.close(why)


def _check_on_all_ranks(model: nn.Module, group: dist.ProcessGroup) -> None:
    problem = ""
    try:
        check_model(model)
    except TypeError as error:
        problem = str(error)
    agree(problem, group, TypeError)


def job_of(job: Job | str | Path | None) -> Job:
    """The job itself, that of the file, or that of the environment; BadInput if there is none."""
    if isinstance(job, Job):
        return job
    path = job or os.environ.get(JOB_VARIABLE)
    if not path:
        raise BadInput(f"job: not known: give the path of its file, or set {JOB_VARIABLE} (esa launch does)")
    try:
        return Job.load(path)
    except OSError as error:
        raise BadInput(f"job: {path}: {error.strerror}") from None
    except ValidationError as error:
        raise BadInput(f"job: {path}: {' '.join(str(error).split())}") from None


def _summary(job: Job) -> str:
    """A job in a few words, different for jobs that differ in what its members have to agree on."""
    fixed = job.model_dump_json(exclude={"policy", "pool"})
    digest = hashlib.sha256(fixed.encode()).hexdigest()[:8]
    return f"{job.name} (number {job.job}, {job.fan_in} workers, digest {digest})"


@contextmanager
def _insisting(address: str, job: Job, problem: str) -> Iterator[None]:
    """Let the other ranks not wait for this one at the coordinator, even if they come there only now."""
    if not problem:
        yield
        return
    known = threading.Event()

    def insist() -> None:
        while not known.wait(INSIST_S):
            tell(address, Cannot(job=job, why=problem))

    thread = threading.Thread(target=insist, name="esa-insist", daemon=True)
    thread.start()
    try:
        yield
    finally:
        known.set()
        thread.join()


def described(error: BaseException) -> str:
    """An error in one line, for the other ranks."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
