"""What `esa figures` does: simulate what is missing, print tables, write files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from esa.errors import BadInput
from esa.exits import interruptible
from experiments.common.folders import give_to_caller, make_folder, write_whole
from experiments.common.part_progress import PartProgress
from experiments.common.processes import local_executor
from experiments.studies.figures.base import Effort
from experiments.studies.figures.catalogue import FIGURES
from experiments.studies.figures.document import check_document, fill_document
from experiments.studies.figures.figure import Figure
from experiments.studies.figures.report import markdown, seeds_text, terminal_table
from experiments.studies.figures.run import Made, make_figure
from experiments.virtual.sweep import SweepError

SUMMARY = "summary.md"


def make_figures(
    names: Sequence[str], quick: bool, results: Path, jobs: int | None, document: Path | None = None
) -> None:
    """Make the figures of these names, all if there are none, with as many processes. BadInput, SweepError.

    document: a text that gets their tables, see `document.py`.
    """
    if document is not None:
        check_document(document)
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        raise BadInput(f"unknown figure '{unknown[0]}'; allowed: {', '.join(FIGURES)}")
    kept = results / "figures"
    folder = make_folder(kept / "quick" if quick else kept)
    console = Console(width=max(Console().width, 120))  # a wrapped table is hard to read
    chosen = [FIGURES[name] for name in dict.fromkeys(names or FIGURES)]
    began = time.monotonic()
    try:
        with (
            interruptible("finished simulations are kept, the same command goes on from there"),
            local_executor(jobs) as executor,
        ):
            made = _make_all(chosen, Effort(quick), executor, kept, folder, console)
    finally:
        give_to_caller(kept)
    console.print(_table_of_figures(made))
    console.print(
        f"{len(made)} figures in {time.monotonic() - began:.0f} s; all tables: {folder / SUMMARY}",
        highlight=False,
        soft_wrap=True,
    )
    if cut := [line for one in made for line in one.cut]:
        for line in cut:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        raise SweepError(f"{len(cut)} simulations did not end as they should: {cut[0]}")
    if document is not None:
        fill_document(document, made)


def _make_all(
    chosen: Sequence[Figure], effort: Effort, executor: Executor, kept: Path, folder: Path, console: Console
) -> list[Made]:
    made = []
    for figure in chosen:
        with PartProgress(console, figure.name) as shown:
            one = make_figure(figure, effort, executor, kept, folder, shown.part)
        made.append(one)
        console.print(
            f"{figure.name}: {len(one.cells.cells)} simulations, {one.run} of them run, {one.seconds:.0f} s",
            highlight=False,
            soft_wrap=True,
        )
        console.print(terminal_table(figure, one.cells, one.shown))
        for note in one.shown.notes:
            console.print(f"  {note}", highlight=False, markup=False, soft_wrap=True)
        console.print()
    texts = [markdown(one.figure, one.cells, one.shown) for one in made]
    head = f"Models scaled by {effort.scale:g} unless said otherwise; 95 % confidence intervals over the seeds.\n"
    write_whole(folder / SUMMARY, "\n".join([head, *texts]))
    return made


def _table_of_figures(made: Sequence[Made]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("figure", "what", "seeds", "files"):
        table.add_column(name, overflow="fold")
    for one in made:
        files = ", ".join([str(one.files[0]), *(path.name for path in one.files[1:])])
        table.add_row(one.figure.name, one.figure.title, seeds_text(one.cells.seeds), files)
    return table
