"""Files of rows with a header: read whole, and refused in a line that names file, line, column and what is allowed."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from esa.errors import BadInput

_WHOLE = re.compile(r"[0-9]{1,18}")
_SHOWN = 80


class InputError(BadInput):
    """A file that cannot be used; one line."""


@dataclass(frozen=True)
class Row:
    """The fields of a line by column; errors that know where they are."""

    path: Path
    line: int
    text: Mapping[str, str]

    def error(self, column: str, allowed: str) -> InputError:
        found = self.text[column]
        shown = repr(found if len(found) <= _SHOWN else f"{found[:_SHOWN]}...")
        return InputError(f"{self.path}: line {self.line}, column {column}: {shown}; allowed: {allowed}")

    def whole(self, column: str, lowest: int, highest: int) -> int:
        """A whole number; one that is written with a fraction of 0, as spreadsheets do, is one, too."""
        text = self.text[column].removesuffix(".0")
        if not _WHOLE.fullmatch(text) or not lowest <= int(text) <= highest:
            raise self.error(column, f"a whole number from {lowest} to {highest}")
        return int(text)

    def number(self, column: str, lowest: float = -math.inf, highest: float = math.inf) -> float:
        try:
            value = float(self.text[column])
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and lowest <= value <= highest):
            bounds = "" if (lowest, highest) == (-math.inf, math.inf) else f" from {lowest:g} to {highest:g}"
            raise self.error(column, f"a number{bounds}")
        return value

    def one_of(self, column: str, allowed: Sequence[str]) -> str:
        if self.text[column] not in allowed:
            raise self.error(column, ", ".join(allowed))
        return self.text[column]


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of a CSV file that has these columns, and perhaps others, in any order; empty lines are skipped.

    InputError, also for a file without any row.
    """
    text = _text(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    line, found = 1, 0
    try:
        for fields in reader:
            if not fields:
                pass
            elif header is None:
                header = _header(path, line, fields, columns)
            elif len(fields) != len(header):
                raise InputError(f"{path}: line {line}: {len(fields)} fields; allowed: {len(header)}, as in the header")
            else:
                found += 1
                yield Row(path, line, dict(zip(header, fields, strict=True)))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}: line {line}: not CSV: {error}") from None
    if header is None:
        raise InputError(f"{path}: line 1: the file is empty; allowed: {','.join(columns)}, then a line for each")
    if not found:
        raise InputError(f"{path}: line {line - 1}: nothing follows the header")


def _header(path: Path, line: int, fields: list[str], columns: Sequence[str]) -> list[str]:
    missing = [column for column in columns if column not in fields]
    if missing:
        raise InputError(
            f"{path}: line {line}: no column {', '.join(missing)} among {','.join(fields)[:_SHOWN]}; "
            f"allowed: {','.join(columns)}, and others"
        )
    twice = [column for column in columns if fields.count(column) > 1]
    if twice:
        raise InputError(f"{path}: line {line}: column {twice[0]} is there twice; allowed: once")
    return fields


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # spreadsheets put a mark in front
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}: line {line}: byte 0x{error.object[error.start]:02x} is not UTF-8") from None
