"""One run of `esa cluster`: its jobs, its figures, its folder of results.

    summary, folder = run_cluster(ClusterScenario.load(path), path.parent, Path("results"), console)

The folder holds the scenario as resolved, `summary.json` and `jobs.csv`; equal scenarios and lists give equal bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from esa.cluster.inventory import Cluster, Host, Nic
from esa.cluster.kinds import Costs, Kind
from esa.cluster.ones.predictor import Record
from esa.cluster.policies import LEARNING, TAKING_TURNS, scheduler
from esa.cluster.policies.aryl import VARIANTS, Aryl
from esa.cluster.scheduler import Decide
from esa.cluster.times import COMPUTING, LEVELS, Times
from esa.laboratory import Outcome, Submitted, simulate_cluster
from esa.laboratory.fairness import finish_time_fairness
from esa.laboratory.inputs.applications import read_applications
from esa.laboratory.inputs.growing import Curve, history
from esa.laboratory.inputs.lists import FORMATS, offered_load, read_list
from esa.laboratory.inputs.ones_network import OnesNetworkTimes
from esa.laboratory.inputs.ones_published import PUBLISHED
from esa.laboratory.inputs.ones_trace import KINDS, OnesTimes, earlier, ones_jobs
from esa.laboratory.inputs.pollux import PolluxTimes, read_workload, workload_curves
from esa.laboratory.inputs.synthetic import synthetic
from esa.laboratory.inputs.topology import read_topology
from esa.laboratory.jobs import check_jobs, check_turns
from esa.laboratory.offers import Offers, diurnal
from esa.laboratory.outcome import JobRecord, Loans
from esa.report.records import ClusterSummary, JobSummary, Summary
from esa.signals import ending_asks
from experiments.common.folders import give_to_caller, new_folder
from experiments.common.garbage import rarely_collecting
from experiments.common.part_progress import PartProgress
from experiments.laboratory.network import check_fan_in, times_of, with_models
from experiments.specs.cluster import ClusterScenario, InferenceSpec

JOBS_FILE = "jobs.csv"
PICTURE = "cluster.png"
SECOND_NS = 10**9
HOUR_NS = 3600 * SECOND_NS
OWN, THEIRS = "training", "inference"  # types of GPUs
_RATE_BPS = 100e9  # of a NIC where there is no network
_PERCENTILES = (50, 95, 99)
_SUMMARIES = TypeAdapter(list[JobSummary])


@dataclass(frozen=True)
class Laboratory:
    """A scenario with its jobs. note: what of a list is not among them, for people. history: of jobs before, to learn
    from.
    """

    cluster: Cluster
    jobs: tuple[Submitted, ...]
    times: Times
    note: str = ""
    offers: Offers | None = None
    history: tuple[Record, ...] = ()


@rarely_collecting()
def laboratory_of(scenario: ClusterScenario, folder: Path) -> Laboratory:
    """Read or draw the jobs. folder: where the scenario's other files are. BadInput for jobs that could never start."""
    note = ""
    times: Times = COMPUTING
    curves: list[Curve] = []
    cluster = cluster_of(scenario, folder)
    offers = None if scenario.inference is None else offers_of(scenario.inference, scenario.seed)
    kind = Kind(costs=_costs(scenario))
    if scenario.synthetic is not None:
        drawn = scenario.synthetic
        jobs = synthetic(
            drawn.jobs,
            drawn.mean_interval_s,
            scenario.seed,
            least_gpus=drawn.least_gpus,
            most_gpus=min(drawn.most_gpus, len(cluster.gpus)),
            elastic=drawn.elastic,
            anywhere=drawn.anywhere,
            own_type=OWN,
            kind=kind,
        )
    elif scenario.list_ is not None:
        asked = scenario.list_
        found = read_list(folder / asked.path, FORMATS[asked.format], days=asked.days, least_s=asked.least_s, kind=kind)
        jobs = found.jobs
        note = f"; {found.left_out} rows without a time, a GPU or a second, {found.dropped} jobs not asked for"
    elif scenario.ones is not None:
        of = scenario.ones
        kinds = PUBLISHED if of.as_published else KINDS
        applications = read_applications(folder / of.traces)
        jobs = ones_jobs(
            applications,
            of.jobs,
            of.mean_interval_s,
            scenario.seed,
            kinds=kinds,
            in_turn=of.as_published,
            most_gpus=len(cluster.gpus),
            elastic=of.elastic,
            growing=of.growing,
            costs=kind.costs,
        )
        times, curves = OnesTimes(kinds), earlier(applications, kinds)
    else:
        assert scenario.pollux is not None
        asked_for = scenario.pollux
        applications = read_applications(folder / asked_for.traces)
        jobs = read_workload(
            folder / asked_for.workload, applications, elastic=asked_for.elastic, growing=asked_for.growing
        )
        times, curves = PolluxTimes(applications), [*workload_curves(applications).values()]
    check_jobs(cluster, jobs)
    if scenario.scheduler in TAKING_TURNS:
        check_turns(jobs, round(scenario.tick_s * SECOND_NS))
    if scenario.network is not None:
        check_fan_in(jobs, scenario.network, cluster)
        over_network = times_of(scenario.network, cluster)
        times = over_network if scenario.ones is None else OnesNetworkTimes(over_network)
        if scenario.ones is None:
            jobs = with_models(jobs, scenario.network, scenario.seed)
    before = tuple(history(curves)) if scenario.scheduler in LEARNING else ()
    return Laboratory(cluster, jobs, times, note, offers, before)


def cluster_of(scenario: ClusterScenario, folder: Path) -> Cluster:
    """The cluster's own hosts, rack by rack, then those of the inference side, in a rack of their own. folder: where
    the scenario's other files are.
    """
    spec, lends = scenario.cluster, scenario.inference
    nic = Nic(_RATE_BPS if scenario.network is None else scenario.network.rate)
    if spec.topology is not None:
        hosts = [Host(at.rack, nic, spec.gpus, OWN, at.pod) for at in read_topology(folder / spec.topology)]
    else:
        assert spec.hosts is not None
        hosts = [Host(host * spec.racks // spec.hosts, nic, spec.gpus, OWN) for host in range(spec.hosts)]
    own = len(hosts)
    if lends is not None:
        pod = 0 if spec.topology is None else hosts[-1].pod + 1
        hosts += [Host(hosts[-1].rack + 1, nic, lends.gpus, THEIRS, pod)] * lends.hosts
    others = frozenset(range(own, len(hosts)))
    gpus = sum(host.gpus for host in hosts)
    return Cluster(tuple(hosts), max_jobs=gpus, placement=spec.placement, down=others, inference=others)


def offers_of(lends: InferenceSpec, seed: int) -> Offers:
    """What the inference side can do without."""
    settings = lends.model_dump(exclude={"gpus"})
    return diurnal(settings.pop("hosts"), seed, **settings)


def scheduler_of(scenario: ClusterScenario, before: Sequence[Record] = ()) -> Decide:
    """The scheduler with the scenario's rules. before: jobs that are over, for one that learns."""
    rules = VARIANTS.get(scenario.scheduler)
    if rules is None:
        return scheduler(scenario.scheduler, scenario.seed, before)
    return Aryl(replace(rules, **scenario.aryl.model_dump()))


def _costs(scenario: ClusterScenario) -> Costs:
    costs = scenario.costs
    return Costs(
        start_ns=round(costs.start_s * SECOND_NS),
        preempt_ns=round(costs.preempt_s * SECOND_NS),
        rescale_ns=round(costs.rescale_s * SECOND_NS),
        migrate_ns=round(costs.migrate_s * SECOND_NS),
        checkpoint=costs.checkpoint,
    )


@rarely_collecting()
def evaluate(
    scenario: ClusterScenario,
    laboratory: Laboratory,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    *,
    spells: bool = False,
) -> tuple[Summary, Outcome]:
    """The run itself, a function of its arguments. spells: the outcome says where jobs were."""
    outcome = simulate_cluster(
        laboratory.cluster,
        laboratory.jobs,
        scheduler_of(scenario, laboratory.history),
        laboratory.times,
        tick_ns=round(scenario.tick_s * SECOND_NS),
        round_ns=round(scenario.round_s * SECOND_NS),
        offers=laboratory.offers,
        spells=spells,
        progress=progress,
        should_stop=should_stop,
    )
    load = None if scenario.pollux else offered_load(laboratory.cluster, laboratory.jobs)
    return summarise(scenario, laboratory.jobs, outcome, load), outcome


def run_cluster(
    scenario: ClusterScenario, source: Path, results: Path, console: Console, *, draw: bool = False
) -> tuple[Summary, Path]:
    """Run a scenario; returns its summary and folder. Asked to end, it keeps what it has, and its summary says so.

    draw: a picture of who was where, too.
    """
    laboratory = laboratory_of(scenario, source)
    folder = new_folder(results, f"{scenario.name}-{scenario.scheduler}")
    (folder / "scenario.toml").write_text(scenario.to_toml())
    jobs, gpus = len(laboratory.jobs), len(laboratory.cluster.gpus)
    load = "" if scenario.pollux else f", offered load {offered_load(laboratory.cluster, laboratory.jobs):.3f}"
    console.print(
        f"{scenario.name}: {jobs} jobs on {gpus} GPUs{load}{laboratory.note}; scheduler {scenario.scheduler}, results "
        f"in {folder}",
        highlight=False,
        soft_wrap=True,
    )
    try:
        what, packets = f"{scenario.name}: {scenario.scheduler}", scenario.network is not None
        with ending_asks() as asked, PartProgress(console, what, packets=packets) as shown:
            summary, outcome = evaluate(scenario, laboratory, shown.part, asked, spells=draw)
        if draw:
            from experiments.laboratory.pictures import draw_cluster

            draw_cluster(laboratory.cluster, outcome, folder / PICTURE)
        (folder / JOBS_FILE).write_text(jobs_text(outcome))
        summary.save(folder)
    finally:
        give_to_caller(folder)
    return summary, folder


def summarise(scenario: ClusterScenario, jobs: Sequence[Submitted], outcome: Outcome, load: float | None) -> Summary:
    """The figures of a run, in seconds and hours."""
    whole = outcome.incomplete is None
    figures = [_figures(one) for one in outcome.jobs]
    jct_s = [one["jct_s"] for one in figures if one["jct_s"] is not None]
    marks = [float(each) for each in np.percentile(jct_s, _PERCENTILES)] if whole else [None] * len(_PERCENTILES)
    held, there, loans = outcome.held, outcome.there, outcome.loans or Loans()
    fairness = finish_time_fairness(jobs, outcome) if whole else []
    return Summary(
        scenario=scenario.name,
        policy=scenario.scheduler,
        switch="none" if scenario.network is None else f"{scenario.network.policy}, {scenario.network.rows} rows",
        topology="cluster",
        seed=scenario.seed,
        jobs=_SUMMARIES.validate_python(figures),
        makespan_s=outcome.makespan_ns / SECOND_NS if whole else None,
        cluster=ClusterSummary(
            gpus=outcome.gpus,
            offered_load=load,
            median_jct_s=marks[0],
            p95_jct_s=marks[1],
            p99_jct_s=marks[2],
            occupancy=held / there if whole and there else None,
            goodput=outcome.useful / there if whole and there else None,
            usage=None if outcome.arriving is None else outcome.arriving.usage,
            fairness=float(np.mean(fairness)) if fairness else None,
            worst_fairness=max(fairness, default=None),
            lent_gpu_h=loans.held / HOUR_NS,
            given_back=loans.given_back,
            reclaim_stops=loans.stops,
            collateral_gpus=loans.collateral,
            preemptions=sum(one.stops for one in outcome.jobs),
            rescales=sum(one.resizes for one in outcome.jobs),
            moves=sum(one.moves for one in outcome.jobs),
            delayed_gpu_h=sum(one.delayed for one in outcome.jobs) / HOUR_NS,
            lost_gpu_h=sum(one.lost for one in outcome.jobs) / HOUR_NS,
            by_level={LEVELS[level]: part / held for level, part in sorted(outcome.by_level.items()) if part},
            decisions=outcome.decisions,
        ),
        incomplete=outcome.incomplete,
    ).with_means()


def _figures(one: JobRecord) -> dict[str, Any]:
    """A job's of `JobSummary`, without one: fifty thousand are checked in one call."""
    jct_ns, waited_ns = one.jct_ns, one.waited_ns
    return {
        "name": one.name,
        "workers": one.workers,
        "jct_s": None if jct_ns is None else jct_ns / SECOND_NS,
        "wait_s": None if waited_ns is None else waited_ns / SECOND_NS,
    }


def jobs_text(outcome: Outcome) -> str:
    """A line for each job, times in nanoseconds, GPU times in GPU nanoseconds; empty where it did not come to pass."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [*vars(outcome.jobs[0])]
    writer.writerow([*names, "jct_ns"])
    writer.writerows([*vars(one).values(), one.jct_ns] for one in outcome.jobs)
    return text.getvalue()


def cluster_table(summary: Summary) -> Table:
    """The figures of a run, for people."""
    found = summary.cluster
    assert found is not None
    table = Table(title=f"{summary.scenario}: {summary.policy}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for what, value in (
        ("mean JCT", _seconds(summary.mean_jct_s)),
        ("median JCT", _seconds(found.median_jct_s)),
        ("95th percentile", _seconds(found.p95_jct_s)),
        ("99th percentile", _seconds(found.p99_jct_s)),
        ("mean queuing", _seconds(summary.mean_wait_s)),
        ("makespan", _seconds(summary.makespan_s)),
        ("GPU occupancy", _part(found.occupancy)),
        ("goodput", _part(found.goodput)),
        ("usage until the last came", _part(found.usage)),
        ("finish-time fairness, worst", f"{_number(found.fairness)}, {_number(found.worst_fairness)}"),
        ("preemptions", str(found.preemptions)),
        ("rescales, moves", f"{found.rescales}, {found.moves}"),
        ("delayed, lost", f"{found.delayed_gpu_h:.1f}, {found.lost_gpu_h:.1f} GPU h"),
        *_loans_lines(found),
        ("times from", ", ".join(f"{level} {part:.0%}" for level, part in found.by_level.items()) or "-"),
    ):
        table.add_row(what, value)
    return table


def _loans_lines(found: ClusterSummary) -> list[tuple[str, str]]:
    if not found.lent_gpu_h:
        return []
    stops = f"{found.reclaim_stops} jobs, {found.collateral_gpus} GPUs elsewhere"
    return [
        ("lent", f"{found.lent_gpu_h:.1f} GPU h"),
        ("given back", f"{found.given_back} hosts"),
        ("stopped for it", stops),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _part(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
