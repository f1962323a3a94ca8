"""The command line `esa`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from topologies.launcher.commands import app as way_in

if TYPE_CHECKING:
    from esa.report import Summary

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.registered_commands += way_in.registered_commands
app.registered_groups += way_in.registered_groups
USAGE_ERROR = 2
INTERRUPTED = 130


@app.command("run")
def run_command(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.toml")],
    policy: Annotated[
        str | None, typer.Option(help="one or several, separated by commas; runs one after the other")
    ] = None,
    switch: Annotated[str | None, typer.Option(help="embedded or bmv2")] = None,
    seed: Annotated[int | None, typer.Option(help="of weights, samples and splits")] = None,
    results: Annotated[Path, typer.Option(help="folder for the runs' folders")] = Path("results"),
    loss: Annotated[float | None, typer.Option(help="part of the packets lost on every link, each way")] = None,
    pcap: Annotated[bool, typer.Option("--pcap", help="capture every switch port")] = False,
) -> None:
    """Train a scenario's jobs through a P4 switch on this machine (needs root)."""
    from controller import SwitchError
    from esa.report import comparison_table
    from experiments.common.folders import FolderError
    from experiments.live.run import RunError, run
    from experiments.specs.scenario import Scenario
    from experiments.specs.toml_files import ScenarioError
    from topologies.p4switch import P4SwitchError
    from topologies.single_rack import NotRootError, require_root

    console = Console()
    names = [None] if policy is None else [name.strip() for name in policy.split(",")]
    try:
        # All of them before the first one starts.
        scenarios = [Scenario.load(scenario, loss=loss, policy=name, switch=switch, seed=seed) for name in names]
        require_root()
        results.mkdir(parents=True, exist_ok=True)
    except (ScenarioError, NotRootError) as error:
        raise _refuse(str(error)) from None
    except OSError as error:
        raise _refuse(f"results: cannot make the folder {results}: {error.strerror}") from None
    summaries = []
    try:
        for chosen in scenarios:
            summary, folder = run(chosen, results, console, pcap=pcap)
            summaries.append(summary)
            _print_tables(console, summary)
            console.print(f"results: {folder}", highlight=False, soft_wrap=True)
    except (FolderError, RunError, P4SwitchError, SwitchError) as error:
        typer.echo(f"esa: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("esa: interrupted; everything is stopped, what was measured is kept", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if len(summaries) > 1:
        console.print(comparison_table(summaries))


@app.command("sim")
def sim_command(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.toml")],
    policy: Annotated[
        str | None, typer.Option(help="one or several, separated by commas; runs one after the other")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="of arrivals, computing times, faults and gradients")] = None,
    results: Annotated[Path, typer.Option(help="folder for the runs' folders")] = Path("results"),
) -> None:
    """Run a scenario in virtual time: the same P4 program, workers and PSs, simulated links and clock."""
    from esa.report import comparison_table
    from experiments.common.folders import FolderError
    from experiments.specs.simulation import Simulation
    from experiments.specs.toml_files import ScenarioError
    from experiments.virtual.simulate import INTERRUPTED as STOPPED
    from experiments.virtual.simulate import run_simulation

    console = Console()
    names = [None] if policy is None else [name.strip() for name in policy.split(",")]
    try:
        # All of them before the first one starts.
        chosen = [Simulation.load(scenario, policy=name, seed=seed) for name in names]
        results.mkdir(parents=True, exist_ok=True)
    except ScenarioError as error:
        raise _refuse(str(error)) from None
    except OSError as error:
        raise _refuse(f"results: cannot make the folder {results}: {error.strerror}") from None
    summaries = []
    try:
        for simulation in chosen:
            summary, folder = run_simulation(simulation, results, console)
            summaries.append(summary)
            _print_tables(console, summary)
            console.print(f"results: {folder}", highlight=False, soft_wrap=True)
            if summary.incomplete == STOPPED:
                raise KeyboardInterrupt
    except FolderError as error:
        raise _refuse(str(error)) from None
    except KeyboardInterrupt:
        typer.echo("esa: interrupted; what was simulated until then is kept", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if len(summaries) > 1:
        console.print(comparison_table(summaries))
    for summary in summaries:
        if summary.incomplete is not None:
            typer.echo(f"esa: {summary.scenario}, {summary.policy}: {summary.incomplete}", err=True)
    if any(summary.incomplete is not None for summary in summaries):
        raise typer.Exit(1)


@app.command("sweep")
def sweep_command(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.toml")],
    executor: Annotated[str, typer.Option(help="local (this machine's processes) or dask")] = "local",
    scheduler: Annotated[str | None, typer.Option(help="a dask scheduler's address, tcp://host:port")] = None,
    jobs: Annotated[int | None, typer.Option(help="processes; one per core", min=1)] = None,
    results: Annotated[Path, typer.Option(help="folder for the sweeps' folders")] = Path("results"),
) -> None:
    """Simulate a grid of scenarios; finished points are kept, and not run again."""
    from esa.signals import ending_interrupts
    from experiments.common.folders import give_to_caller
    from experiments.common.part_progress import PartProgress
    from experiments.specs.sweep_file import load_sweep
    from experiments.specs.toml_files import ScenarioError
    from experiments.virtual.sweep import SweepError, executor_named, finished_points, sweep
    from experiments.virtual.sweep_tables import sweep_table, write_sweep

    console = Console()
    try:
        name, points = load_sweep(file)
        open_executor = executor_named(executor, scheduler, jobs)
        folder = results / f"sweep-{name}"
        folder.mkdir(parents=True, exist_ok=True)
    except (ScenarioError, SweepError) as error:
        raise _refuse(str(error)) from None
    except OSError as error:
        raise _refuse(f"results: cannot make the folder {results}: {error.strerror}") from None
    simulations = [point.simulation for point in points]
    console.print(f"{name}: {len(points)} points, results in {folder}", highlight=False, soft_wrap=True)
    problem: str | None = "ended early"
    try:
        with ending_interrupts(), open_executor() as opened, PartProgress(console, name) as shown:
            done = sweep(simulations, opened, folder, lambda count: shown.part(count / len(points)))
        problem = None
    except KeyboardInterrupt:
        problem = "interrupted"
        typer.echo("esa: interrupted; finished points are kept, the same command goes on from there", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except SweepError as error:
        problem = str(error)
        typer.echo(f"esa: {error}", err=True)
        raise typer.Exit(1) from None
    finally:
        write_sweep(name, points, finished_points(simulations, folder), folder, problem)
        give_to_caller(folder)
    console.print(sweep_table(name, points, done))
    console.print(f"results: {folder}", highlight=False, soft_wrap=True)
    cut = [result.summary for result in done if "incomplete" in result.summary]
    if cut:
        typer.echo(
            f"esa: {len(cut)} of {len(done)} points did not end as they should: {cut[0]['incomplete']}", err=True
        )
        raise typer.Exit(1)


@app.command("report")
def report_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...")],
    output: Annotated[Path, typer.Option(help="the picture")] = Path("report.png"),
) -> None:
    """Print the tables of finished runs and draw JCT and occupancy as a PNG."""
    from esa.report import ReportError, comparison_table, load_run
    from esa.report.plots import plot_runs

    console = Console()
    try:
        loaded = [load_run(folder) for folder in runs]
    except ReportError as error:
        raise _refuse(str(error)) from None
    for one in loaded:
        _print_tables(console, one.summary)
    if len(loaded) > 1:
        console.print(comparison_table([one.summary for one in loaded]))
    try:
        plot_runs(loaded, output)
    except OSError as error:
        raise _refuse(f"output: cannot write {output}: {error.strerror}") from None
    console.print(f"picture: {output}", highlight=False, soft_wrap=True)


@app.command("stop")
def stop_command() -> None:
    """End runs that are under way and remove what a killed one left behind."""
    from topologies.leftovers import stop_runs
    from topologies.single_rack import NotRootError

    try:
        for line in stop_runs():
            typer.echo(line)
    except NotRootError as error:
        raise _refuse(str(error)) from None


@app.command(
    "switch",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def switch_command(context: typer.Context) -> None:
    """Start the embedded P4 switch; arguments are simple_switch_grpc's."""
    from esa.switch.__main__ import main as switch_main

    raise typer.Exit(switch_main(context.args))


def _print_tables(console: Console, summary: Summary) -> None:
    from esa.report import counter_table, fault_table, jct_table

    console.print(jct_table(summary))
    if summary.switch_counters:
        console.print(counter_table(summary))
    if summary.faults is not None:
        console.print(fault_table(summary))


def _refuse(message: str) -> typer.Exit:
    typer.echo(f"esa: {message}", err=True)
    return typer.Exit(USAGE_ERROR)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
