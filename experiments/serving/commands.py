"""Inference as commands: `esa serve`, `esa fastserve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from esa.exits import commands, interruptible

app = typer.Typer(cls=commands("esa"), no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.command("serve")
def serve_command(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.toml")],
    scheduler: Annotated[
        str | None, typer.Option(help="one or several, separated by commas, runs one after the other")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="of lengths, arrivals and random routing")] = None,
    results: Annotated[Path, typer.Option(help="folder for the runs' folders")] = Path("results"),
) -> None:
    """Serve requests to a language model in virtual time; docs/serving.md."""
    from experiments.common.folders import make_folder
    from experiments.serving.run import run_serving, serving_table
    from experiments.specs.serving import ServingScenario

    names = [None] if scheduler is None else [name.strip() for name in scheduler.split(",")]
    scenarios = [ServingScenario.load(scenario, scheduler=name, seed=seed) for name in names]
    make_folder(results)
    console = Console()
    with interruptible("what was simulated until then is kept"):
        for chosen in scenarios:
            summary, folder = run_serving(chosen, scenario.parent, results, console)
            console.print(serving_table(summary))
            console.print(f"results: {folder}", highlight=False, soft_wrap=True)
            if summary.incomplete is not None:
                raise KeyboardInterrupt


@app.command("fastserve")
def fastserve_command(
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="of lengths and arrivals")] = 10,
    requests: Annotated[int, typer.Option(min=10, max=100_000, help="of each run")] = 200,
) -> None:
    """Print FastServe's latency beside other orders' and ways to swap, over seeds; docs/serving.md."""
    from experiments.serving.study import print_study

    print_study(seeds, requests, Console())
