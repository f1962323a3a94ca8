"""What is made of finished runs, as commands: `esa report|trace`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from esa.errors import BadInput
from esa.exits import commands, interruptible

app = typer.Typer(cls=commands("esa"), no_args_is_help=True, add_completion=False, rich_markup_mode=None)

_RUNS = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Folders of runs, sweeps or figures, or that hold such; a figure's CSV."),
]


@app.command("report")
def report_command(
    runs: _RUNS,
    html: Annotated[Path | None, typer.Option(metavar="FILE.html", help="A page that needs no other file.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown in place of the tables.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that was read as JSON.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw JCT and occupancy; report.png if nothing else is asked."),
    ] = None,
) -> None:
    """Print the tables of runs, sweeps and figures, compare several, and make a page of them."""
    from esa.report.content import compose
    from esa.report.content import markdown as markdown_of
    from esa.report.data import as_data
    from esa.report.plain import plain
    from esa.report.reading import read

    found = read(runs)
    if found.empty:
        raise BadInput(plain("; ".join(found.problems), 2000))
    if markdown and as_json:
        raise BadInput("markdown: with --json; allowed: one of them")
    if as_json:
        print(json.dumps(as_data(found), indent=1, allow_nan=False))
    elif markdown:
        print(markdown_of(compose(found)), end="")
    else:
        console = Console()
        for section in compose(found).sections:
            console.print(*section.grids, sep="\n")
    told = Console(stderr=markdown or as_json)
    for note in found.notes:
        Console(stderr=True).print(plain(note, 400), highlight=False, markup=False, soft_wrap=True)
    if html is not None:
        from esa.report.page import page

        _write(html, page(compose(found)), "html")
        told.print(f"page: {html}", highlight=False, markup=False, soft_wrap=True)
    if found.runs and (output is not None or not (html or markdown or as_json)):
        from esa.report.plots import plot_runs

        picture = output or Path("report.png")
        try:
            plot_runs(found.runs, picture)
        except OSError as error:
            raise BadInput(f"output: cannot write {picture}: {error.strerror}") from None
        told.print(f"picture: {picture}", highlight=False, markup=False, soft_wrap=True)
    if found.problems:
        sys.stdout.flush()
        raise BadInput(plain("; ".join(found.problems), 2000))


@app.command("trace")
def trace_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, live or in virtual time.")],
    output: Annotated[Path, typer.Option(metavar="FILE.json", help="The trace.")] = Path("trace.json"),
    steps: Annotated[
        int, typer.Option(min=10, max=1_000_000, help="Virtual time: looks over the run's length.")
    ] = 2000,
) -> None:
    """Write a run over time as a trace for Perfetto (ui.perfetto.dev): workers, PSs, switches.

    A run in virtual time is simulated once more for it, and looked at meanwhile.
    """
    from esa.report.live_trace import live_trace
    from esa.report.plain import plain
    from esa.report.reading import read
    from esa.report.records import VIRTUAL

    found = read([run])
    if len(found.runs) != 1:
        several = f"{run}: {len(found.runs)} runs; allowed: the folder of one"
        raise BadInput(plain("; ".join(found.problems) or several, 2000))
    (one,) = found.runs
    told = Console(stderr=True)
    for note in found.notes:
        told.print(plain(note, 400), highlight=False, markup=False, soft_wrap=True)
    if one.summary.switch == VIRTUAL:
        from experiments.common.part_progress import PartProgress
        from experiments.virtual.trace import scenario_of, virtual_trace

        scenario = scenario_of(one)
        with interruptible("nothing was written"), PartProgress(told, "trace") as shown:
            trace, same = virtual_trace(one, scenario, steps, shown.part)
        if not same:
            told.print(
                "the run does not come out as it is kept: this is the trace of its scenario as this version runs it",
                highlight=False,
                soft_wrap=True,
            )
    else:
        trace = live_trace(one)
    _write(output, trace.text(), "output")
    Console().print(f"trace: {output}, {len(trace.events)} events", highlight=False, markup=False, soft_wrap=True)


def _write(path: Path, text: str, option: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise BadInput(f"{option}: cannot write {path}: {error.strerror}") from None
