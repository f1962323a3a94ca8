"""What measures and draws: `esa figures|study|claims|reality|congestion|recovery|soak|again|bench|ones|...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esa.exits import commands

app = typer.Typer(cls=commands("esa"), no_args_is_help=True, add_completion=False, rich_markup_mode=None)
RESULTS = Path("results")

ResultsOption = Annotated[Path, typer.Option(metavar="DIR", help="Where results are written.")]
SeedOption = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of everything that is drawn.")]


@app.command("figures")
def figures_command(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Figures; all unless named.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller models, fewer places and seeds.")] = False,
    results: Annotated[
        Path, typer.Option(metavar="DIR", help="Figures go to DIR/figures, quick ones to DIR/figures/quick.")
    ] = RESULTS,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; one per core by default.")] = None,
    document: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Put the tables into this document, where it has marks.")
    ] = None,
) -> None:
    """Draw the figures of the evaluation. Finished simulations are kept; the same command goes on from there."""
    from experiments.studies.figures.make import make_figures

    make_figures(names or (), quick, results, jobs, document)


@app.command("study")
def study_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="aryl: beside FIFO; aryl-network: on a network.")],
    quick: Annotated[bool, typer.Option("--quick", help="Fewer places and seeds.")] = False,
    results: Annotated[Path, typer.Option(metavar="DIR", help="It goes to DIR/studies.")] = RESULTS,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; one per core by default.")] = None,
    document: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Put the table into this document, where it has a mark.")
    ] = None,
) -> None:
    """Compare schedulers of a cluster over ten seeds; finished simulations are kept."""
    from experiments.studies.laboratory.make import make_study

    make_study(name, quick, results, jobs, document)


@app.command("claims")
def claims_command(
    quick: Annotated[bool, typer.Option("--quick", help="Smaller models, fewer places and seeds.")] = False,
    results: Annotated[Path, typer.Option(metavar="DIR", help="Where `esa figures` keeps its simulations.")] = RESULTS,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; one per core by default.")] = None,
) -> None:
    """Hold what is claimed of ESA against the figures: a line each, exit status 1 if one falls short."""
    from experiments.studies.figures.claims import check_claims

    check_claims(quick, results, jobs)


@app.command("reality")
def reality_command(
    scenarios: Annotated[
        list[Path] | None, typer.Argument(metavar="[SCENARIO.toml]...", help="Those of scenarios/reality by default.")
    ] = None,
    policy: Annotated[
        str, typer.Option(metavar="NAME,...", help="Separated by commas; all by default.")
    ] = "esa,atp,switchml,ps",
    repeats: Annotated[int, typer.Option(min=1, help="Of a run on Mininet; the least disturbed one counts.")] = 1,
    within: Annotated[float, typer.Option(help="What mean JCT may be off, as a part of 1.")] = 0.15,
    results: ResultsOption = RESULTS,
) -> None:
    """Run scenarios on Mininet and in virtual time, and compare mean JCT (needs root)."""
    from experiments.studies.reality import reality

    reality(scenarios or (), policy, repeats, within, results)


@app.command("congestion")
def congestion_command(
    live: Annotated[
        bool, typer.Option("--live", help="On Mininet, which needs root, and not in virtual time.")
    ] = False,
    results: ResultsOption = RESULTS,
) -> None:
    """Hold congestion control against its limits: incast, and jobs beside TCP; exit status 1 if one falls short."""
    from experiments.studies.congestion import congestion

    congestion(live, results)


@app.command("recovery")
def recovery_command(
    repeats: Annotated[int, typer.Option(min=2, help="How often each kind is measured.")] = 6,
    seed: SeedOption = 1,
    results: ResultsOption = RESULTS,
) -> None:
    """Measure how long a lost packet and a killed switch, PS, controller or worker hold jobs up (needs root)."""
    from experiments.studies.recovery import recovery

    recovery(repeats, seed, results)


@app.command("soak")
def soak_command(
    minutes: Annotated[float, typer.Option(help="How long, above 0 and at most 10,000.")] = 10.0,
    seed: SeedOption = 1,
    results: ResultsOption = RESULTS,
) -> None:
    """Run random scenarios with faults and kills on Mininet; a failing run's folder is kept (needs root)."""
    from experiments.studies.soak import soak_until

    soak_until(minutes, seed, results)


@app.command("again")
def again_command(
    rounds: Annotated[int, typer.Option(min=1, help="For each policy.")] = 10,
    policies: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Separated by commas; all by default.")
    ] = None,
    seed: SeedOption = 1,
) -> None:
    """Train one script again and again under every policy, with a Ctrl-C in between (needs root)."""
    from experiments.studies.again import again

    again(rounds, policies, seed)


@app.command("bench")
def bench_command(
    names: Annotated[list[str] | None, typer.Argument(metavar="[PART]...", help="Parts; all unless named.")] = None,
    results: ResultsOption = RESULTS,
) -> None:
    """Measure ratios side by side, against BMv2 and ns-3 where they are installed (needs root)."""
    from experiments.studies.bench.measure import bench

    bench(results, names or [])


@app.command("accuracy")
def accuracy_command(
    workers: Annotated[list[int] | None, typer.Option(min=1, max=32, help="Of a job; can be given again.")] = None,
) -> None:
    """Print the table of the sums' errors, beside sums in float32."""
    from experiments.studies.bench.accuracy import print_table

    print_table(workers or (2, 8, 32))


@app.command("ones")
def ones_command(
    simulator: Annotated[
        Path, typer.Argument(metavar="DIR", help="simulator/ of petuum/adaptdl, branch osdi21-artifact.")
    ],
    of: Annotated[
        str, typer.Option(metavar="NAME,...", help="Whose jobs: ones, published, pollux; network: ones over a network.")
    ] = "ones,pollux",
    seeds: Annotated[int, typer.Option(min=2, help="Of jobs such as those of ONES' artefact.")] = 10,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; one per core by default.")] = None,
    results: ResultsOption = RESULTS,
) -> None:
    """Print mean JCT under ONES beside Tiresias and Optimus, and its decisions' CPU time. Finished runs are kept."""
    from rich.console import Console

    from experiments.laboratory.ones import compare, tick_line, tick_times

    console = Console()
    compare(simulator, [name.strip() for name in of.split(",")], seeds, results, jobs, console)
    console.print(tick_line(tick_times()), highlight=False)
