"""How far formula and flows are from packets: the same questions at all three levels, over a map.

The map is jobs x rows x oversubscription, under each switch policy: jobs of 2 to 8 ranks, one or two on a host, on
hosts that are drawn from two racks of eight; an iteration's sums take about as long as its computing. No
constant of level 2 is from the draws of seed 3.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from esa.cluster.times import Asked
from esa.errors import BadInput
from esa.exits import interruptible
from esa.network_times.levels import NETWORK_LEVELS, NetworkTimes
from esa.network_times.network import SWITCH_POLICIES, Network
from esa.workloads import profile
from experiments.common.folders import give_to_caller, make_folder, write_whole
from experiments.common.part_progress import PartProgress
from experiments.common.processes import local_executor

JOBS = (2, 4, 8)
ROWS = (128, 512, 2048)
OVERSUBSCRIPTION = (1, 8)
ROWLESS = ("ps", "ring")
HOSTS, RACKS, RATE_BPS = 16, 2, 100e9
PACE = {"communication-heavy": 1.0, "computation-heavy": 1.0, "resnet50": 0.05}  # of their computing
TARGET_MEDIAN, TARGET_P95 = 0.10, 0.25
FILE = "levels.csv"


class Place(NamedTuple):
    """Of the map. Under a policy without rows, `rows` is that of the others' first place."""

    policy: str
    jobs: int
    rows: int
    oversubscription: int
    seed: int

    @property
    def network(self) -> Network:
        spine_bps = HOSTS / RACKS * RATE_BPS / self.oversubscription
        return Network(self.policy, rows=self.rows, rate_bps=RATE_BPS, spine_bps=spine_bps)

    @property
    def running(self) -> list[Asked]:
        """The same jobs wherever jobs and seed are the same."""
        dice = random.Random(f"map {self.seed} {self.jobs}")
        return [_drawn(number, dice) for number in range(self.jobs)]


class Found(NamedTuple):
    """At a place, seconds of an iteration by job: by formula, by flows, by packets; and the latter's standard error."""

    place: Place
    seconds: tuple[tuple[float, ...], ...]
    error_s: tuple[float, ...]


def _drawn(number: int, dice: random.Random) -> Asked:
    model = dice.choice(sorted(PACE))
    each = dice.choice((1, 2))
    hosts = dice.sample(range(HOSTS), max(2, dice.choice((2, 4, 8)) // each))
    found = profile(model)
    gpu_ns = round(PACE[model] * (found.forward_ns + found.backward_ns)) * each * len(hosts)
    return Asked(number, model, gpu_ns, 0, 0, tuple((host, each) for host in hosts), left_ns=10**12 << number)


def places(seeds: Sequence[int]) -> Iterator[Place]:
    for seed in seeds:
        for jobs in JOBS:
            for oversubscription in OVERSUBSCRIPTION:
                for policy in SWITCH_POLICIES:
                    for rows in ROWS[:1] if policy in ROWLESS else ROWS:
                        yield Place(policy, jobs, rows, oversubscription, seed)


def find(place: Place, folder: Path | None = None) -> Found:
    """Ask at all levels. folder: as in `NetworkTimes`."""
    racks = [host * RACKS // HOSTS for host in range(HOSTS)]
    by_level = [
        NetworkTimes(place.network, racks, level=level, folder=folder)(place.running) for level in NETWORK_LEVELS
    ]
    seconds = tuple(tuple(answer.iteration_s for answer in answers) for answers in by_level)
    return Found(place, seconds, tuple(answer.error_s for answer in by_level[-1]))


def errors(found: Sequence[Found], level: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """|level's - packets'| over packets', by job. level: 1 or 2."""
    return np.array(
        [
            abs(mine / packets - 1)
            for one in found
            for mine, packets in zip(one.seconds[level - 1], one.seconds[-1], strict=True)
        ]
    )


def print_levels(seeds: int, results: Path, processes: int | None) -> None:
    """Ask at every place, print the errors, write them down. BadInput for no seeds."""
    if not 1 <= seeds <= 100:
        raise BadInput(f"seeds: {seeds}; allowed: 1 to 100")
    console = Console(width=max(Console().width, 120))
    folder = make_folder(results / "levels")
    asked = [*places(range(1, seeds + 1))]
    with (
        interruptible("answers by packets are kept, the same command goes on from there"),
        local_executor(processes) as executor,
        PartProgress(console, "levels") as shown,
    ):
        found = _all(asked, executor, shown.part)
    write_whole(folder / FILE, _csv(found))
    give_to_caller(folder)
    console.print(error_table(found))
    console.print(verdict(found), highlight=False, soft_wrap=True)
    console.print(f"every answer: {folder / FILE}", highlight=False, soft_wrap=True)


def _all(asked: Sequence[Place], executor: Executor, progress: Callable[[float], None]) -> list[Found]:
    running = {executor.submit(find, place): k for k, place in enumerate(asked)}
    done: dict[int, Found] = {}
    for future in as_completed(running):
        done[running[future]] = future.result()
        progress(len(done) / len(asked))
    return [done[k] for k in range(len(asked))]


def error_table(found: Sequence[Found]) -> Table:
    """Median and 95th percentile of both levels' errors, over everything and along each axis."""
    table = Table(box=box.SIMPLE_HEAD, title="error of an iteration's time, beside level 3", pad_edge=False)
    for name in ("where", "answers", "1: median", "95 %", "2: median", "95 %"):
        table.add_column(name, justify="left" if name == "where" else "right")
    groups: list[tuple[str, Sequence[Found]]] = [("everywhere", found)]
    for axis in ("policy", "jobs", "rows", "oversubscription"):
        for value in dict.fromkeys(getattr(one.place, axis) for one in found):
            some = [one for one in found if getattr(one.place, axis) == value]
            if axis == "rows":
                some = [one for one in some if one.place.policy not in ROWLESS]
            groups.append((f"{axis} {value}", some))
    for name, some in groups:
        cells = [f"{each:.1%}" for level in (1, 2) for each in np.percentile(errors(some, level), (50, 95))]
        table.add_row(name, str(len(errors(some, 1))), *cells)
    return table


def verdict(found: Sequence[Found]) -> str:
    """Whether the errors are within what is asked of them."""
    lines = []
    for level in (1, 2):
        median, p95 = np.percentile(errors(found, level), (50, 95))
        holds = "holds" if median <= TARGET_MEDIAN and p95 <= TARGET_P95 else "does not hold"
        lines.append(f"level {level}: {TARGET_MEDIAN:.0%} in the median and {TARGET_P95:.0%} at the 95th: {holds}")
    return "; ".join(lines)


def _csv(found: Sequence[Found]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*Place._fields, "job", *(f"{level}_s" for level in NETWORK_LEVELS), "error_s"])
    for one in found:
        for job, seconds in enumerate(zip(*one.seconds, strict=True)):
            writer.writerow([*one.place, job, *seconds, one.error_s[job]])
    return text.getvalue()
