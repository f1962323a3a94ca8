"""What `esa study` does: simulate what is missing, print the table, write it with its picture."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Canvas
from rich import box
from rich.console import Console
from rich.table import Table

from esa.errors import BadInput
from esa.exits import interruptible
from experiments.common.folders import give_to_caller, make_folder, write_whole
from experiments.common.part_progress import PartProgress
from experiments.common.processes import local_executor
from experiments.studies.figures import draw
from experiments.studies.figures.report import table_markdown, table_text
from experiments.studies.laboratory import aryl, aryl_network
from experiments.studies.laboratory.points import run_all

STUDIES: dict[str, Any] = {"aryl": aryl, "aryl-network": aryl_network}
SEEDS = range(1, 11)
QUICK_SEEDS = range(1, 4)


def make_study(name: str, quick: bool, results: Path, jobs: int | None, document: Path | None = None) -> None:
    """Make a study, with as many processes.

    document: gets the table, between `<!-- study NAME -->` and `<!-- end -->`. BadInput.
    """
    if name not in STUDIES:
        raise BadInput(f"unknown study '{name}'; allowed: {', '.join(STUDIES)}")
    study = STUDIES[name]
    place = re.compile(rf"(<!-- study {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if document is not None and not (document.is_file() and place.search(document.read_text())):
        raise BadInput(
            f"document: {document}: no place for the table; allowed: '<!-- study {name} -->' to '<!-- end -->'"
        )
    kept = make_folder(results / "studies")
    console = Console(width=max(Console().width, 120))
    began = time.monotonic()
    try:
        with (
            interruptible("finished simulations are kept, the same command goes on from there"),
            local_executor(jobs) as executor,
            PartProgress(console, name) as progress,
        ):
            points = study.points(QUICK_SEEDS if quick else SEEDS, quick)
            found, run = run_all(points, executor, kept / "points", progress.part)
        shown = study.show(found)
        folder = make_folder(kept / "quick" if quick else kept)
        canvas = Canvas(figsize=shown.size_inches, layout="constrained")
        shown.draw(canvas)
        draw.save(canvas, folder / f"{name}.png")
        text = table_markdown(shown)
        write_whole(folder / f"{name}.csv", table_text(shown.rows))
        write_whole(folder / f"{name}.md", text)
        if document is not None:
            write_whole(document, place.sub(lambda match: f"{match[1]}\n{text}\n{match[2]}", document.read_text()))
    finally:
        give_to_caller(kept)
    table = Table(title=name, box=box.SIMPLE_HEAD, title_justify="left")
    for k, column in enumerate(shown.head):
        table.add_column(column, justify="left" if k < 2 else "right")
    for line in shown.lines:
        table.add_row(*line)
    console.print(table)
    for note in shown.notes:
        console.print(f"  {note}", highlight=False, markup=False, soft_wrap=True)
    seconds = time.monotonic() - began
    text = f"{len(points)} simulations, {run} of them run, {seconds:.0f} s: {folder / name}.png, .csv, .md"
    console.print(text, highlight=False, soft_wrap=True)
