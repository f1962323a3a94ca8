"""The command line `esa`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from esa import log
from esa.errors import BadInput
from esa.exits import commands, interruptible
from experiments.doors import app as doors
from experiments.laboratory.commands import app as laboratory
from experiments.reports import app as reports
from experiments.serving.commands import app as serving
from experiments.studies.commands import app as studies
from experiments.watching import app as watching
from topologies.launcher.commands import app as way_in

if TYPE_CHECKING:
    from esa.report import Summary
    from experiments.specs.scenario import Check, Scenario

app = typer.Typer(
    cls=commands("esa"),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.registered_commands += way_in.registered_commands
app.registered_groups += way_in.registered_groups
app.registered_commands += studies.registered_commands
app.registered_commands += laboratory.registered_commands
app.registered_groups += laboratory.registered_groups
app.registered_commands += serving.registered_commands
app.registered_commands += reports.registered_commands
app.registered_commands += doors.registered_commands
app.registered_commands += watching.registered_commands

_SCENARIO = Annotated[Path, typer.Argument(metavar="SCENARIO.toml")]
_POLICY = Annotated[
    str | None,
    typer.Option(
        help="one or several, separated by commas, runs one after the other; gloo: that transport in its place"
    ),
]
_SEED = Annotated[int | None, typer.Option(help="of weights, samples, arrivals, faults and whatever else is drawn")]
_RESULTS = Annotated[Path, typer.Option(help="folder for the runs' folders")]
_LOSS = Annotated[float | None, typer.Option(help="part of the packets lost on every link, each way")]


@app.callback()
def every_command() -> None:
    """In-network aggregation with preemptive, priority-scheduled switch memory, from P4 to PyTorch."""
    log.begin()


@app.command("run")
def run_command(
    scenario: _SCENARIO,
    virtual: Annotated[
        bool, typer.Option("--virtual", help="in virtual time, as `esa sim` does; live runs need root")
    ] = False,
    policy: _POLICY = None,
    switch: Annotated[str | None, typer.Option(help="embedded or bmv2; live")] = None,
    seed: _SEED = None,
    results: _RESULTS = Path("results"),
    loss: _LOSS = None,
    pcap: Annotated[bool, typer.Option("--pcap", help="capture every switch port; live")] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="for Prometheus: jobs' counters; the switch's own on the next port; live"
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="show jobs, rows, switches and links meanwhile; live")] = False,
) -> None:
    """Train a scenario's jobs through a P4 switch on this machine, or simulate them in virtual time."""
    if virtual:
        live = {"switch": switch is not None, "pcap": pcap, "metrics": metrics is not None, "watch": watch}
        for option, given in live.items():
            if given:
                raise BadInput(f"{option}: virtual time has switches of its own; allowed: without --virtual")
        _run_virtual(scenario, policy, results, loss=loss, seed=seed)
    else:
        overrides = {"seed": seed, "live": None if switch is None else {"switch": switch}}
        _run_live(scenario, policy, results, pcap, metrics, watch, loss=loss, **overrides)


@app.command("sim")
def sim_command(
    scenario: _SCENARIO,
    policy: _POLICY = None,
    seed: _SEED = None,
    results: _RESULTS = Path("results"),
    loss: _LOSS = None,
) -> None:
    """Run a scenario in virtual time: the same P4 program, workers and PSs, simulated links and clock."""
    _run_virtual(scenario, policy, results, loss=loss, seed=seed)


def _run_live(
    path: Path, policies: str | None, results: Path, pcap: bool, metrics: str | None, watch: bool, **overrides: Any
) -> None:
    from esa.metrics import check_address
    from experiments.common.folders import make_folder
    from experiments.live.check import check_live
    from experiments.live.run import run
    from topologies.single_rack import require_root

    scenarios = _loaded(path, policies, check_live, overrides)
    if metrics is not None:
        check_address(metrics)
    require_root()
    make_folder(results)
    with interruptible("everything is stopped, what was measured is kept"):
        _run_all(
            scenarios,
            lambda chosen, console: run(chosen, results, console, pcap=pcap, metrics=metrics, watch=watch),
        )


def _run_virtual(path: Path, policies: str | None, results: Path, **overrides: Any) -> None:
    from esa.report.versions import write_versions
    from experiments.common.folders import make_folder
    from experiments.virtual.check import check_virtual
    from experiments.virtual.run import INTERRUPTED, SimulationError, run_virtual

    def run(chosen: Scenario, console: Console) -> tuple[Summary, Path]:
        summary, folder = run_virtual(chosen, results, console)
        summaries.append(summary)
        write_versions(folder)
        return summary, folder

    summaries: list[Summary] = []
    scenarios = _loaded(path, policies, check_virtual, overrides)
    make_folder(results)
    with interruptible("what was simulated until then is kept"):
        _run_all(scenarios, run, until=INTERRUPTED)
    cut = [f"{one.scenario}, {one.policy}: {one.incomplete}" for one in summaries if one.incomplete is not None]
    if cut:
        raise SimulationError("; ".join(cut))


def _loaded(path: Path, policies: str | None, check: Check, overrides: dict[str, Any]) -> list[Scenario]:
    """The scenario under each policy: all of them before the first one starts."""
    from experiments.specs.scenario import Scenario, sums_by

    names = [None] if policies is None else [name.strip() for name in policies.split(",")]
    return [Scenario.load(path, check, **overrides, **sums_by(name)) for name in names]


def _run_all(
    scenarios: list[Scenario], run: Callable[[Scenario, Console], tuple[Summary, Path]], until: str | None = None
) -> None:
    """Run one after the other, print tables, compare. until: that a summary calls a run that was asked to end."""
    from esa.report import comparison_table, run_tables

    console = Console()
    summaries = []
    for chosen in scenarios:
        summary, folder = run(chosen, console)
        summaries.append(summary)
        console.print(*run_tables(summary), sep="\n")
        console.print(f"results: {folder}", highlight=False, soft_wrap=True)
        if until is not None and summary.incomplete == until:
            raise KeyboardInterrupt
    if len(summaries) > 1:
        console.print(comparison_table(summaries))


@app.command("sweep")
def sweep_command(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.toml")],
    executor: Annotated[str, typer.Option(help="local (this machine's processes) or dask")] = "local",
    scheduler: Annotated[str | None, typer.Option(help="a dask scheduler's address, tcp://host:port")] = None,
    jobs: Annotated[int | None, typer.Option(help="processes; one per core", min=1)] = None,
    results: Annotated[Path, typer.Option(help="folder for the sweeps' folders")] = Path("results"),
) -> None:
    """Simulate a grid of scenarios, of packets or of a cluster; finished points are kept, and not run again."""
    from experiments.common.folders import give_to_caller, make_folder
    from experiments.common.part_progress import PartProgress
    from experiments.laboratory.sweep import runs_of
    from experiments.specs.sweep_file import load_sweep
    from experiments.virtual.check import check_virtual
    from experiments.virtual.sweep import SweepError, executor_named, finished_points, sweep
    from experiments.virtual.sweep_tables import sweep_table, write_sweep

    console = Console(width=max(Console().width, 120))
    name, points = load_sweep(file, check_virtual)
    scenarios, by = runs_of([point.scenario for point in points])
    open_executor = executor_named(executor, scheduler, jobs)
    folder = make_folder(results / f"sweep-{name}")
    console.print(f"{name}: {len(points)} points, results in {folder}", highlight=False, soft_wrap=True)
    problem: str | None = "ended early"
    try:
        with (
            interruptible("finished points are kept, the same command goes on from there"),
            open_executor() as opened,
            PartProgress(console, name) as shown,
        ):
            done = sweep(scenarios, opened, folder, lambda count: shown.part(count / len(points)), by)
        problem = None
    except KeyboardInterrupt:
        problem = "interrupted"
        raise
    except SweepError as error:
        problem = str(error)
        raise
    finally:
        write_sweep(name, points, finished_points(scenarios, folder, by), folder, problem)
        give_to_caller(folder)
    console.print(sweep_table(name, points, done))
    console.print(f"results: {folder}", highlight=False, soft_wrap=True)
    cut = [result.summary for result in done if "incomplete" in result.summary]
    if cut:
        raise SweepError(f"{len(cut)} of {len(done)} points did not end as they should: {cut[0]['incomplete']}")


@app.command("cluster")
def cluster_command(
    scenario: _SCENARIO,
    scheduler: Annotated[
        str | None, typer.Option(help="one or several, separated by commas, runs one after the other")
    ] = None,
    seed: _SEED = None,
    results: _RESULTS = Path("results"),
    draw: Annotated[bool, typer.Option("--draw", help="a picture: which job was on which GPU, and usage")] = False,
) -> None:
    """Run a cluster's scheduler in virtual time: jobs come, get GPUs, and end; docs/laboratory.md."""
    from experiments.common.folders import make_folder
    from experiments.laboratory.run import cluster_table, run_cluster
    from experiments.specs.cluster import ClusterScenario

    names = [None] if scheduler is None else [name.strip() for name in scheduler.split(",")]
    scenarios = [ClusterScenario.load(scenario, scheduler=name, seed=seed) for name in names]
    make_folder(results)
    console = Console()
    with interruptible("what was simulated until then is kept"):
        for chosen in scenarios:
            summary, folder = run_cluster(chosen, scenario.parent, results, console, draw=draw)
            console.print(cluster_table(summary))
            console.print(f"results: {folder}", highlight=False, soft_wrap=True)
            if summary.incomplete is not None:
                raise KeyboardInterrupt


@app.command("stop")
def stop_command() -> None:
    """End runs that are under way and remove what a killed one left behind."""
    from topologies.leftovers import stop_runs

    for line in stop_runs():
        typer.echo(line)


@app.command(
    "switch",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def switch_command(context: typer.Context) -> None:
    """Start the embedded P4 switch; arguments are simple_switch_grpc's."""
    from esa.switch.__main__ import main as switch_main

    raise typer.Exit(switch_main(context.args))


def main() -> None:
    app()


if __name__ == "__main__":
    main()
