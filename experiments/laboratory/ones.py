"""`esa ones`: mean JCT under ONES over that under Tiresias and Optimus; the tables of docs/laboratory.md.

On jobs such as those of ONES' artefact, drawn by ten seeds, on jobs as its files of results have them, and on Pollux's
workloads, each with the artefact's rules and with them repaired; on the first over a network, too, with and without a
look at it. Every figure comes from scenarios as `esa cluster` runs them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from esa.cluster.inventory import Gpu
from esa.cluster.ones.policy import Ones
from esa.cluster.ones.settings import REPAIRED
from esa.cluster.scheduler import JobInfo, Running
from esa.cluster.times import COMPUTING
from esa.cluster.training import Training
from esa.errors import BadInput
from esa.exits import interruptible
from esa.laboratory.inputs.ones_published import MEAN_INTERVAL_S
from esa.report.statistics import Interval, mean_interval, ratio_interval
from experiments.common.kept import code_of, run_kept
from experiments.common.processes import local_executor
from experiments.laboratory.ones_alone import line
from experiments.laboratory.run import evaluate, laboratory_of
from experiments.laboratory.sweep import point_of
from experiments.specs.cluster import ClusterScenario, CostSpec, Hosts, OnesSpec, PolluxSpec
from experiments.specs.cluster_network import ClusterNetwork

WORKLOADS = range(1, 9)
TITLES = {
    "ones": "50 jobs such as the artefact's, {} seeds",
    "published": "50 jobs as the artefact's files of results have them, arrivals of {} seeds",
    "pollux": "Pollux's workloads",
    "network": "50 jobs such as the artefact's over a network of four racks, {} seeds",
}
AS_ARTEFACTS = ("ones", "published")  # without a network
BESIDE = ("tiresias", "optimus")
OURS = ("ones-artefact", "ones")
ON_NETWORK = ("ones", "ones-network")
# Of the artefact's four files of results, 50 jobs, one run each: seconds in the mean, JCT and without a GPU.
PUBLISHED_S = {"tiresias": (501.72, 106.60), "optimus": (452.94, 192.96), "ones": (213.98, 86.24)}
# Seconds between two questions. ONES is asked every second, as in the artefact; on Pollux's workloads, whose epochs are
# longer by an order, every ten; Tiresias and Optimus as in Pollux's simulator there. Of ten and sixty seconds each of
# them had the shorter JCT on the artefact's jobs with what stands here.
_ARTEFACTS = {"tiresias": 10.0, "optimus": 60.0, "ones": 1.0}
TICK_S = {"ones": _ARTEFACTS, "published": _ARTEFACTS, "network": _ARTEFACTS, "pollux": {"ones": 10.0}}
POLLUX_TICK_S = 60.0
START_S = 10.0  # taken, on the artefact's jobs: of a start, and of a rescale and a move by a restart
# Of a rescale and a move under ONES, taken: new processes start beside the old ones, which go on meanwhile, and at the
# end of an iteration parameters are sent and groups made anew (the artefact's src/scaling.py).
IN_PLACE_S = 1.0
CLUSTER = Hosts(hosts=16, gpus=4, placement="most-free")
RACKS = Hosts(hosts=16, gpus=4, racks=4, placement="most-free")
GPUS = 64
NETWORK = ClusterNetwork.model_validate({"policy": "esa", "rows": 1024, "rate": "25 Gb/s", "oversubscription": 4})


@dataclass(frozen=True)
class Point:
    """A run: whose jobs, which of them, and under whom."""

    jobs: str
    which: int
    scheduler: str

    @property
    def name(self) -> str:
        return f"{self.jobs}-{self.which}-{self.scheduler}"


def points(of: Sequence[str], seeds: int) -> list[Point]:
    """Runs of jobs of `TITLES`, the long ones first."""
    names = (*OURS, *BESIDE)
    pollux = [Point("pollux", workload, name) for name in names for workload in WORKLOADS]
    drawn = [Point(jobs, seed, name) for jobs in AS_ARTEFACTS for name in names for seed in range(1, seeds + 1)]
    drawn += [Point("network", seed, name) for name in (*ON_NETWORK, *BESIDE) for seed in range(1, seeds + 1)]
    return [point for point in (*pollux, *drawn) if point.jobs in of]


def scenario_of(point: Point, simulator: Path) -> ClusterScenario:
    """As `esa cluster` would read it. simulator: the folder simulator/ of petuum/adaptdl."""
    ones = point.scheduler in (*OURS, *ON_NETWORK)
    elastic = point.scheduler == "optimus"
    ticks = TICK_S[point.jobs]
    tick_s = ticks.get("ones" if ones else point.scheduler, POLLUX_TICK_S)
    traces = str(simulator / "traces")
    if point.jobs != "pollux":
        on_network, as_published = point.jobs == "network", point.jobs == "published"
        change_s = IN_PLACE_S if ones else START_S
        return ClusterScenario(
            name=point.name,
            seed=point.which,
            scheduler=point.scheduler,
            tick_s=tick_s,
            cluster=RACKS if on_network else CLUSTER,
            network=NETWORK if on_network else None,
            costs=CostSpec(start_s=START_S, rescale_s=change_s, migrate_s=change_s),
            ones=OnesSpec(
                traces=traces,
                mean_interval_s=MEAN_INTERVAL_S if as_published else 30,
                elastic=elastic,
                growing=ones,
                as_published=as_published,
            ),
        )
    workload = str(simulator / "workloads" / f"workload-{point.which}.csv")
    return ClusterScenario(
        name=point.name,
        scheduler=point.scheduler,
        tick_s=tick_s,
        round_s=1,
        cluster=CLUSTER,
        pollux=PolluxSpec(traces=traces, workload=workload, elastic=elastic, growing=ones),
    )


def figures_of(point: Point, simulator: Path) -> dict[str, float]:
    """Seconds in the mean: JCT, and without a GPU."""
    scenario = scenario_of(point, simulator)
    _, outcome = evaluate(scenario, laboratory_of(scenario, Path()))
    assert outcome.incomplete is None
    jobs = len(outcome.jobs)
    jct_ns = sum(job.jct_ns for job in outcome.jobs if job.jct_ns is not None)
    return {"jct_s": jct_ns / jobs / 1e9, "queued_s": sum(job.queued_ns for job in outcome.jobs) / jobs / 1e9}


def compare(
    simulator: Path, of: Sequence[str], seeds: int, results: Path, processes: int | None, console: Console
) -> None:
    """Run what is not in `results` yet, and print the tables. BadInput if the folder is not Pollux's simulator."""
    for name in of:
        if name not in TITLES:
            raise BadInput(f"of: '{name}'; allowed: {', '.join(TITLES)}")
    for name in ("traces", "workloads"):
        if not (simulator / name).is_dir():
            raise BadInput(f"{simulator}: no folder {name}; allowed: simulator/ of petuum/adaptdl, osdi21-artifact")
    simulator = simulator.resolve()
    by_key = {point_of(scenario_of(point, simulator)).to_toml(): point for point in points(of, seeds)}
    with (
        interruptible("finished simulations are kept, the same command goes on from there"),
        local_executor(processes) as pool,
    ):
        by_scenario = run_kept(
            {key: (figures_of, point, simulator) for key, point in by_key.items()},
            results / "ones",
            code_of(__file__),
            pool,
            each=lambda key, figures: console.print(f"{by_key[key].name}: {figures['jct_s']:.1f} s", highlight=False),
        )
    found = {point: by_scenario[key] for key, point in by_key.items()}
    for jobs in of:
        shown = {point: figures for point, figures in found.items() if point.jobs == jobs}
        console.print(_table(TITLES[jobs].format(seeds), shown))
        if jobs in AS_ARTEFACTS:
            console.print(line(jobs, GPUS), highlight=False)


def _table(title: str, found: dict[Point, dict[str, float]]) -> Table:
    """Seconds in the mean, and ratios run by run, with 95 % intervals."""
    which = sorted({point.which for point in found})

    def series(scheduler: str, figure: str) -> list[float]:
        by_run = {point.which: figures[figure] for point, figures in found.items() if point.scheduler == scheduler}
        return [by_run[run] for run in which]

    jobs = next(iter(found)).jobs
    table = Table(title=title)
    for column in ("scheduler", "mean JCT s", "of it waiting s", *(f"over {name}'s" for name in BESIDE)):
        table.add_column(column, justify="left" if column == "scheduler" else "right")
    ours = ON_NETWORK if jobs == "network" else OURS
    for scheduler in (*BESIDE, *ours):
        jct_s = series(scheduler, "jct_s")
        ratios = [_shown(ratio_interval(jct_s, series(name, "jct_s")), 3) for name in BESIDE]
        seconds = _shown(mean_interval(jct_s), 0)
        queued_s = f"{sum(series(scheduler, 'queued_s')) / len(which):.0f}"
        table.add_row(scheduler, seconds, queued_s, *(ratios if scheduler in ours else ("", "")))
    if jobs in AS_ARTEFACTS:
        for scheduler in (*BESIDE, "ones"):
            jct, queued = PUBLISHED_S[scheduler]
            beside = [f"{jct / PUBLISHED_S[name][0]:.3f}" if scheduler == "ones" else "" for name in BESIDE]
            table.add_row(f"{scheduler}, as published", f"{jct:.0f}", f"{queued:.0f}", *beside)
    if jobs == "network":
        over = ratio_interval(series("ones-network", "jct_s"), series("ones", "jct_s"))
        table.caption = f"ones-network over ones: {_shown(over, 3)}"
    return table


def _shown(one: Interval, digits: int) -> str:
    return f"{one.centre:.{digits}f} [{one.low:.{digits}f}, {one.high:.{digits}f}]"


def tick_times(ticks: int = 400) -> list[float]:
    """CPU milliseconds of ticks of ONES on 64 GPUs where 40 jobs run and wait; without those in which it learns."""
    from esa.cluster.inventory import Cluster, Host, Nic

    cluster = Cluster(tuple(Host(0, Nic(10e9), gpus=4) for _ in range(16)), max_jobs=64)
    decide = Ones(REPAIRED, 1)
    on: dict[int, tuple[Gpu, ...]] = {}
    samples = dict.fromkeys(range(40), 0.0)
    found = []
    for tick in range(ticks):
        infos = {number: _trained(number, done) for number, done in samples.items()}
        running = [Running(infos[number], 0, gpus, None) for number, gpus in on.items()]
        waiting = [info for number, info in infos.items() if number not in on]
        before = time.thread_time()
        decision = decide(tick * 10**9, cluster, waiting, running, COMPUTING)
        found.append(1e3 * (time.thread_time() - before))
        for stop in decision.stops:
            del on[stop.job]
        on |= {one.job: one.workers for one in (*decision.resizes, *decision.starts)}
        samples = {number: done + 50.0 * len(on.get(number, ())) for number, done in samples.items()}
    return found[ticks // 4 :]


def _trained(number: int, samples: float) -> JobInfo:
    training = Training(100, int(samples // 100), samples, 50.0, 1.0, 1.0 / (1.0 + samples), 0.0)
    return JobInfo(number, f"job-{number}", 4, number, 10**6, has_server=False, elastic=(1, 64), training=training)


def tick_line(found: Sequence[float]) -> str:
    marks: Iterator[float] = iter(np.percentile(found, (50, 99)).tolist())
    return f"a tick of ONES, 64 GPUs, 40 jobs: median {next(marks):.2f} ms of CPU, 99th percentile {next(marks):.2f} ms"
