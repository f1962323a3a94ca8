"""What `esa bench` does: measure and print ratios.

`results/bench.json` keeps them with the machine, `bench.md` is the same as a table.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.table import Table

from esa.errors import BadInput
from esa.exits import interruptible
from experiments.common.folders import make_folder, write_whole
from experiments.studies.bench.row import Figure, Row, number
from topologies.single_rack import require_root

PARTS = (
    "limits",
    "pipeline",
    "growth",
    "simulator",
    "laboratory",
    "gradients",
    "allreduce",
    "training",
    "gpu",
    "start",
    "router",
    "interruption",
    "large",
)
"""The modules that measure, in the order in which they do."""


def bench(results: Path, names: Sequence[str] = ()) -> None:
    """Measure all parts or those named; results/bench.json has each as soon as it is measured.

    Rows of a part that is not measured this time stay. BadInput, NotRootError, FolderError, BenchError.
    """
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise BadInput(f"bench: no part '{unknown[0]}'; there are: {', '.join(PARTS)}")
    require_root()
    make_folder(results)
    path = results / "bench.json"
    console = Console(width=max(Console().width, 150))  # a wrapped table is hard to read
    with interruptible(f"parts that were through are in {path}"):
        for part in [name for name in PARTS if not names or name in names]:
            rows = list(_part(part).measure(lambda text: console.print(text, highlight=False)))
            if not rows:  # the machine has not what it measures, which was said
                continue
            console.print(table(part, rows))
            keep(path, part, rows)
            if draw := getattr(_part(part), "draw", None):
                console.print(f"picture: {draw(results, rows)}", highlight=False)
    if path.exists():
        console.print(f"figures: {path}", highlight=False)


def _part(name: str) -> ModuleType:
    return import_module(f"experiments.studies.bench.{name}")


def table(part: str, rows: Iterable[Row]) -> Table:
    """The rows of a part as they are printed."""
    made = Table("what", "figure", "unit", "compared with", "figure ", "ratio", title=part)
    for each in rows:
        ratio = "" if each.ratio is None else number(each.ratio)
        other = "" if each.other_figure is None else str(each.other_figure)
        what = f"{each.what} ({each.note})" if each.note else each.what
        made.add_row(what, str(each.figure), each.unit, each.other, other, ratio)
    return made


def keep(path: Path, part: str, rows: Sequence[Row]) -> None:
    """Put a part's rows into the file, in the place of those from before; other machines' parts do not stay."""
    machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "kernel": platform.release()}
    before = json.loads(path.read_text()) if path.exists() else {}
    parts = before.get("parts", {}) if before.get("machine") == machine else {}
    parts[part] = [each.as_json() for each in rows]
    ordered = {name: parts[name] for name in PARTS if name in parts}
    write_whole(path, json.dumps({"machine": machine, "parts": ordered}, indent=2) + "\n")
    write_whole(path.with_suffix(".md"), _markdown(ordered))


def _markdown(parts: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The rows in the file, as a table for the documentation."""
    lines = ["| what | figure | unit | compared with | figure | ratio |", "|---|---|---|---|---|---|"]
    for each in chain.from_iterable(parts.values()):
        figures = [str(Figure(**each[key])) if each[key] else "" for key in ("figure", "other_figure")]
        ratio = "" if each["ratio"] is None else number(each["ratio"])
        what = f"{each['what']} ({each['note']})" if each["note"] else each["what"]
        lines.append(f"| {what} | {figures[0]} | {each['unit']} | {each['other']} | {figures[1]} | {ratio} |")
    return "\n".join(lines) + "\n"
