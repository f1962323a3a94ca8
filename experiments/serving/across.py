"""What a configuration that was found for some requests costs under others: `esa search --also LENGTHS`.

    rows, folder, cut = run_across(spec, ["bilingual-web-book"], Path("results"), console)

For each workload the cheapest within the limits is searched; then each of these is run at the most requests a second
that it can take of each workload. A ratio is of dollars for a request, over what the workload's own cheapest takes;
with `seeds` above 1 it has an interval over seeds, under which both are measured again.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from esa.report.statistics import Interval, ratio_interval
from esa.serving.vidur.search import Found, Slo, Work, cheapest, probe, search
from esa.signals import ending_asks
from experiments.common.folders import give_to_caller, new_folder
from experiments.common.part_progress import PartProgress
from experiments.serving.search import search_text, space_of, work_of
from experiments.serving.side_by_side import side_by_side
from experiments.specs.search import SearchSpec
from experiments.specs.toml_files import validated

ACROSS_FILE = "across.csv"


@dataclass(frozen=True)
class Row:
    """What was found for `tuned`, run on `on`. runs: by seed; own: likewise, what was found for `on`. slo: limits."""

    tuned: str
    on: str
    runs: tuple[Found, ...]
    own: tuple[Found, ...]
    slo: Slo

    @property
    def ratio(self) -> Interval | None:
        """Of dollars for a request; None where a seed has no capacity. One seed alone has no interval."""
        mine, theirs = ([one.per_dollar for one in runs] for runs in (self.runs, self.own))
        if not all(mine) or not all(theirs):
            return None
        if len(mine) == 1:
            return Interval(theirs[0] / mine[0], theirs[0] / mine[0], theirs[0] / mine[0], 1)
        return ratio_interval(theirs, mine)

    @property
    def meets(self) -> bool:
        """Whether it is within the limits at its capacity, under all seeds."""
        return all(one.meets(self.slo) for one in self.runs)


def specs_of(spec: SearchSpec, others: Sequence[str]) -> dict[str, SearchSpec]:
    """By lengths. ScenarioError for ones that are not known."""
    data = spec.model_dump(mode="json", exclude_none=True)
    return {name: validated(SearchSpec, {**data, "lengths": name}, "--also") for name in (spec.lengths, *others)}


def run_across(
    spec: SearchSpec, others: Sequence[str], results: Path, console: Console, processes: int = 1
) -> tuple[list[Row], Path, bool]:
    """The rows, the folder, and whether it was asked to end before all was. A workload that nothing serves within the
    limits has no row, and a line says so.
    """
    specs, slo, space = specs_of(spec, others), Slo(spec.ttft_p90_s, spec.tbt_p99_s), space_of(spec)
    works: dict[str, list[Work]] = {
        name: [replace(work_of(one), seed=spec.seed + k) for k in range(spec.seeds)] for name, one in specs.items()
    }
    folder = new_folder(results, f"{spec.name}-across")
    (folder / "search.toml").write_text(spec.to_toml())
    console.print(
        f"{spec.name}: {len(space)} configurations for each of {', '.join(specs)}; results in {folder}",
        highlight=False,
        soft_wrap=True,
    )
    best: dict[str, Found] = {}
    runs: dict[tuple[str, str], tuple[Found, ...]] = {}
    cut = False
    try:
        with ending_asks() as asked, side_by_side(processes) as several:
            for name in specs:
                with PartProgress(console, f"{spec.name}: {name}", packets=False) as shown:
                    found = search(
                        space,
                        works[name][0],
                        slo if spec.prune else None,
                        several=several,
                        width=processes,
                        progress=shown.part,
                        should_stop=asked,
                    )
                (folder / f"search-{name}.csv").write_text(search_text(found, slo))
                chosen = cheapest(found, slo)
                if chosen is not None:
                    best[name] = chosen
            places = [(tuned, on) for on in best for tuned in best]
            with PartProgress(console, f"{spec.name}: across", packets=False) as shown:
                for tuned, on in places:
                    cut = asked()
                    if cut:
                        break
                    group = [(best[tuned].configuration, work) for work in works[on]]
                    known = [probe(*one) for one in group] if several is None else several(probe, group)
                    runs[tuned, on] = tuple(known)
                    shown.part(len(runs) / len(places))
        rows = [Row(tuned, on, mine, runs[on, on], slo) for (tuned, on), mine in runs.items() if (on, on) in runs]
        (folder / ACROSS_FILE).write_text(across_text(rows))
    finally:
        give_to_caller(folder)
    for name in specs:
        if name not in best:
            console.print(f"{name}: none meets the limits", highlight=False, soft_wrap=True)
    console.print(across_table(spec, rows))
    return rows, folder, cut


def across_text(rows: Sequence[Row]) -> str:
    """A line for each pair; empty where there is no figure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("tuned", "on", "configuration", "per_dollar", "cost_ratio", "low", "high", "seeds", "meets"))
    for row in rows:
        mean = sum(one.per_dollar for one in row.runs) / len(row.runs)
        ratio = ("", "", "") if row.ratio is None else row.ratio[:3]
        name = row.runs[0].configuration.text
        writer.writerow((row.tuned, row.on, name, mean, *ratio, len(row.runs), row.meets))
    return text.getvalue()


def across_table(spec: SearchSpec, rows: Sequence[Row]) -> Table:
    """A line for each workload that something was found for, a column for each that it is run on."""
    title = f"{spec.name}: dollars for a request over the cheapest's"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    names = [*dict.fromkeys(row.on for row in rows)]
    for head in ("found for", "configuration", *names):
        table.add_column(head)
    for tuned in dict.fromkeys(row.tuned for row in rows):
        mine = {row.on: row for row in rows if row.tuned == tuned}
        first = next(iter(mine.values()))
        table.add_row(tuned, first.runs[0].configuration.text, *(_cell(mine.get(on)) for on in names))
    table.caption = "!: beyond the limits there, at what it can take"
    return table


def _cell(row: Row | None) -> str:
    if row is None or row.ratio is None:
        return "-"
    mark = "" if row.meets else " !"
    if row.tuned == row.on:
        return f"1{mark}"
    if row.ratio.seeds == 1:
        return f"{row.ratio.centre:.3g}{mark}"
    return f"{row.ratio.centre:.3g} [{row.ratio.low:.3g}, {row.ratio.high:.3g}]{mark}"
