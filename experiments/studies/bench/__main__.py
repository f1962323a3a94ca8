"""Measure and print ratios; `results/bench.json` keeps them with the machine they were measured on."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.studies.bench import allreduce, pipeline, simulator
from topologies.single_rack import NotRootError, require_root


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.bench", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder for bench.json")
    options = parser.parse_args()
    try:
        require_root()
    except NotRootError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    console = Console(width=max(Console().width, 140))  # a wrapped table is hard to read
    rows = []
    for measure in (pipeline.measure, simulator.measure, allreduce.measure):
        for row in measure(lambda text: console.print(text, highlight=False)):
            rows.append(row)
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
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / "bench.json"
    path.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    console.print(f"figures: {path}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
