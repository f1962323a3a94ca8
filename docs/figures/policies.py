"""Draw where a fragment goes under each policy: `python docs/figures/policies.py [FOLDER]` writes policy-NAME.svg.

One drawing for all: two jobs of two workers, a switch of six rows, a PS each. A policy is what lies in the rows and
which way the numbered packets take; docs/concepts.md tells them by the same numbers.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).parent
WIDTH, HEIGHT = 480, 304
ROW_X, ROW_Y, ROW_WIDTH, ROW_HEIGHT = 176, 60, 134, 28
SWITCH = (160, 8, 166, 288)
BOXES = {  # what a packet comes from and goes to: x, y, width, height
    "A0": (8, 60, 92, 32),
    "A1": (8, 102, 92, 32),
    "B0": (8, 172, 92, 32),
    "B1": (8, 214, 92, 32),
    "PS A": (400, 80, 72, 34),
    "PS B": (400, 192, 72, 34),
}
LANES = {"over": 46, "under": 258, "back A": 32, "back B": 274}  # ways through the switch past all rows: their y
STYLE = """
  svg { --paper: #ffffff; --ink: #1f2937; --faint: #6b7280; --row: #f3f4f6; --a: #005f99; --b: #b34700;
        --a-pale: #d6ebf8; --b-pale: #fde3d0; --on: #ffffff; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #16181d; --ink: #e5e7eb; --faint: #9ca3af; --row: #23262e; --a: #6cc0f5; --b: #f5a25a;
          --a-pale: #123247; --b-pale: #47280f; --on: #16181d; }
  }
  text { font: 13px "DejaVu Sans", "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--ink); }
  .small { font-size: 11.5px; fill: var(--faint); }
  .box { stroke-width: 1.3; } .way { fill: none; stroke-width: 1.8; }
  .A { stroke: var(--a); } .B { stroke: var(--b); stroke-dasharray: 5 3; }
  .A.box { fill: var(--a-pale); } .B.box { fill: var(--b-pale); stroke-dasharray: none; }
  .free { fill: var(--row); stroke: var(--faint); }
  .head.A { fill: var(--a); stroke: none; } .head.B { fill: var(--b); stroke: none; }
  .number { font-weight: bold; font-size: 12px; fill: var(--on); }
"""


@dataclass(frozen=True)
class Row:
    """What a row holds: text after the job's letter; taken_from: whose it was before the packet came."""

    job: str
    text: str


@dataclass(frozen=True)
class Way:
    """One packet's way, as `A0 row1` or `A0 over PS A`: ends and lanes in order; its number in the text, 0: none."""

    number: int
    job: str
    stops: tuple[str, ...]
    mark_at: float = 0.5  # where on the way's longest part the number stands


@dataclass(frozen=True)
class Picture:
    """One policy's: rows by place, ways, and what is said below the rows."""

    title: str
    rows: dict[int, Row]
    ways: tuple[Way, ...]
    memory: str


def _both(number: int, job: str, row: str) -> tuple[Way, Way]:
    return Way(number, job, (f"{job}0", row), 0.35), Way(number, job, (f"{job}1", row), 0.35)


def _result(number: int, job: str, row: str) -> tuple[Way, Way]:
    return Way(number, job, (row, f"{job}0"), 0.3), Way(0, job, (row, f"{job}1"))


PICTURES = {
    "esa": Picture(
        "a fragment of higher or equal priority takes the row; the partial sum travels on to its PS",
        {0: Row("A", "7, sum kept"), 2: Row("A", "8: rank 0, 1"), 4: Row("A", "9: rank 1"), 5: Row("B", "4: rank 0")},
        (
            *_both(1, "A", "row2"),
            *_result(2, "A", "row0"),
            Way(3, "A", ("A1", "row4"), 0.6),
            Way(4, "B", ("row4", "PS B")),
            Way(5, "B", ("B1", "under", "PS B"), 0.3),
            Way(6, "B", ("PS B", "back B", "B1"), 0.35),
        ),
        "a part for each job",
    ),
    "esa-paper": Picture(
        "a fragment of strictly higher priority takes the row; all jobs share all rows",
        {0: Row("B", "2: rank 1"), 2: Row("A", "8: rank 0, 1"), 5: Row("A", "6: rank 1")},
        (
            Way(1, "A", ("A0", "row2")),
            Way(2, "B", ("row2", "PS B"), 0.35),
            Way(3, "B", ("B0", "row2", "PS B"), 0.5),
            Way(4, "A", ("row2", "A1"), 0.45),
            Way(5, "B", ("PS B", "back B", "B1"), 0.35),
        ),
        "shared, by hash",
    ),
    "atp": Picture(
        "nobody takes a row; what collides is summed by the PS, and so is told every sum",
        {1: Row("B", "3: rank 0, 1"), 4: Row("A", "7: rank 1")},
        (
            Way(1, "A", ("A0", "row1", "PS A"), 0.5),
            Way(1, "A", ("A1", "row1", "PS A"), 0.5),
            Way(2, "A", ("PS A", "back A", "A0"), 0.35),
            Way(2, "A", ("PS A", "back A", "A1"), 0.35),
            Way(3, "B", ("row1", "PS B"), 0.5),
            Way(4, "B", ("PS B", "row1", "B0"), 0.6),
        ),
        "shared, a row per slot",
    ),
    "a2tp": Picture(
        "as ATP; a row that others want is marked, and its job sends fewer fragments through rows",
        {1: Row("B", "3, contested"), 4: Row("A", "7: rank 1")},
        (
            Way(1, "A", ("A0", "row1", "PS A"), 0.5),
            Way(2, "B", ("row1", "PS B"), 0.5),
            Way(3, "B", ("PS B", "row1", "B0"), 0.6),
            Way(4, "B", ("B1", "under", "PS B"), 0.3),
        ),
        "shared, a row per slot",
    ),
    "switchml": Picture(
        "each job has a slice of its own; a row is overwritten by the fragment two windows later",
        {
            0: Row("A", "7, complete"),
            1: Row("A", "9: rank 1"),
            2: Row("A", "8: rank 0, 1"),
            3: Row("B", "3, complete"),
            4: Row("B", "4: rank 0"),
            5: Row("B", "5: rank 0"),
        },
        (*_both(1, "A", "row2"), *_result(2, "A", "row0"), Way(3, "B", ("B0", "row3"))),
        "a slice for each job",
    ),
    "ps": Picture(
        "no rows: every fragment goes to the PS, which answers each worker",
        {},
        (
            *(
                Way(1, job, (f"{job}{rank}", lane, f"PS {job}"))
                for job, lane in (("A", "over"), ("B", "under"))
                for rank in "01"
            ),
            *(Way(2, job, (f"PS {job}", f"back {job}", f"{job}{rank}"), 0.35) for job in "AB" for rank in "01"),
        ),
        "not used",
    ),
}


def _row_box(place: int) -> tuple[int, int, int, int]:
    return ROW_X, ROW_Y + place * ROW_HEIGHT + 2, ROW_WIDTH, ROW_HEIGHT - 4


def _edge(stop: str, right_side: bool, shift: int) -> tuple[float, float]:
    x, y, width, height = _row_box(int(stop[3:])) if stop.startswith("row") else BOXES[stop]
    return (x + width if right_side else x), y + height / 2 + shift


def _points(way: Way) -> list[tuple[float, float]]:
    """Corners of a way; it goes from left to right unless it begins further right than it ends."""
    order = {**{name: box[0] for name, box in BOXES.items()}, **{f"row{n}": ROW_X for n in range(6)}}
    right = order[way.stops[0]] < order[way.stops[-1]]
    shift = -5 if right else 5  # so that there and back are two lines
    points: list[tuple[float, float]] = []
    for index, stop in enumerate(way.stops):
        if stop in LANES:
            ends = (SWITCH[0] - 6, SWITCH[0] + SWITCH[2] + 6)
            points += [(x, LANES[stop]) for x in (ends if right else reversed(ends))]
        elif 0 < index < len(way.stops) - 1:  # through a row, and on
            points += [_edge(stop, not right, shift), _edge(stop, right, shift)]
        else:
            points.append(_edge(stop, right == (index == 0), shift))
    return points


def _draw_way(way: Way) -> list[str]:
    points = _points(way)
    path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
    outside = [
        (start, end) for start, end in itertools.pairwise(points)
        if not (start[1] == end[1] and abs(end[0] - start[0]) > 100)
    ] or list(itertools.pairwise(points))  # fmt: skip
    (x0, y0), (x1, y1) = outside[0] if way.mark_at <= 0.5 or len(outside) == 1 else outside[-1]
    at = way.mark_at if len(outside) == 1 or way.mark_at <= 0.5 else 1 - way.mark_at
    x, y = x0 + at * (x1 - x0), y0 + at * (y1 - y0)
    number = (
        f'<circle class="head {way.job}" cx="{x:.0f}" cy="{y:.0f}" r="9"/>'
        f'<text class="number" x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle">{way.number}</text>'
    )
    return [
        f'<path class="way {way.job}" d="{path}" marker-end="url(#{way.job})"/>',
        number if way.number else "",
    ]


def draw(name: str, picture: Picture) -> str:
    """Return the SVG of a policy."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(name)}: {escape(picture.title)}</title>",
        f"<style>{STYLE}</style>",
        "<defs>",
        *(
            f'<marker id="{job}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="6" markerHeight="6" orient="auto">'
            f'<path class="head {job}" d="M0 0 L10 5 L0 10 z"/></marker>'
            for job in "AB"
        ),
        "</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" style="fill: var(--paper)"/>',
        '<rect class="free" x="{}" y="{}" width="{}" height="{}" rx="6" style="fill: none"/>'.format(*SWITCH),
        f'<text x="243" y="24" text-anchor="middle">switch: {escape(name)}</text>',
    ]
    drawn = [_draw_way(way) for way in picture.ways]
    parts += [one[0] for one in drawn]  # below the rows: a way through one stays legible
    for place in range(6):
        x, y, width, height = _row_box(place)
        row = picture.rows.get(place)
        kind = f"box {row.job}" if row else "free"
        parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="3"/>')
        if row:
            parts.append(f'<text x="{x + 8}" y="{y + 16}">{row.job} {escape(row.text)}</text>')
    parts.append(f'<text class="small" x="243" y="291" text-anchor="middle">rows: {escape(picture.memory)}</text>')
    for stop, (x, y, width, height) in BOXES.items():
        job = stop[-1] if stop.startswith("PS") else stop[0]
        label = stop if stop.startswith("PS") else f"{job}, rank {stop[1]}"
        parts.append(f'<rect class="box {job}" x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>')
        parts.append(f'<text x="{x + width / 2:g}" y="{y + height / 2 + 4.5:g}" text-anchor="middle">{label}</text>')
    return "\n".join([*parts, *(one[1] for one in drawn), "</svg>\n"])


def main(folder: Path = FOLDER) -> None:
    for name, picture in PICTURES.items():
        (folder / f"policy-{name}.svg").write_text(draw(name, picture))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
