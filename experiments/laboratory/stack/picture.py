"""The picture of `esa laboratory`: a panel for each setting, a line for each layer that is off, ratios across."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from experiments.laboratory.stack.points import ALL, WHOLE
from experiments.laboratory.stack.settings import SETTINGS
from experiments.specs.stack import StackSpec
from experiments.studies.figures import draw

if TYPE_CHECKING:
    from experiments.laboratory.stack.command import Row

LOOKS = (("#0072B2", "o", "full"), ("#D55E00", "s", "none"))  # of the first figure, and of the second
TICKS = (0.1, 0.2, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
NAMES = {
    "cache": "KV cache",
    "switch": "sums",
    "fifo": "FIFO",
    "none": "unfilled",
    "endless": "no prediction",
    "time-slice": "time slices",
    "faster-transformer": "whole batches",
    "vllm": "vLLM",
    "fp16": "FP16",
}
MOST_TICKS = 6


def picture(canvas: Canvas, rows: Sequence[Row], title: str) -> None:
    """Rows of one scenario; logarithmic, and what a setting does not have is grey."""
    settings = list(dict.fromkeys(row.setting for row in rows))
    lines = list(dict.fromkeys(row.line[:2] for row in rows if row.line.off not in (WHOLE, ALL)))
    order = list(StackSpec.model_fields)
    lines.sort(key=lambda line: order.index(line[0]))
    places = {line: place for place, line in enumerate([*lines, (ALL, "")])}
    panels = canvas.subplots(1, len(settings), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, settings, strict=True):
        _panel(axes, [row for row in rows if row.setting == name], places, SETTINGS[name].figures[:2])
        axes.set_title(name, fontsize=11, pad=34)
    panels[0].set_yticks([*places.values()], [_label(*line) for line in places])
    panels[0].set_ylim(len(places) - 0.5, -0.5)
    canvas.suptitle(
        f"{title}\nover the whole stack's; right of 1: slower without the layer; grey: not in this simulation",
        fontsize=10,
    )


def _label(off: str, instead: str) -> str:
    if off == ALL:
        return "all of them off"
    return f"{NAMES.get(off, off)}: {draw.NAMES.get(instead, NAMES.get(instead, instead))}"


def _panel(axes: Axes, rows: Sequence[Row], places: dict[tuple[str, str], int], figures: Sequence[str]) -> None:
    here = {row.line[:2] for row in rows}
    for line, place in places.items():
        if line not in here:
            axes.axhspan(place - 0.5, place + 0.5, color="#eeeeee", linewidth=0)
    least, most = 0.9, 1.1
    for number, (figure, (colour, mark, fill)) in enumerate(zip(figures, LOOKS, strict=True)):
        known = [(places[row.line[:2]], row.ratio) for row in rows if row.figure == figure and row.ratio is not None]
        x = [ratio.centre for _, ratio in known]
        errors = [[one.centre - one.low for _, one in known], [one.high - one.centre for _, one in known]]
        y = [place + 0.28 * number - 0.14 for place, _ in known]
        axes.errorbar(
            x, y, xerr=errors, color=colour, marker=mark, fillstyle=fill, markersize=5, capsize=2, linestyle="",
            label=figure,
        )  # fmt: skip
        least = min([least, *(one.low for _, one in known)])
        most = max([most, *(one.high for _, one in known)])
    axes.axvline(1, color=draw.GREY, linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(0.95 * least, 1.05 * most)
    ticks = [tick for tick in TICKS if 0.95 * least <= tick <= 1.05 * most]
    while len(ticks) > MOST_TICKS:
        ticks = [tick for k, tick in enumerate(ticks) if tick == 1 or k % 2 == ticks.index(1) % 2]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    draw.grid(axes, "x")
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=8, borderaxespad=0.1)
