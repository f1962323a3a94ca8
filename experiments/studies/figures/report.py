"""A figure on disk: NAME.png, NAME.csv (what is drawn), NAME.points.csv (every simulation), NAME.seeds.txt."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure as Canvas
from rich import box
from rich.table import Table

from esa.report.statistics import Interval
from experiments.common.folders import write_whole
from experiments.studies.figures import draw
from experiments.studies.figures.cells import MEASURED, Cells
from experiments.studies.figures.figure import Figure, Row, Shown


def write_figure(figure: Figure, cells: Cells, shown: Shown, folder: Path) -> list[Path]:
    """Write a figure's files; return them, the picture first."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"{figure.name}.png"
    canvas = Canvas(figsize=shown.size_inches, layout="constrained")
    canvas.suptitle(f"{figure.title} ({shown.drawn})", fontsize=11)
    shown.draw(canvas)
    draw.save(canvas, picture)
    texts = {
        ".csv": table_text(shown.rows),
        ".points.csv": points_text(cells),
        ".seeds.txt": "".join(f"{seed}\n" for seed in cells.seeds),
    }
    for ending, text in texts.items():
        write_whole(folder / f"{figure.name}{ending}", text)
    return [picture, *(folder / f"{figure.name}{ending}" for ending in texts)]


def table_text(rows: Sequence[Row]) -> str:
    """CSV; an interval x is the columns x, x_low and x_high, and empty where it is not known."""
    flat = [_flat(row) for row in rows]
    return _csv_text(list(dict.fromkeys(name for row in flat for name in row)), flat)


def points_text(cells: Cells) -> str:
    """CSV: one line for every simulation with its place, seed and figures."""
    axes = list(dict.fromkeys(name for cell in cells.cells for name in cell.point.axes))
    lines: list[dict[str, object]] = [
        {
            **cell.point.axes,
            "seed": cell.point.scenario.seed,
            **{name: _number(value) for name, value in cell.measured.items()},
            "incomplete": cell.incomplete or "",
        }
        for cell in cells.cells
    ]
    return _csv_text([*axes, "seed", *MEASURED, "incomplete"], lines)


def markdown(figure: Figure, cells: Cells, shown: Shown) -> str:
    """A figure's title, seeds, table and notes."""
    head = [f"### {figure.name}: {figure.title}", "", f"Seeds {seeds_text(cells.seeds)}. ![]({figure.name}.png)", ""]
    return "\n".join([*head, table_markdown(shown)])


def table_markdown(shown: Shown) -> str:
    """The table, and below it the notes."""
    table = [list(shown.head), ["---"] * len(shown.head), *map(list, shown.lines)]
    body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table]
    notes = [f"- {note}" for note in shown.notes]
    return "\n".join([*body, *(["", *notes] if notes else []), ""])


def terminal_table(figure: Figure, cells: Cells, shown: Shown) -> Table:
    title = f"{figure.name}: {figure.title} (seeds {seeds_text(cells.seeds)})"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title_justify="left")
    for k, name in enumerate(shown.head):
        table.add_column(name, justify="left" if k == 0 else "right", overflow="fold")
    for line in shown.lines:
        table.add_row(*line)
    return table


def seeds_text(seeds: Sequence[int]) -> str:
    """Neighbours as "1-5"."""
    whole = list(seeds) == list(range(seeds[0], seeds[-1] + 1)) and len(seeds) > 1
    return f"{seeds[0]}-{seeds[-1]}" if whole else ", ".join(map(str, seeds))


def _flat(row: Row) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in row.items():
        if isinstance(value, Interval):
            for ending, part in (("", value.centre), ("_low", value.low), ("_high", value.high)):
                flat[name + ending] = _number(part)
            flat["seeds"] = value.seeds
        else:
            flat[name] = value
    return flat


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _csv_text(names: Sequence[str], lines: Sequence[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
