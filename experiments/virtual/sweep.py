"""Many simulations: on this machine's processes, on a cluster, or on whatever else is an Executor.

    with local_executor(jobs=2) as executor:
        results = sweep(points, executor, Path("results/memory"))

A point is a pure function of its scenario, so where it runs and in what order changes nothing. Each is kept as soon as
it is finished, in a file that is named after its scenario; the next sweep over the same folder takes it from there,
unless the code has changed since. Other scenarios than those of packets are run by who is said to (`Runs`); what they
come from is no part of this file's code.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from esa.errors import BadInput, EsaError
from experiments.common.folders import write_whole
from experiments.common.processes import interrupts_stay_here, local_executor
from experiments.specs.scenario import Scenario
from experiments.virtual.check import check_virtual
from experiments.virtual.fingerprint import code_fingerprint
from experiments.virtual.run import evaluate, records_text

POINTS = "points"
EXECUTORS = ("local", "dask")


class SweepError(EsaError, RuntimeError):
    """A sweep that cannot go on; what is finished is kept. One line."""


class Result(NamedTuple):
    """What a point showed: `Summary.as_dict()`, the text of its records.jsonl, and the code that it came from."""

    summary: dict[str, Any]
    records: str
    code: str


class Swept(Protocol):
    """What a point runs."""

    @property
    def name(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def seed(self) -> int: ...

    def to_toml(self) -> str:
        """As resolved: equal texts give equal results."""
        ...


class Runs(NamedTuple):
    """run: what a process does with a resolved scenario, from its text alone; code: the fingerprint of what it is."""

    run: Callable[[str], Result]
    code: Callable[[], str]


def run_point(text: str) -> Result:
    """Simulate a resolved scenario (`Scenario.to_toml`); the same text gives the same result anywhere."""
    summary, outcome = evaluate(Scenario.parse(text, check_virtual))
    return Result(summary.as_dict(), records_text(outcome), code_fingerprint())


def packets() -> Runs:
    """Who runs scenarios of packets."""
    return Runs(run_point, code_fingerprint)


def sweep(
    points: Sequence[Swept],
    executor: Executor,
    folder: Path,
    progress: Callable[[int], None] | None = None,
    by: Runs | None = None,
) -> list[Result]:
    """The results of `points`, in their order; those that `folder` holds already are not run again.

    progress: called with the number of points that are finished. SweepError if a point cannot be run. What still waits
    then, or where this is interrupted, ends with the executor; cancelled from here, it would be told of twice where its
    processes are ended, which concurrent.futures takes for a fault of its own.
    """
    by = by or packets()
    texts = [point.to_toml() for point in points]
    (folder / POINTS).mkdir(parents=True, exist_ok=True)
    found = {text: _read(folder, text, by.code()) for text in texts}
    done = {text: result for text, result in found.items() if result is not None}
    running: dict[Future[Result], str] = {}
    try:
        for text in found:
            if text not in done:
                running[executor.submit(by.run, text)] = text
        _report(progress, texts, done)
        for future in as_completed(running):
            text = running[future]
            done[text] = _finished(future, points[texts.index(text)], by.code())
            write_whole(point_file(folder, text), json.dumps({"scenario": text, **done[text]._asdict()}) + "\n")
            _report(progress, texts, done)
    except BrokenExecutor:
        raise SweepError(
            "a process ended that was at work: was there enough memory? what is finished is kept"
        ) from None
    return [done[text] for text in texts]


def finished_points(points: Sequence[Swept], folder: Path, by: Runs | None = None) -> list[Result | None]:
    """What `folder` holds of them; None: not run."""
    code = (by or packets()).code()
    return [_read(folder, point.to_toml(), code) for point in points]


def point_file(folder: Path, text: str) -> Path:
    """Where the result of a resolved scenario is kept."""
    return folder / POINTS / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _read(folder: Path, text: str, code: str) -> Result | None:
    """A finished point; None if there is none, or one of other code."""
    try:
        kept = json.loads(point_file(folder, text).read_text())
        result = Result(kept["summary"], kept["records"], kept["code"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return result if result.code == code else None


def _finished(future: Future[Result], point: Swept, code: str) -> Result:
    try:
        result = future.result()
    except BrokenExecutor:
        raise
    except Exception as error:
        raise SweepError(f"{point.name}, {point.method}, seed {point.seed}: {type(error).__name__}: {error}") from error
    if result.code != code:
        raise SweepError("a worker of the cluster runs other code than this machine; install the same on both")
    return result


def _report(progress: Callable[[int], None] | None, texts: Sequence[str], done: dict[str, Result]) -> None:
    if progress is not None:
        progress(sum(text in done for text in texts))


def executor_named(
    name: str, scheduler: str | None = None, jobs: int | None = None
) -> Callable[[], contextlib.AbstractContextManager[Executor]]:
    """One of `EXECUTORS`, to be opened where it is used; BadInput if there is none of that name here."""
    if name not in EXECUTORS:
        raise BadInput(f"executor: unknown executor '{name}'; allowed: {', '.join(EXECUTORS)}")
    if name == "local":
        if scheduler is not None:
            raise BadInput("scheduler: 'local' has none; allowed: with --executor dask")
        return partial(local_executor, jobs)
    if importlib.util.find_spec("distributed") is None:
        raise BadInput("executor: 'dask' needs the package distributed: pip install 'esa[cluster]'")
    return partial(dask_executor, scheduler, jobs)


@contextlib.contextmanager
def dask_executor(scheduler: str | None = None, jobs: int | None = None) -> Iterator[Executor]:
    """A dask cluster by its scheduler's address, or one of processes on this machine, gone afterwards.

    SweepError if the scheduler does not answer.
    """
    import distributed

    where: dict[str, Any] = {"address": scheduler}
    if scheduler is None:
        where = {"n_workers": jobs, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with contextlib.ExitStack() as stack:
        try:
            with interrupts_stay_here():
                client = stack.enter_context(distributed.Client(**where))
        except (OSError, ValueError) as error:
            raise SweepError(f"scheduler: {scheduler} does not answer: {error}") from None
        yield client.get_executor()
