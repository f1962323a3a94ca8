"""A run of `esa serve` as a picture: requests that wait and that are answered over time, and how long tokens take.

draw_serving(outcome, Path("serving.png"))      # `esa serve --draw`
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from esa.serving.core import Outcome

# Okabe and Ito's, each with a line of its own, for people who see red and green alike.
_FIRST, _SECOND = ("#0072B2", "-"), ("#D55E00", "--")
Numbers = npt.NDArray[np.float64]


def draw_serving(outcome: Outcome, path: Path) -> None:
    """Write a PNG, up to the last token; of a run that was cut, up to where it was."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    over_time, how_long = figure.subplots(1, 2)
    come = [life.arrival_ns for life in outcome.lives if life.arrival_ns <= outcome.end_ns]
    begun = [life.first_token_ns for life in outcome.lives if life.first_token_ns is not None]
    ended = [life.end_ns for life in outcome.lives if life.end_ns is not None]
    for (colour, style), label, since, until in (
        (_FIRST, "wait for the first token", come, begun),
        (_SECOND, "are answered", begun, ended),
    ):
        seconds, count = held(since, until)
        over_time.step(seconds, count, style, where="post", color=colour, label=label)
    over_time.set(xlabel="s", ylabel="requests", ylim=(0, None))
    firsts = Counter(one.first_token_ns - one.arrival_ns for one in outcome.lives if one.first_token_ns is not None)
    for (colour, style), label, counts in (
        (_FIRST, "to the first token", firsts),
        (_SECOND, "between tokens", outcome.gaps),
    ):
        if counts:
            seconds, part = shares(counts)
            how_long.step(seconds, part, style, where="post", color=colour, label=label)
    how_long.set(xlabel="s", ylabel="part of them within", xscale="log", ylim=(0, 1.02))
    for axes in (over_time, how_long):
        axes.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})


def held(since: Iterable[int], until: Iterable[int]) -> tuple[Numbers, Numbers]:
    """Seconds at which the number of those changes that have come and not gone, and what it is from there on."""
    changes = sorted([*((ns, 1) for ns in since), *((ns, -1) for ns in until)])
    times = np.array([0, *(ns for ns, _ in changes)], np.float64) / 1e9
    return times, np.cumsum([0, *(change for _, change in changes)]).astype(np.float64)


def shares(counts: Mapping[int, int]) -> tuple[Numbers, Numbers]:
    """Seconds, and the part of all that took at most so long."""
    times = sorted(counts)
    often = np.cumsum([counts[ns] for ns in times])
    return np.array(times, np.float64) / 1e9, often / often[-1]
