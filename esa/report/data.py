"""What was read, as plain values for JSON: numbers as numbers, None where one is not known."""

from __future__ import annotations

import math
from typing import Any

from esa.report.groups import Compared, compared, groups_of, groups_of_sweep
from esa.report.reading import Found, ReadRun
from esa.report.statistics import Interval

FORMAT = 1


def as_data(found: Found) -> dict[str, Any]:
    """Keys: format, problems, runs, compared (mean JCT and ratios), sweeps, figures."""
    data: dict[str, Any] = _finite(
        {
            "format": FORMAT,
            "problems": found.problems,
            "runs": [_run(run) for run in found.runs],
            "compared": [_compared(one) for one in compared(groups_of(found.runs))] if found.runs else [],
            "sweeps": [
                {
                    "folder": str(sweep.folder),
                    "name": sweep.name,
                    "planned": sweep.planned,
                    "notes": list(sweep.notes),
                    "versions": sweep.versions,
                    "compared": [_compared(one) for one in compared(groups_of_sweep(sweep))] if sweep.points else [],
                    "points": [
                        {"point": one.number, "axes": one.axes, "seed": one.seed, "summary": one.summary.as_dict()}
                        for one in sweep.points
                    ],
                }
                for sweep in found.sweeps
            ],
            "figures": [
                {"name": figure.name, "rows": [dict(zip(figure.head, row, strict=False)) for row in figure.rows]}
                for figure in found.figures
            ],
        }
    )
    return data


def _run(run: ReadRun) -> dict[str, Any]:
    return {
        "folder": str(run.folder),
        "notes": list(run.notes),
        "summary": run.summary.as_dict(),
        "settings": run.settings,
        "versions": run.versions,
        "records": run.records,
    }


def _compared(one: Compared) -> dict[str, Any]:
    return {
        "name": one.name,
        "seeds": list(one.seeds),
        "mean_jct_s": _interval(one.jct_s),
        "per_first": _interval(one.per_first),
        "per_bound": _interval(one.per_bound),
    }


def _interval(one: Interval | None) -> dict[str, float] | None:
    return None if one is None else {"centre": one.centre, "low": one.low, "high": one.high}


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity; times of TOML are text."""
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
