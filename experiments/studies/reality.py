"""Virtual time held to reality: `esa reality`.

The same small scenarios twice: on Mininet, where PyTorch trains over the embedded switch; and in virtual time, where
the same P4 program, workers and PSs meet simulated links and a simulated clock. Mean JCT stands side by side, policy by
policy. Two things are claimed, and the exit status says whether they hold: the policies come in the same order, and
no mean JCT is further off than `--within`.

Links are slow, so that neither world waits for a processor. How long workers compute is measured on Mininet, in one run
before the others. This one calibration serves all policies, so nothing is tuned to a policy, and virtual time says what
will be before Mininet does. It is made under `switchml`, under which a worker's link carries its sums and nothing else.

One thing is different from other runs on Mininet. Its links save up to 15,000 bytes while they are idle, 46 fragments,
which then leave at once: for a job that sends 117 an iteration, a network half as fast again. A cable saves nothing.
Here the links of Mininet save two frames.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from esa.errors import BadInput, EsaError
from esa.exits import interruptible
from esa.report import Summary
from esa.report.records import RECORDS
from esa.sim import simulate
from experiments.common.folders import give_to_caller, new_folder
from experiments.live.check import check_live
from experiments.live.run import run
from experiments.specs.scenario import Scenario
from experiments.studies.calibrated import calibrated, calibrated_plan
from experiments.studies.calibration import CAPTURES, Measured, calibration
from experiments.virtual.run import records_text, summarise
from topologies.single_rack import require_root

SCENARIOS = Path(__file__).parents[1] / "scenarios" / "reality"
POLICIES = ("esa", "atp", "switchml", "ps")
CALIBRATION = "switchml"
WORLDS = ("mininet", "virtual")
WITHIN = 0.15  # of Mininet's mean JCT
MININETS_BURST = "burst 15000"
BURST_BYTES = 2 * 1514  # a token bucket must hold a frame
DRAWS = 5
TIE = 0.05  # policies as close as that, in both worlds, are equally fast: a run on Mininet repeats no better


class RealityError(EsaError, RuntimeError):
    """There is nothing to compare, or not the same work was done; one line."""


@dataclass(frozen=True)
class Load:
    """Cores busy on average while a run was under way: with its processes, and with anything else."""

    own: float
    other: float


@dataclass(frozen=True)
class Compared:
    """One policy in both worlds. draws_s: every virtual run's mean JCT. load: of the machine during the Mininet run."""

    policy: str
    mininet: Summary
    virtual: Summary
    draws_s: tuple[float, ...]
    load: Load

    @property
    def ratio(self) -> float:
        """Virtual over Mininet, of mean JCT."""
        return mean_jct_s(self.virtual) / mean_jct_s(self.mininet)


def mean_jct_s(summary: Summary) -> float:
    """RealityError if there is none."""
    if summary.mean_jct_s is None:
        where = f"{summary.scenario}: {summary.policy} on {summary.switch}"
        raise RealityError(f"{where}: {summary.incomplete or 'not every job came to its end'}")
    return summary.mean_jct_s


def check_same_work(mininet: Summary, virtual: Summary) -> None:
    """RealityError unless every job sent as many fragments in both worlds: the same buckets, as often."""
    for real, simulated in zip(mininet.jobs, virtual.jobs, strict=True):
        if real.fragments != simulated.fragments:
            raise RealityError(
                f"{mininet.scenario}: {mininet.policy}: job {real.name} sent {real.fragments} fragments on Mininet, "
                f"{simulated.fragments} in virtual time"
            )


# Verdict


def misordered(mininet: Mapping[str, float], virtual: Mapping[str, float]) -> list[tuple[str, str]]:
    """The pairs of policies that the worlds put in different orders, unless both call them equally fast (`TIE`)."""
    pairs = []
    for a, b in combinations(mininet, 2):
        gaps = [world[b] / world[a] - 1 for world in (mininet, virtual)]
        if gaps[0] * gaps[1] < 0 and max(map(abs, gaps)) > TIE:
            pairs.append((a, b))
    return pairs


def disagreements(mininet: Mapping[str, float], virtual: Mapping[str, float], within: float) -> list[str]:
    """What does not agree, one line each. mininet, virtual: mean JCT by policy."""
    wrong = []
    for policy, measured in mininet.items():
        off = virtual[policy] / measured - 1
        if abs(off) > within:
            wrong.append(f"{policy}: virtual time is {off:+.1%} off; allowed: {within:.0%}")
    return wrong + [f"{a} and {b} come in another order" for a, b in misordered(mininet, virtual)]


# Runs


def calibrate(path: Path, folder: Path, console: Console) -> dict[str, Measured]:
    """By job, from a run of its own whose switch captures every packet."""
    scenario = Scenario.load(path, check_live, policy=CALIBRATION)
    summary, of_run = run(scenario, folder / "calibration", console, pcap=True)
    try:
        mean_jct_s(summary)
        fragments = [job.fragments // (job.workers * job.iterations) for job in summary.jobs]
        return {job.name: calibration(of_run, scenario, k, fragments[k]) for k, job in enumerate(summary.jobs)}
    finally:
        shutil.rmtree(of_run / CAPTURES)  # a hundred megabytes


def compare(
    path: Path, measured: Mapping[str, Measured], policies: Sequence[str], repeats: int, folder: Path, console: Console
) -> list[Compared]:
    """One scenario in both worlds under every policy.

    Of `repeats` runs on Mininet the one counts during which the machine was least busy with anything else; of `DRAWS`
    virtual ones, which draw how long each computation takes, the one with the median mean JCT.
    """
    rows = []
    for policy in policies:
        scenario = Scenario.load(path, check_live, policy=policy)
        virtual, draws_s = _in_virtual_time(scenario, measured, folder)
        runs: list[tuple[Summary, Load]] = []
        for _ in range(repeats):
            with measured_load() as load:
                mininet, _ = run(scenario, folder, console)
            mean_jct_s(mininet)
            runs.append((mininet, load[0]))
        mininet, least = min(runs, key=lambda one: one[1].other)
        check_same_work(mininet, virtual)
        rows.append(Compared(policy, mininet, virtual, draws_s, least))
    return rows


def _in_virtual_time(
    scenario: Scenario, measured: Mapping[str, Measured], folder: Path
) -> tuple[Summary, tuple[float, ...]]:
    """The run with the median mean JCT, whose folder lies beside that of the live run, and every run's mean JCT."""
    drawn = [calibrated(scenario.model_copy(update={"seed": scenario.seed + k}), measured) for k in range(DRAWS)]
    outcomes = [simulate(calibrated_plan(each, measured)) for each in drawn]
    summaries = [summarise(each, outcome) for each, outcome in zip(drawn, outcomes, strict=True)]
    draws_s = tuple(map(mean_jct_s, summaries))
    middle = sorted(range(DRAWS), key=draws_s.__getitem__)[DRAWS // 2]
    summary, outcome = summaries[middle], outcomes[middle]
    results = folder / f"{summary.scenario}-{scenario.method}"
    results.mkdir()
    (results / "scenario.toml").write_text(drawn[middle].to_toml())
    (results / RECORDS).write_text(records_text(outcome))
    summary.save(results)
    return summary, draws_s


@contextmanager
def shallow_buckets() -> Iterator[None]:
    """In the block, links that Mininet makes save up to `BURST_BYTES`; it has no setting for that."""
    from mininet.link import TCIntf  # by now it has been imported without its warnings

    commands = TCIntf.bwCmds

    def shallow(self: Any, **settings: Any) -> tuple[list[str], str]:
        lines, parent = commands(self, **settings)
        if not any(MININETS_BURST in line for line in lines):
            raise RealityError(f"Mininet shapes its links otherwise than expected: {'; '.join(lines)}")
        return [line.replace(MININETS_BURST, f"burst {BURST_BYTES}") for line in lines], parent

    TCIntf.bwCmds = shallow
    try:
        yield
    finally:
        TCIntf.bwCmds = commands


@contextmanager
def measured_load() -> Iterator[list[Load]]:
    """Yields a list that gets how busy the machine was in the block. The kernel's work for no process is `other`."""
    found: list[Load] = []
    start, busy, own = time.monotonic(), _busy_s(), _own_s()
    yield found
    elapsed = time.monotonic() - start
    mine = (_own_s() - own) / elapsed
    found.append(Load(mine, max(0.0, (_busy_s() - busy) / elapsed - mine)))


def _busy_s() -> float:
    """Seconds that all processors together were not idle since the machine's start."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    """Processor seconds of this process and of those of its children that have ended."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in usage)


# Report

COLUMNS = ("policy", "Mininet", "virtual", "ratio", "ratio by job", "via PS", "virtual ", "load")


def cells(row: Compared) -> tuple[str, ...]:
    """A policy's line of the table: mean JCT, parts of the sums that came by the PS, cores busy."""
    by_job = ", ".join(
        f"{real.name} {simulated.jct_s / real.jct_s:.2f}"
        for real, simulated in zip(row.mininet.jobs, row.virtual.jobs, strict=True)
        if real.jct_s and simulated.jct_s
    )
    via_ps = (
        f"{sum(job.via_ps for job in summary.jobs) / sum(job.fragments for job in summary.jobs):.0%}"
        for summary in (row.mininet, row.virtual)
    )
    return (
        row.policy,
        f"{mean_jct_s(row.mininet):.2f} s",
        f"{mean_jct_s(row.virtual):.2f} s",
        f"{row.ratio:.2f}",
        by_job,
        *via_ps,
        f"{row.load.own:.1f} + {row.load.other:.1f}",
    )


def rich_table(name: str, rows: Sequence[Compared]) -> Table:
    """For the terminal."""
    table = Table(title=f"{name}: mean JCT", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, no_wrap=True, justify="left" if column in ("policy", "ratio by job") else "right")
    for row in rows:
        table.add_row(*cells(row))
    return table


def markdown(name: str, rows: Sequence[Compared], measured: Mapping[str, Measured], wrong: Sequence[str]) -> str:
    """For a file."""
    lines = [f"## {name}", "", f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    lines += [f"| {' | '.join(cells(row))} |" for row in rows]
    times = ", ".join(f"{job} {1e3 * of.computing_s:.1f} ms +-{of.jitter:.0%}" for job, of in measured.items())
    said = "; ".join(wrong) or "Ordering and mean JCT agree"
    return "\n".join([*lines, "", f"Computing, an iteration: {times}. {said}.", ""])


HEAD = """# Mininet against virtual time

Mean JCT; ratio: virtual over Mininet; via PS: part of the sums that came from a PS, on Mininet and in virtual time;
load: cores busy while Mininet ran, with the run and with anything else.
"""


def reality(scenarios: Sequence[Path], policy: str, repeats: int, within: float, results: Path) -> None:
    """Compare each scenario, those of `SCENARIOS` if there are none; results/reality-TIME/ keeps it.

    policy: several, separated by commas. BadInput before anything starts; RealityError where the worlds disagree.
    """
    if not 0 < within < 1:
        raise BadInput(f"within: {within:g}; allowed: above 0, below 1")
    paths = scenarios or sorted(SCENARIOS.glob("*.toml"))
    policies = list(dict.fromkeys(name.strip() for name in policy.split(",")))
    for path in paths:  # all of them before the first one starts
        for name in (CALIBRATION, *policies):
            scenario = Scenario.load(path, check_live, policy=name)
            trial = {job.name: Measured(0.001, 0.0, (1,) * job.iterations) for job in scenario.job_specs}
            calibrated_plan(calibrated(scenario, trial), trial)
    require_root()
    folder = new_folder(results, "reality")
    try:
        with interruptible("what was measured is kept"), shallow_buckets():
            wrong = _measure(paths, policies, repeats, within, folder)
    finally:
        give_to_caller(folder)
    if wrong:
        raise RealityError(f"the worlds disagree: {'; '.join(wrong)}")


def _measure(paths: Sequence[Path], policies: Sequence[str], repeats: int, within: float, folder: Path) -> list[str]:
    """Every scenario, its table as soon as it is there; what does not agree."""
    console = Console(highlight=False)
    text, figures = [HEAD], []
    for path in paths:
        measured = calibrate(path, folder, console)
        rows = compare(path, measured, policies, repeats, folder, console)
        mininet, virtual = ({row.policy: mean_jct_s(getattr(row, world)) for row in rows} for world in WORLDS)
        wrong = disagreements(mininet, virtual, within)
        name = rows[0].mininet.scenario
        text.append(markdown(name, rows, measured, wrong))
        figures.append(
            {
                "scenario": name,
                "measured": {job: asdict(of) for job, of in measured.items()},
                "disagreements": wrong,
                "policies": [
                    {"policy": row.policy, "load": asdict(row.load), "draws_s": row.draws_s}
                    | {world: getattr(row, world).as_dict() for world in WORLDS}
                    for row in rows
                ],
            }
        )
        (folder / "reality.md").write_text("\n".join(text))
        (folder / "reality.json").write_text(json.dumps(figures, indent=2) + "\n")
        console.print(rich_table(name, rows))
        console.print("\n".join(f"  {line}" for line in wrong) or "  ordering and mean JCT agree")
    console.print(f"tables: {folder / 'reality.md'}", soft_wrap=True)
    return [f"{one['scenario']}: {line}" for one in figures for line in one["disagreements"]]
