"""Pictures of matplotlib as SVG for a page: their colours are the page's, by name, so that they follow light and dark.

A colour in a picture is one of the constants here; in the SVG it is `var(--ink)`, `var(--series-0)` and so on.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, GRID = "#010101", "#010102", "#010103"
SERIES = tuple(f"#0102{number:02x}" for number in range(6))
DASHES = ("-", "--", ":", "-.")  # whoever tells no colours apart has these
_NAMES = {INK: "ink", MUTED: "muted", GRID: "grid", **{c: f"series-{n}" for n, c in enumerate(SERIES)}}
_COLOUR = re.compile("|".join(_NAMES))
_STYLE: Any = {
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.3,
    "svg.fonttype": "none",  # text stays text
    "text.color": INK,
    "text.parse_math": False,  # a job's name may hold a dollar
    "text.usetex": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "{http://www.w3.org/1999/xlink}href"
_LOCK = threading.Lock()  # matplotlib's settings are the process's


def svg_of(draw: Callable[[Figure], None], title: str, number: int, inches: tuple[float, float]) -> str:
    """Draw and return the element <svg>. title: what it shows, in a sentence. number: its own on the page."""
    with _LOCK, matplotlib.rc_context({**_STYLE, "svg.hashsalt": f"esa-{number}"}):
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(text.getvalue())  # what matplotlib wrote itself
    for found in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(found)
    _name_apart(root, number)
    for element in root.iter():
        for name, value in element.attrib.items():
            element.set(name, _COLOUR.sub(lambda match: f"var(--{_NAMES[match[0]]})", value))
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", title)
    return ElementTree.tostring(root, encoding="unicode")


def _name_apart(root: ElementTree.Element, number: int) -> None:
    """Ids that are referred to get the picture's number, all others go: a page has many pictures."""
    used = set()
    for element in root.iter():
        for value in element.attrib.values():
            used |= set(re.findall(r"url\(#([^)]+)\)", value))
        if element.get(_XLINK, "").startswith("#"):
            used.add(element.get(_XLINK, "")[1:])
    for element in root.iter():
        own = element.attrib.pop("id", None)
        if own in used:
            element.set("id", f"p{number}-{own}")
        for name, value in element.attrib.items():
            element.set(name, re.sub(r"url\(#([^)]+)\)", rf"url(#p{number}-\1)", value))
        if element.get(_XLINK, "").startswith("#"):
            element.set(_XLINK, f"#p{number}-{element.get(_XLINK, '')[1:]}")
