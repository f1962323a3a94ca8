"""`esactl watch --rows`: every row of a switch as a character, by whose it is and at what priority.

A colour is a job, a shade the priority's quarter; where a terminal has no colours, or through a pipe, a letter is a
job, a capital one a priority in the upper half. A point is a free row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from controller.rows import HeldRow
from esa.entries.job_entries import InstalledJob

COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00")  # Okabe and Ito's
_SHADES = "░▒▓█"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_FREE, _OVER = "·", "?"
WIDTH = 64


def used_rows(jobs: Sequence[InstalledJob]) -> range:
    """Rows up to the last that a job has."""
    return range(max((job.pool.base + job.pool.size for job in jobs if job.pool is not None), default=0))


def row_map(
    rows: range, held: Sequence[HeldRow], names: Mapping[tuple[int, int], str], *, colour: bool, width: int = WIDTH
) -> Text:
    """names: of jobs, by id and epoch; what they have not is a run's that is over."""
    number = {run: k for k, run in enumerate(names)}
    strengths = [one.priority for one in held] or [0]
    low, high = min(strengths), max(strengths)
    by_row = {one.row: one for one in held}
    text = Text(no_wrap=True)
    for first in range(0, len(rows), width):
        text.append(f"{rows[first]:6} ")
        for row in rows[first : first + width]:
            text.append(*_cell(by_row.get(row), number, low, high, colour))
        text.append("\n")
    for run, name in names.items():
        mine = [one for one in held if (one.job, one.epoch) == run]
        sign = _SHADES[-1] if colour else _LETTERS[number[run] % len(_LETTERS)]
        text.append(f"{sign} ", _style(number[run], colour))
        reach = (
            f", priorities {min(one.priority for one in mine)} to {max(one.priority for one in mine)}" if mine else ""
        )
        text.append(f"{name}: {len(mine)} rows{reach}\n")
    over = sum((one.job, one.epoch) not in number for one in held)
    text.append(
        f"{_FREE} free: {len(rows) - len(held)} of {len(rows)}" + (f"; {_OVER} left behind: {over}" if over else "")
    )
    return text


def _cell(
    one: HeldRow | None, number: Mapping[tuple[int, int], int], low: int, high: int, colour: bool
) -> tuple[str, str]:
    if one is None:
        return _FREE, "dim" if colour else ""
    job = number.get((one.job, one.epoch))
    if job is None:
        return _OVER, ""
    if not colour:
        letter = _LETTERS[job % len(_LETTERS)]
        return letter.upper() if 2 * one.priority > low + high else letter, ""
    quarter = min(3, 4 * (one.priority - low) // max(1, high - low)) if high > low else 3
    return _SHADES[quarter], _style(job, colour)


def _style(job: int, colour: bool) -> str:
    return COLOURS[job % len(COLOURS)] if colour else ""
