"""Rows as the text of a CSV file, lines ended by one character on every machine.

csv_text(("policy", "jct_s"), [("esa", 1.5)])      # "policy,jct_s\\nesa,1.5\\n"
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable


def csv_text(names: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A line of names, and one for each row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue()
