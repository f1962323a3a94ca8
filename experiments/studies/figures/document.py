"""A document whose tables are those of figures: what stands between two marks is replaced by what was just made.

<!-- figure jct_memory -->
| ... |
<!-- end -->
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from esa.errors import BadInput
from experiments.common.folders import write_whole
from experiments.studies.figures.catalogue import FIGURES
from experiments.studies.figures.report import table_markdown
from experiments.studies.figures.run import Made

_PLACE = re.compile(r"(<!-- figure (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def check_document(path: Path) -> None:
    """BadInput, one line, unless it can be read, has places for tables, and those of figures that there are."""
    try:
        names = [match[2] for match in _PLACE.finditer(path.read_text())]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"document: {path}: {getattr(error, 'strerror', 'not a text')}") from None
    if not names:
        raise BadInput(f"document: {path}: no place for a table; allowed: '<!-- figure NAME -->' to '<!-- end -->'")
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        raise BadInput(f"document: {path}: unknown figure '{unknown[0]}'; allowed: {', '.join(FIGURES)}")


def fill_document(path: Path, made: Sequence[Made]) -> None:
    """Put the tables and notes of these figures where the document has a place for them; the rest stays."""
    tables = {one.figure.name: f"\n{table_markdown(one.shown)}\n" for one in made}

    def filled(match: re.Match[str]) -> str:
        return f"{match[1]}{tables[match[2]]}{match[3]}" if match[2] in tables else match[0]

    write_whole(path, _PLACE.sub(filled, path.read_text()))
