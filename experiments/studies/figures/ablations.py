"""What each of ESA's mechanisms brings: taken away one at a time.

A ratio above 1 is what is lost without the mechanism, below 1 what it costs. Where the condition says overlap, the
order is front-first: front layers are sent first and the next forward pass starts with their sums, which the layer's
factor is for. Jobs that are all alike have priorities that are often equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure as Canvas

from esa.report.statistics import Interval, mean_interval, ratio_interval
from experiments.studies.figures import draw
from experiments.studies.figures.base import SUBMITTED_WITHIN_S, WINDOW, Effort, simulation
from experiments.studies.figures.cells import Cells, Point
from experiments.studies.figures.figure import Figure, Row, Shown, mean_text, ratio_text

AS_BUILT = "ESA"
_HASHED = "rows by hash over all the memory"
_ONE_WINDOW = "no farther ahead than a window"
_FIXED = "a window that does not yield"
_NO_AGING = "no aging"
_ALWAYS, _COIN, _NEVER = "always preempt", "a coin decides", "no preemption"
UNCOMPARED = (_ALWAYS, _COIN, _NEVER)  # they do not compare priorities
# What it is called, the policy, the priority (factors of the formula, or a number that all have; None: the policy's).
VARIANTS: dict[str, tuple[str, Sequence[str] | int | None]] = {
    AS_BUILT: ("esa", None),
    _HASHED: ("esa", None),
    _ONE_WINDOW: ("esa", None),
    _FIXED: ("esa", None),
    "what could be read of the published idea": ("esa-paper", None),
    "no priority: all the same": ("esa", 128),
    "priority: the layer alone": ("esa", ("layer",)),
    _NO_AGING: ("esa", None),
    "the formula, rows halved by who collides": ("esa-formula", None),
    "the same, ratio alone": ("esa-formula", ("ratio",)),
    "only a higher priority preempts": ("esa-higher", None),
    _ALWAYS: ("esa-always", None),
    _COIN: ("esa-coin", None),
    _NEVER: ("esa-no-preemption", None),
    "release on acknowledgement": ("esa-ack", None),
    "ATP": ("atp", None),
}
_MECHANISMS = tuple(VARIANTS)[1:]
_OVERLAP, _LITTLE, _AS_IS = "128 rows, overlap", "128 rows", "512 rows"
CONDITIONS: dict[str, Mapping[str, Any]] = {
    _LITTLE: {"rows": 128},
    _AS_IS: {},
    _OVERLAP: {"rows": 128},
    "512 rows, all computation-heavy": {"heavy": 0, "light": 8},
    "512 rows, all communication-heavy": {"heavy": 8, "light": 0},
    "64 rows, no admission, eight alike": {
        "rows": 64,
        "admission": False,
        "heavy": 8,
        "light": 0,
        "submitted_within_s": 2 * SUBMITTED_WITHIN_S,
    },
    "1,024 rows, 1 % lost": {"rows": 1024, "faults": ({"link": "all", "loss": 0.01},)},
}


def _points(effort: Effort) -> list[Point]:
    return [
        Point(
            {"variant": name, "condition": condition},
            simulation(
                effort,
                policy,
                seed,
                hashed=name == _HASHED,
                job={
                    "order": _order(condition),
                    **({} if priority is None else {"priority": priority}),
                    **_changed(name),
                },
                **changed,
            ),
        )
        for name, (policy, priority) in VARIANTS.items()
        for condition, changed in CONDITIONS.items()
        for seed in effort.many_seeds
    ]


def _changed(variant: str) -> dict[str, int]:
    """Keys of the jobs."""
    changes = {
        _ONE_WINDOW: {"span": WINDOW},
        _FIXED: {"least_window": WINDOW},
        _NO_AGING: {"ttl_us": 0},
    }
    return changes.get(variant, {})


def _order(condition: str) -> str:
    return "front-first" if condition == _OVERLAP else "ddp"


def _jct(cells: Cells, variant: str, condition: str) -> npt.NDArray[np.float64]:
    return cells.values("jct_ms", variant=variant, condition=condition)


def ratio(cells: Cells, variant: str, condition: str, other: str = AS_BUILT) -> Interval:
    """A variant's mean JCT over another's."""
    return ratio_interval(_jct(cells, variant, condition), _jct(cells, other, condition))


def _show(cells: Cells) -> Shown:
    rows: list[Row] = []
    lines = []
    for name in VARIANTS:
        line = [name]
        for condition in CONDITIONS:
            own, per_esa = mean_interval(_jct(cells, name, condition)), ratio(cells, name, condition)
            rows.append({"variant": name, "condition": condition, "jct_ms": own, "per_esa": per_esa})
            line.append(f"{mean_text(own)} ms" if name == "ESA" else ratio_text(per_esa))
        lines.append(line)
    head = ["variant", *(f"{condition}: JCT / ESA's" for condition in CONDITIONS)]
    return Shown(head, lines, rows, partial(_draw, cells), _notes(cells), (8.5, 7.5))


def _notes(cells: Cells) -> list[str]:
    notes = [
        f"{condition}: ATP / ESA without preemption: "
        f"{ratio_text(ratio_interval(_jct(cells, 'ATP', condition), _jct(cells, 'no preemption', condition)))}."
        for condition in CONDITIONS
    ]
    without, overlapped = (_jct(cells, AS_BUILT, condition) for condition in (_LITTLE, _OVERLAP))
    return [
        *notes,
        f"ESA, {_LITTLE}, with overlap / without: {ratio_text(ratio_interval(overlapped, without))}.",
    ]


def _draw(cells: Cells, canvas: Canvas) -> None:
    ratios = {condition: [ratio(cells, name, condition) for name in _MECHANISMS] for condition in CONDITIONS}
    draw.ratios_across(canvas.subplots(), _MECHANISMS, ratios, "mean JCT / ESA's")


FIGURE = Figure("ablations", "What each mechanism brings", _points, _show)
