"""How figures look: one colour and one mark per policy, safe for the colour-blind, legends beside the data."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from PIL import Image

from esa.report.statistics import Interval

# Okabe and Ito's palette.
COLOURS = {"esa": "#0072B2", "atp": "#D55E00", "switchml": "#009E73", "ps": "#000000", "other": "#CC79A7"}
MARKS = {"esa": "o", "atp": "s", "switchml": "^", "ps": "D", "other": "v"}
NAMES = {"esa": "ESA", "atp": "ATP", "switchml": "SwitchML", "ps": "PS alone", "ring": "Ring"}
GREY = "#777777"
_DPI = 100


def save(canvas: Canvas, path: Path) -> None:
    """As PNG, with a palette: a third of the size, and hardly to be told apart."""
    FigureCanvasAgg(canvas)
    pixels = io.BytesIO()
    canvas.savefig(pixels, dpi=_DPI)
    Image.open(pixels).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def line(axes: Axes, policy: str, places: Sequence[float], intervals: Sequence[Interval], **more: Any) -> None:
    """One policy's means with error bars; places without a figure are left out."""
    known = [(place, one) for place, one in zip(places, intervals, strict=True) if one.known]
    x = [place for place, _ in known]
    y = [one.centre for _, one in known]
    errors = [[one.centre - one.low for _, one in known], [one.high - one.centre for _, one in known]]
    style = {
        "color": COLOURS.get(policy, COLOURS["other"]),
        "marker": MARKS.get(policy, MARKS["other"]),
        "label": NAMES.get(policy, policy),
        "markersize": 5,
        "linewidth": 1.5,
        "capsize": 3,
    }
    axes.errorbar(x, y, errors, **{**style, **more})


def legend(axes: Axes, **more: Any) -> None:
    """Right of the data."""
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, **more)


def grid(axes: Axes, which: Literal["both", "x", "y"] = "both") -> None:
    axes.grid(True, axis=which, color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def log_values(axes: Axes, lowest: float, highest: float) -> None:
    """A logarithmic y axis with plain numbers, a few of them however short it is; from 0 where it need not be one."""
    if highest < 6 * lowest:
        axes.set_ylim(0, 1.08 * highest)
        return
    axes.set_yscale("log")
    steps = (1.0, 2.0, 5.0) if highest < 300 * lowest else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=steps))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def log_places(axes: Axes, places: Sequence[float], texts: Sequence[str] | None = None) -> None:
    """A logarithmic x axis whose ticks are the places that were measured."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(NullLocator())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(places), texts or [f"{place:g}" for place in places])


def extent(intervals: Sequence[Interval]) -> tuple[float, float]:
    """The lowest and highest of what is known; (1, 1) if nothing is."""
    known = [one for one in intervals if one.known]
    if not known:
        return 1.0, 1.0
    return min(one.centre for one in known), max(one.centre for one in known)


BARS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442")  # where colours are no policies


def ratios_across(axes: Axes, places: Sequence[str], groups: Mapping[str, Sequence[Interval]], label: str) -> None:
    """Bars of ratios, a group per place on the y axis and a colour per name in `groups`; `label`: of the x axis."""
    for k, (name, ratios) in enumerate(groups.items()):
        _bars_across(axes, k, len(groups), ratios, name)
    axes.set_yticks(range(len(places)), list(places))
    axes.invert_yaxis()
    axes.axvline(1, color=GREY, linewidth=1)
    axes.set_xlabel(label)
    grid(axes, "x")
    legend(axes)


def _bars_across(axes: Axes, which: int, of: int, ratios: Sequence[Interval], label: str) -> None:
    """Bars from 1 to each ratio, one group per place on the y axis, with error bars; what is not known is left out."""
    height = 0.8 / of
    places = [k + (which - (of - 1) / 2) * height for k in range(len(ratios))]
    known = [(place, ratio) for place, ratio in zip(places, ratios, strict=True) if ratio.known]
    errors = [
        [ratio.centre - ratio.low for _, ratio in known],
        [ratio.high - ratio.centre for _, ratio in known],
    ]
    axes.barh(
        [place for place, _ in known],
        [ratio.centre - 1 for _, ratio in known],
        height,
        left=1,
        color=BARS[which],
        xerr=errors,
        error_kw={"elinewidth": 1, "capsize": 2},
        label=label,
    )
