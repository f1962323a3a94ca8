"""The command line `esa`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from esa.exits import commands
from experiments.studies.commands import app as studies
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
USAGE_ERROR = 2
INTERRUPTED = 130


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
) -> None:
    """Train a scenario's jobs through a P4 switch on this machine, or simulate them in virtual time."""
    if virtual:
        for option, given in (("switch", switch is not None), ("pcap", pcap)):
            if given:
                raise _refuse(f"{option}: virtual time has switches of its own; allowed: without --virtual")
        _run_virtual(scenario, policy, results, loss=loss, seed=seed)
    else:
        overrides = {"seed": seed, "live": None if switch is None else {"switch": switch}}
        _run_live(scenario, policy, results, pcap, loss=loss, **overrides)


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


def _run_live(path: Path, policies: str | None, results: Path, pcap: bool, **overrides: Any) -> None:
    from controller import SwitchError
    from experiments.common.folders import FolderError
    from experiments.live.check import check_live
    from experiments.live.errors import RunError
    from experiments.live.run import run
    from topologies.p4switch import P4SwitchError
    from topologies.single_rack import NotRootError, require_root

    scenarios = _loaded(path, policies, check_live, overrides)
    try:
        require_root()
    except NotRootError as error:
        raise _refuse(str(error)) from None
    _make_folder(results)
    try:
        _run_all(scenarios, lambda chosen, console: run(chosen, results, console, pcap=pcap))
    except (FolderError, RunError, P4SwitchError, SwitchError) as error:
        typer.echo(f"esa: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("esa: interrupted; everything is stopped, what was measured is kept", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _run_virtual(path: Path, policies: str | None, results: Path, **overrides: Any) -> None:
    from experiments.common.folders import FolderError
    from experiments.virtual.check import check_virtual
    from experiments.virtual.run import INTERRUPTED as STOPPED
    from experiments.virtual.run import run_virtual

    def run(chosen: Scenario, console: Console) -> tuple[Summary, Path]:
        summary, folder = run_virtual(chosen, results, console)
        summaries.append(summary)
        return summary, folder

    summaries: list[Summary] = []
    scenarios = _loaded(path, policies, check_virtual, overrides)
    _make_folder(results)
    try:
        _run_all(scenarios, run, until=STOPPED)
    except FolderError as error:
        raise _refuse(str(error)) from None
    except KeyboardInterrupt:
        typer.echo("esa: interrupted; what was simulated until then is kept", err=True)
        raise typer.Exit(INTERRUPTED) from None
    for summary in summaries:
        if summary.incomplete is not None:
            typer.echo(f"esa: {summary.scenario}, {summary.policy}: {summary.incomplete}", err=True)
    if any(summary.incomplete is not None for summary in summaries):
        raise typer.Exit(1)


def _loaded(path: Path, policies: str | None, check: Check, overrides: dict[str, Any]) -> list[Scenario]:
    """The scenario under each policy: all of them before the first one starts."""
    from experiments.specs.scenario import Scenario, sums_by
    from experiments.specs.toml_files import ScenarioError

    names = [None] if policies is None else [name.strip() for name in policies.split(",")]
    try:
        return [Scenario.load(path, check, **overrides, **sums_by(name)) for name in names]
    except ScenarioError as error:
        raise _refuse(str(error)) from None


def _run_all(
    scenarios: list[Scenario], run: Callable[[Scenario, Console], tuple[Summary, Path]], until: str | None = None
) -> None:
    """Run one after the other, print tables, compare. until: that a summary calls a run that was asked to end."""
    from esa.report import comparison_table

    console = Console()
    summaries = []
    for chosen in scenarios:
        summary, folder = run(chosen, console)
        summaries.append(summary)
        _print_tables(console, summary)
        console.print(f"results: {folder}", highlight=False, soft_wrap=True)
        if until is not None and summary.incomplete == until:
            raise KeyboardInterrupt
    if len(summaries) > 1:
        console.print(comparison_table(summaries))


def _make_folder(results: Path) -> None:
    try:
        results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refuse(f"results: cannot make the folder {results}: {error.strerror}") from None


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
    from experiments.virtual.check import check_virtual
    from experiments.virtual.sweep import SweepError, executor_named, finished_points, sweep
    from experiments.virtual.sweep_tables import sweep_table, write_sweep

    console = Console()
    try:
        name, points = load_sweep(file, check_virtual)
        open_executor = executor_named(executor, scheduler, jobs)
        folder = results / f"sweep-{name}"
        folder.mkdir(parents=True, exist_ok=True)
    except (ScenarioError, SweepError) as error:
        raise _refuse(str(error)) from None
    except OSError as error:
        raise _refuse(f"results: cannot make the folder {results}: {error.strerror}") from None
    scenarios = [point.scenario for point in points]
    console.print(f"{name}: {len(points)} points, results in {folder}", highlight=False, soft_wrap=True)
    problem: str | None = "ended early"
    try:
        with ending_interrupts(), open_executor() as opened, PartProgress(console, name) as shown:
            done = sweep(scenarios, opened, folder, lambda count: shown.part(count / len(points)))
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
        write_sweep(name, points, finished_points(scenarios, folder), folder, problem)
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
    from esa.report import counter_table, fault_table, flow_table, jct_table

    console.print(jct_table(summary))
    if summary.switch_counters:
        console.print(counter_table(summary))
    if summary.flows is not None:
        console.print(flow_table(summary))
    if summary.faults is not None:
        console.print(fault_table(summary))


def _refuse(message: str) -> typer.Exit:
    typer.echo(f"esa: {message}", err=True)
    return typer.Exit(USAGE_ERROR)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
