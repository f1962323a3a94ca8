"""One run of `esa gpu`: its tasks, its figures, its folder of results; and the surface over what is not known.

    summary, folder = run_gpu(GpuScenario.load(path), path.parent, Path("results"))

The folder holds the scenario as resolved, `summary.json` and `requests.csv`; equal scenarios give equal bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from esa.errors import BadInput
from esa.gpu import (
    NAMES,
    Outcome,
    Rule,
    Task,
    exclusive,
    fifo,
    fikit,
    issued,
    measure,
    orion_like,
    read_kernels,
    reef_like,
    share,
    synthetic_kernels,
    time_slice,
    xsched_like,
)
from esa.gpu.simulate import MOST_KERNELS, alone
from esa.gpu.task import check_tasks
from esa.report.records import GpuSummary, GpuTaskSummary, JobSummary, Summary
from experiments.common.folders import give_to_caller, new_folder
from experiments.specs.gpu import GpuScenario, GpuTask, RuleSpec

REQUESTS_FILE = "requests.csv"
SECOND_NS = 10**9
SLICES_US = (500, 1000, 2000, 4000)
SWITCHES_US = (0, 50, 200)
PUBLISHED = "published: 1.32 to 16.41, more than half above 3.4 (arXiv 2311.10359, abstract)"


def _ns(us: float) -> int:
    return round(1000 * us)


def rule_of(name: str, spec: RuleSpec) -> Rule:
    """The rule of that name with the scenario's parameters."""
    hook_ns = _ns(spec.hook_us)
    rules = {
        "time-slice": lambda: time_slice(_ns(spec.slice_us), _ns(spec.switch_us)),
        "fifo": fifo,
        "exclusive": lambda: exclusive(hook_ns, depth=spec.depth),
        "priority": lambda: xsched_like(1, hook_ns),
        "xsched-like": lambda: xsched_like(spec.in_flight, hook_ns),
        "orion-like": lambda: orion_like(spec.most_sms, _ns(spec.most_us), hook_ns),
        "reef-like": lambda: reef_like(_ns(spec.reset_us), spec.in_flight, hook_ns),
        "fikit": lambda: fikit(hook_ns, _ns(spec.epsilon_us), ahead=spec.ahead, depth=spec.depth),
    }
    assert tuple(rules) == NAMES
    return rules[name]()


def tasks_of(scenario: GpuScenario, folder: Path) -> list[Task]:
    """The tasks, measured. folder: where the scenario's other files are. BadInput for what cannot run."""
    tasks = [_task(scenario, number, folder) for number in range(len(scenario.tasks))]
    kernels = sum(task.requests * len(task.launches.kernels) for task in tasks if not task.background)
    if kernels > MOST_KERNELS // 4:
        raise BadInput(f"tasks: {kernels} kernels in all; allowed: up to {MOST_KERNELS // 4}")
    check_tasks(tasks)
    asked = scenario.measuring
    return [
        measure(
            task,
            asked.runs,
            by=asked.by,
            gap=asked.gap,
            quantile=asked.quantile,
            scatter=scenario.scatter,
            host_scatter=scenario.host_scatter,
            seed=scenario.seed + 1,
        )
        for task in tasks
    ]


def _task(scenario: GpuScenario, number: int, folder: Path) -> Task:
    spec: GpuTask = scenario.tasks[number]
    if spec.synthetic is not None:
        drawn = spec.synthetic
        seed = scenario.seed + drawn.seed
        kernels = synthetic_kernels(
            drawn.blocks, drawn.kinds, median_us=drawn.median_us, spread=drawn.spread, seed=seed
        )
    else:
        assert spec.kernels is not None
        kernels = read_kernels(folder / spec.kernels)
    arrivals = None
    if spec.interval_us is not None:
        random = np.random.default_rng((scenario.seed, number))
        gaps = random.exponential(1000 * spec.interval_us, spec.requests)
        arrivals = tuple((_ns(spec.start_us) + np.cumsum(gaps).astype(np.int64)).tolist())
    return Task(
        name=spec.name,
        priority=spec.priority,
        launches=issued(kernels, _ns(spec.issue_us), spec.wait_every),
        requests=spec.requests,
        think_ns=_ns(spec.think_us),
        start_ns=_ns(spec.start_us),
        arrivals_ns=arrivals,
        background=spec.background,
    )


def evaluate(scenario: GpuScenario, tasks: Sequence[Task], rule: Rule) -> Outcome:
    """The run itself, a function of its arguments."""
    return share(tasks, rule, scatter=scenario.scatter, host_scatter=scenario.host_scatter, seed=scenario.seed)


def run_gpu(scenario: GpuScenario, source: Path, results: Path) -> tuple[Summary, Path]:
    """Run a scenario; returns its summary and folder."""
    tasks = tasks_of(scenario, source)
    folder = new_folder(results, f"{scenario.name}-{scenario.rule}")
    (folder / "scenario.toml").write_text(scenario.to_toml())
    outcome = evaluate(scenario, tasks, rule_of(scenario.rule, scenario.rules))
    summary = summarise(scenario, tasks, outcome)
    (folder / REQUESTS_FILE).write_text(requests_text(outcome))
    summary.save(folder)
    give_to_caller(folder)
    return summary, folder


def summarise(scenario: GpuScenario, tasks: Sequence[Task], outcome: Outcome) -> Summary:
    """A job is a task, its JCT the mean of its requests'; alone is the same without a hook, durations as they are."""
    jobs = []
    for task, found in zip(tasks, outcome.tasks, strict=True):
        jct_ns = found.mean_jct_ns if found.requests >= task.requests or task.background else None
        alone_ns = None if task.background else alone(task).mean_jct_ns
        jobs.append(
            JobSummary(
                name=task.name,
                workers=1,
                jct_s=None if jct_ns is None else jct_ns / SECOND_NS,
                alone_s=None if alone_ns is None else alone_ns / SECOND_NS,
                inflation=None if jct_ns is None or alone_ns is None else jct_ns / alone_ns,
            )
        )
    return Summary(
        scenario=scenario.name,
        policy=scenario.rule,
        switch="none",
        topology="gpu",
        seed=scenario.seed,
        jobs=jobs,
        makespan_s=None if outcome.incomplete else outcome.elapsed_ns / SECOND_NS,
        gpu=GpuSummary(
            elapsed_s=outcome.elapsed_ns / SECOND_NS,
            idle_s=outcome.idle_ns / SECOND_NS,
            switch_s=outcome.switch_ns / SECOND_NS,
            wasted_s=outcome.wasted_ns / SECOND_NS,
            tasks=[
                GpuTaskSummary(
                    name=one.name,
                    priority=one.priority,
                    requests=one.requests,
                    kernels=one.kernels,
                    busy_s=one.busy_ns / SECOND_NS,
                    filled=one.filled,
                    filled_s=one.filled_ns / SECOND_NS,
                    delay_s=one.delay_ns / SECOND_NS,
                    worst_delay_s=one.worst_delay_ns / SECOND_NS,
                )
                for one in outcome.tasks
            ],
        ),
        incomplete=outcome.incomplete,
    ).with_means()


def requests_text(outcome: Outcome) -> str:
    """A line for each request that ended, but in the background; times in ns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["task", "request", "jct_ns", "ended_ns", "delays_until_then_ns"])
    for task in outcome.tasks:
        columns = zip(task.jct_ns.tolist(), task.ended_ns.tolist(), task.delays_ns.tolist(), strict=True)
        writer.writerows([task.name, request, *figures] for request, figures in enumerate(columns))
    return text.getvalue()


def gpu_table(summary: Summary) -> Table:
    """The figures of a run, for people."""
    found = summary.gpu
    assert found is not None
    parts = [f"{what} {part / found.elapsed_s:.1%}" for what, part in (
        ("idle", found.idle_s), ("switching", found.switch_s), ("wasted", found.wasted_s))]  # fmt: skip
    table = Table(title=f"{summary.scenario}: {summary.policy}; {found.elapsed_s * 1e3:.1f} ms, {', '.join(parts)}")
    for column in ("task", "prio", "JCT ms", "over alone", "GPU", "filled ms", "worst delay ms"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for job, task in zip(summary.jobs, found.tasks, strict=True):
        table.add_row(
            task.name,
            str(task.priority),
            "-" if job.jct_s is None else f"{job.jct_s * 1e3:.3f}",
            "-" if job.inflation is None else f"{job.inflation:.3f}",
            f"{task.busy_s / found.elapsed_s:.1%}",
            f"{task.filled_s * 1e3:.1f}",
            f"{task.worst_delay_s * 1e3:.3f}",
        )
    return table


def surface(scenario: GpuScenario, source: Path) -> Table:
    """Mean JCT under time slices over that under the scenario's rule, by slice and switch cost.

    Of the task of the highest priority, and of that of the lowest; of none in the background.
    """
    tasks = tasks_of(scenario, source)
    timed = [number for number, task in enumerate(tasks) if not task.background]
    high = min(timed, key=lambda number: tasks[number].priority)
    low = max(timed, key=lambda number: tasks[number].priority)
    if high == low and len(timed) > 1:
        low = timed[-1]
    ours = evaluate(scenario, tasks, rule_of(scenario.rule, scenario.rules))
    table = Table(title=f"{scenario.name}: JCT by time slices / by {scenario.rule}", caption=PUBLISHED)
    for column in ("slice ms", "switch us", tasks[high].name, *([] if low == high else [tasks[low].name])):
        table.add_column(column, justify="right")
    for slice_us in SLICES_US:
        for switch_us in SWITCHES_US:
            theirs = evaluate(scenario, tasks, time_slice(_ns(slice_us), _ns(switch_us)))
            ratios = [_ratio(theirs, ours, number) for number in ([high] if low == high else [high, low])]
            table.add_row(f"{slice_us / 1000:g}", str(switch_us), *ratios)
    return table


def _ratio(theirs: Outcome, ours: Outcome, number: int) -> str:
    above, below = theirs.tasks[number].mean_jct_ns, ours.tasks[number].mean_jct_ns
    cut = theirs.incomplete or ours.incomplete
    return "-" if cut or above is None or below is None else f"{above / below:.2f}"
