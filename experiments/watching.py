"""Runs looked into, as commands: `esa dashboard|explain`."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from esa.errors import BadInput
from esa.exits import commands, interruptible
from esa.report.plain import plain

app = typer.Typer(cls=commands("esa"), no_args_is_help=True, add_completion=False, rich_markup_mode=None)

LIVE = "live"


@app.command("dashboard")
def dashboard_command(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|live]...", help="Folders of runs, or that hold such; live: the newest that is under way."
        ),
    ] = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where it is served; port 0: any.")
    ] = "127.0.0.1:8080",
    results: Annotated[Path, typer.Option(help="Where runs are, if none is named.")] = Path("results"),
) -> None:
    """Serve a page that shows runs, finished, simulated or under way: switch memory, JCT, everything over time."""
    for package in ("aiohttp", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise BadInput(f"dashboard: needs the package {package}: pip install 'esa[dashboard]'")
    from esa.dashboard.folders import Runs, is_under_way
    from esa.dashboard.serving import serve
    from experiments.deeper import DEEPER

    def newest_live() -> Path:
        folders = sorted(results.iterdir() if results.is_dir() else (), key=lambda one: one.stat().st_mtime)
        under_way = [folder for folder in folders if folder.is_dir() and is_under_way(folder)]
        if not under_way:
            raise BadInput(plain(f"live: no run is under way in {results}; allowed: start one, or name a run", 400))
        return under_way[-1]

    paths = [newest_live() if run == LIVE else Path(run) for run in runs or ()] or [results]
    found = Runs(paths, DEEPER)
    if not found.look():
        raise BadInput(plain("; ".join(found.problems), 2000))
    told = Console(stderr=True)

    def say(text: str) -> None:
        told.print(text, highlight=False, markup=False, soft_wrap=True)

    for problem in found.problems:
        say(problem)
    with interruptible("nothing is lost"):
        serve(found, listen, say)


@app.command("explain")
def explain_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, live or in virtual time.")],
    seq: Annotated[int, typer.Argument(metavar="SEQ", min=0, max=2**32 - 1, help="The fragment's number.")],
    job: Annotated[
        str, typer.Option(help="Whose fragment, by the job's name; may be left out where there is one.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what happened to one fragment: who sent it, what the switch did with it, by what way its sum came.

    A run in virtual time is simulated once more for it, and looked at meanwhile; of a live one what it has captured.
    """
    from esa.report.reading import read
    from experiments.common.part_progress import PartProgress
    from experiments.deeper import life_of

    found = read([run])
    if len(found.runs) != 1:
        several = f"{run}: {len(found.runs)} runs; allowed: the folder of one"
        raise BadInput(plain("; ".join(found.problems) or several, 2000))
    (one,) = found.runs
    told = Console(stderr=True)
    with interruptible("nothing was written"), PartProgress(told, "explain") as shown:
        life = life_of(one, job, seq, shown.part)
    if as_json:
        print(json.dumps(life.as_data(), indent=1, allow_nan=False))
    else:
        Console().print(life.table())
        for note in life.notes:
            told.print(plain(note, 400), highlight=False, markup=False, soft_wrap=True)
