"""One run of `esa search`: each configuration's capacity, what it costs, the cheapest under limits, the fronts.

    found = run_search(SearchSpec.load(path), Path("results"), console, processes=2)

The folder holds the search as resolved, `search.csv`, a line for each configuration, and `front.svg`. Equal searches
with equally many processes give equal lines: what is pruned goes by groups of so many.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from esa.errors import BadInput
from esa.report.statistics import Interval, mean_interval
from esa.serving.vidur.search import (
    Configuration,
    Found,
    Slo,
    Work,
    cheapest,
    configurations,
    front,
    probe,
    search,
)
from esa.signals import ending_asks
from experiments.common.folders import give_to_caller, new_folder
from experiments.common.part_progress import PartProgress
from experiments.serving.side_by_side import side_by_side
from experiments.specs.search import SearchSpec

RESULTS_FILE, PICTURE_FILE = "search.csv", "front.svg"
LATENCIES = {"ttft_p90_s": "to the first token, 90th percentile, s", "tbt_p99_s": "between tokens, 99th percentile, s"}
_SHOWN = 12
# Okabe and Ito's colours, which people see apart who see red and green alike; each GPU has a mark of its own, too.
_MARKS = {"a100": ("#0072B2", "o"), "h100": ("#D55E00", "s"), "a40": ("#009E73", "^")}


def space_of(spec: SearchSpec) -> list[Configuration]:
    """BadInput where nothing can be placed."""
    space = configurations(
        spec.model,
        spec.gpus,
        per_host=spec.per_host,
        tp=spec.tp,
        pp=spec.pp,
        schedulers=spec.schedulers,
        chunks=spec.chunks,
        caps=spec.caps,
    )
    if not space:
        raise BadInput(f"{spec.name}: no configuration can be placed; allowed: degrees that divide, GPUs enough")
    return space


def work_of(spec: SearchSpec) -> Work:
    """The requests that all configurations get."""
    return Work(spec.lengths, spec.requests, spec.start, spec.request_tokens, spec.delay_s, spec.seed)


def run_search(spec: SearchSpec, results: Path, console: Console, processes: int = 1) -> tuple[list[Found], Path, bool]:
    """What was found, its folder, and whether it was asked to end before all was."""
    space, slo = space_of(spec), Slo(spec.ttft_p90_s, spec.tbt_p99_s)
    work = work_of(spec)
    folder = new_folder(results, spec.name)
    (folder / "search.toml").write_text(spec.to_toml())
    console.print(f"{spec.name}: {len(space)} configurations; results in {folder}", highlight=False, soft_wrap=True)
    try:
        with (
            ending_asks() as asked,
            PartProgress(console, spec.name, packets=False) as shown,
            side_by_side(processes) as several,
        ):
            found = search(
                space,
                work,
                slo if spec.prune else None,
                several=several,
                width=processes,
                progress=shown.part,
                should_stop=asked,
            )
            chosen = chosen_of(found, slo)
            again = [
                [one, *(probe(one.configuration, replace(work, seed=spec.seed + k)) for k in range(1, spec.seeds))]
                for one in (() if asked() else chosen)
            ]
        (folder / RESULTS_FILE).write_text(search_text(found, slo))
        if chosen:
            (folder / PICTURE_FILE).write_text(picture(found, again, slo))
    finally:
        give_to_caller(folder)
    console.print(search_table(spec, found, again, slo))
    return found, folder, len(found) < len(space)


def chosen_of(found: list[Found], slo: Slo) -> list[Found]:
    """The cheapest and those on a front, each once."""
    best = cheapest(found, slo)
    every = [*([] if best is None else [best]), *(one for latency in LATENCIES for one in front(found, latency))]
    return [*dict.fromkeys(every)]


def search_text(found: Iterable[Found], slo: Slo) -> str:
    """A line for each configuration; empty where there is no figure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ("gpu", "tp", "pp", "replicas", "scheduler", "chunk", "cap", "gpus", "dollars")
    figures = ("rate", "per_dollar", "ttft_p90_s", "tbt_p99_s", "mfu", "probes", "pruned", "refused")
    writer.writerow((*names, *figures, "meets"))
    for one in found:
        cells = [getattr(one.configuration, name) for name in names] + [getattr(one, name) for name in figures]
        writer.writerow((*cells, one.meets(slo)))
    return text.getvalue()


def _interval(runs: list[Found], name: str) -> Interval | None:
    values = [getattr(one, name) for one in runs]
    return mean_interval(values) if len(values) > 1 and None not in values else None


def _cell(runs: list[Found], name: str, factor: float = 1.0) -> str:
    known = _interval(runs, name)
    value = getattr(runs[0], name)
    if value is None:
        return "-"
    if known is None:
        return f"{factor * value:.3g}"
    return f"{factor * known.centre:.3g} [{factor * known.low:.3g}, {factor * known.high:.3g}]"


def search_table(spec: SearchSpec, found: list[Found], again: list[list[Found]], slo: Slo) -> Table:
    """The cheapest and the fronts, with intervals over seeds where there are some."""
    best = cheapest(found, slo)
    table = Table(title=f"{spec.name}: {spec.model}, {spec.lengths}", caption_justify="left")
    for name in ("configuration", "requests a second", "for a dollar", "ttft 90 %, s", "tbt 99 %, s", "MFU, %"):
        table.add_column(name)
    for runs in again[:_SHOWN]:
        mark = "* " if best is not None and runs[0].configuration == best.configuration else ""
        figures = [_cell(runs, name) for name in ("rate", "per_dollar", "ttft_p90_s", "tbt_p99_s")]
        table.add_row(f"{mark}{runs[0].configuration.text}", *figures, _cell(runs, "mfu", 100.0))
    left = f"; {len(again) - _SHOWN} more in {RESULTS_FILE}" if len(again) > _SHOWN else ""
    cheap = "none meets the limits" if best is None else "*: the cheapest within the limits"
    table.caption = (
        f"{cheap}; {sum(one.probes for one in found)} runs for {len(found)} configurations, "
        f"{sum(one.pruned for one in found)} pruned, {sum(one.refused is not None for one in found)} refused{left}"
    )
    return table


def picture(found: list[Found], again: list[list[Found]], slo: Slo) -> str:
    """Requests for a dollar over each latency: all, the fronts as lines, limits dashed, intervals as bars. An SVG."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "esa-search", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 4), layout="constrained")
        FigureCanvasSVG(figure)
        for axes, (latency, label) in zip(figure.subplots(1, 2, sharey=True), LATENCIES.items(), strict=True):
            for gpu, (colour, mark) in _MARKS.items():
                mine = [one for one in found if one.configuration.gpu == gpu and getattr(one, latency) is not None]
                if mine:
                    places = [getattr(one, latency) for one in mine], [one.per_dollar for one in mine]
                    axes.scatter(*places, s=18, marker=mark, color=colour, alpha=0.6, label=gpu)
            best = front(found, latency)
            axes.step(
                [getattr(one, latency) for one in best], [one.per_dollar for one in best], where="post", color="black"
            )
            for runs in again:
                x, y = _interval(runs, latency), _interval(runs, "per_dollar")
                if x is not None and y is not None:
                    bars = {"xerr": x.centre - x.low, "yerr": y.centre - y.low}
                    axes.errorbar(x.centre, y.centre, **bars, fmt="none", ecolor="#555555", linewidth=0.8)
            axes.axvline(getattr(slo, latency), linestyle="--", color="#555555", linewidth=1)
            axes.set_xscale("log")
            axes.set_xlabel(label)
        figure.axes[0].set_ylabel("requests for a dollar")
        figure.axes[0].legend()
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
