"""A table as plain values: the same one on a terminal, in Markdown and on a page.

console.print(grid)      # rich
grid.markdown()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from esa.report.plain import plain

UNKNOWN = "-"


@dataclass
class Grid:
    """head: of the columns, the first one's words stand left. rows: each as long as `head`. left: columns of words."""

    title: str
    head: list[str] = field(default_factory=lambda: [""])
    rows: list[list[str]] = field(default_factory=list)
    caption: str = ""
    left: frozenset[int] = frozenset({0})
    wraps: bool = True  # columns but the first, where a terminal is narrow

    def add(self, *cells: str) -> None:
        self.rows.append([plain(cell) for cell in cells])

    def add_known(self, name: str, cells: Sequence[str]) -> None:
        """A row in which at least one cell says something."""
        if set(cells) != {UNKNOWN}:
            self.add(name, *cells)

    def __rich__(self) -> Table:
        table = Table(
            title=Text(plain(self.title, 1000)),
            caption=Text(self.caption) if self.caption else None,
            box=box.SIMPLE_HEAD,
            padding=0,
            pad_edge=False,
            title_justify="left",
            caption_justify="left",
        )
        for number, name in enumerate(self.head):
            justify: JustifyMethod = "left" if number in self.left else "right"
            table.add_column(Text(plain(name)), justify=justify, no_wrap=number == 0 or not self.wraps)
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def markdown(self) -> str:
        """A table of GitHub's Markdown under its title."""
        rules = ["---" if number in self.left else "---:" for number in range(len(self.head))]
        lines = [_line(map(escaped, self.head)), _line(rules), *(_line(map(escaped, row)) for row in self.rows)]
        caption = ["", escaped(self.caption)] if self.caption else []
        return "\n".join([f"#### {escaped(self.title)}", "", *lines, *caption, ""])


def escaped(text: str) -> str:
    """Text that Markdown shows as it is: neither markup nor HTML."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+!|<>~&$@" and c not in "()" else c for c in plain(text, 1000))


def _line(cells: Sequence[str] | map[str]) -> str:
    return f"| {' | '.join(cells)} |"
