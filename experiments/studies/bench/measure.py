"""What `esa bench` does: measure and print ratios; `results/bench.json` keeps them with the machine."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from esa.exits import interruptible
from experiments.common.folders import make_folder
from experiments.studies.bench import allreduce, interruption, large, pipeline, router, simulator
from topologies.single_rack import require_root


def bench(results: Path) -> None:
    """Measure everything; results/bench.json keeps it. NotRootError, FolderError, BenchError."""
    require_root()
    make_folder(results)
    console = Console(width=max(Console().width, 140))  # a wrapped table is hard to read
    rows: list[dict[str, Any]] = []
    with interruptible("nothing is kept"):
        for each in (pipeline, router, interruption, large, simulator, allreduce):
            rows += each.measure(lambda text: console.print(text, highlight=False))
    table = Table("what", "figure", "unit", "compared with", "figure ", "ratio", title="measured side by side")
    for row in rows:
        other = row.get("other_figure")
        ratio = "" if other is None else f"{row['figure'] / other:.2f}"
        table.add_row(
            row["what"],
            f"{row['figure']:,.2f}",
            row["unit"],
            row.get("other", ""),
            "" if other is None else f"{other:,.2f}",
            ratio,
        )
    console.print(table)
    machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "kernel": platform.release()}
    path = results / "bench.json"
    path.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    console.print(f"figures: {path}", highlight=False)
