"""Kernels as a GPU ran them, from torch.profiler's trace (CUPTI): what each is, took, and the gap after it.

    runs = traced_kernels(run, iterations=50)       # on a GPU; UnavailableGpu, one line, where there is none
    found = by_position(runs)
    orion_text(found)                               # reads with `esa.gpu.read_kernels`

A trace is JSON in Chrome's format; its events of category `kernel` have name, grid, block and stream, start and length
in microseconds. Copies and memory sets are no kernels, and are left out, as in Orion's files.
"""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from esa.errors import BadInput, EsaError

HEAD = ("Name", "Profile", "Memory_footprint", "SM_usage", "Duration")
_WARM = 3  # iterations before those that are traced


class UnavailableGpu(EsaError, RuntimeError):  # noqa: N818 - reads as what it is
    """There is no GPU to measure on."""


class Ran(NamedTuple):
    """One kernel. grid, block: threads' blocks, and threads of one."""

    name: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    start_ns: int
    duration_ns: int


class Measured(NamedTuple):
    """A kernel at its place in an iteration: means over the iterations. gap_ns: idle after it, None after the last."""

    name: str
    blocks: int
    duration_ns: int
    gap_ns: int | None


def parse_trace(text: str, source: str = "trace") -> list[Ran]:
    """The kernels of a trace, by start. BadInput for what is no trace, or has none."""
    try:
        events = json.loads(text)["traceEvents"]
        kernels = [_ran(each) for each in events if each.get("cat") == "kernel"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{source}: no trace of torch.profiler ({type(error).__name__}: {error}); allowed: its JSON"
        ) from None
    if not kernels:
        raise BadInput(f"{source}: no kernels; allowed: a trace of a run on a GPU")
    return sorted(kernels, key=lambda one: one.start_ns)


def _ran(event: dict[str, Any]) -> Ran:
    told = event["args"]
    grid, block = (tuple(int(each) for each in told[name]) for name in ("grid", "block"))
    return Ran(str(event["name"]), grid, block, round(1000 * event["ts"]), max(1, round(1000 * event["dur"])))


def by_iteration(kernels: Sequence[Ran], iterations: int) -> list[list[Ran]]:
    """The same kernels, iteration by iteration. BadInput unless all have the same, in the same order."""
    each, over = divmod(len(kernels), iterations)
    if over or not each:
        raise BadInput(f"trace: {len(kernels)} kernels in {iterations} iterations; allowed: as many in each")
    runs = [list(kernels[k * each : (k + 1) * each]) for k in range(iterations)]
    first = [(one.name, one.grid) for one in runs[0]]
    for number, run in enumerate(runs):
        if [(one.name, one.grid) for one in run] != first:
            raise BadInput(f"trace: iteration {number} has other kernels than the first; allowed: the same in each")
    return runs


def by_position(runs: Sequence[Sequence[Ran]]) -> list[Measured]:
    """Means over iterations, by place. A kernel that begins before another ends (other streams) leaves no gap."""
    found = []
    count = len(runs[0])
    for place in range(count):
        mine = [run[place] for run in runs]
        gap_ns = None
        if place + 1 < count:
            gaps = [max(0, run[place + 1].start_ns - run[place].start_ns - run[place].duration_ns) for run in runs]
            gap_ns = sum(gaps) // len(gaps)
        duration_ns = sum(one.duration_ns for one in mine) // len(mine)
        found.append(Measured(mine[0].name, math.prod(mine[0].grid), max(1, duration_ns), gap_ns))
    return found


def orion_text(found: Sequence[Measured], sms: int) -> str:
    """As Orion's files, the profile unknown. sms: of the GPU: a kernel wants one for each block, up to all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows((one.name, -1, 0, min(one.blocks, sms), one.duration_ns) for one in found)
    return text.getvalue()


def gaps_text(found: Sequence[Measured]) -> str:
    """A line for each kernel: its place and the gap after it, ns; none after the last."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("position", "gap_ns"))
    writer.writerows((place, "" if one.gap_ns is None else one.gap_ns) for place, one in enumerate(found))
    return text.getvalue()


def require_gpu() -> str:
    """The GPU's name. UnavailableGpu, one line."""
    import torch

    if not torch.cuda.is_available():
        built = "torch was built without CUDA" if torch.version.cuda is None else "torch finds none"
        raise UnavailableGpu(f"gpu profile: no GPU here ({built}); elsewhere it measures, and its files are read here")
    return str(torch.cuda.get_device_name())


def traced_kernels(run: Callable[[], object], iterations: int) -> list[list[Ran]]:
    """Run it so many times under torch.profiler, synchronised between iterations; kernels by iteration."""
    require_gpu()
    import torch
    from torch.profiler import ProfilerActivity, profile

    for _ in range(_WARM):
        run()
    torch.cuda.synchronize()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Profiler clears events", UserWarning)  # there is one cycle
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            for _ in range(iterations):
                run()
                torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return by_iteration(parse_trace(path.read_text()), iterations)
