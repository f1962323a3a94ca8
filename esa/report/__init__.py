"""Runs as they lie on disk, as tables, plots, pages and data frames.

Names are imported when they are first used: the commands' texts need no pydantic, which takes a sixth of a second.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from esa.exports import lazy

if TYPE_CHECKING:
    from esa.report.frames import Frames
    from esa.report.records import (
        FailureSummary,
        FlowSummary,
        JobSummary,
        ReportError,
        Run,
        Summary,
        TierSummary,
        load_run,
    )
    from esa.report.tables import (
        comparison_table,
        counter_table,
        failure_table,
        fault_table,
        flow_table,
        fragment_table,
        jct_table,
        run_tables,
        tier_table,
    )


def load(*paths: str | os.PathLike[str]) -> Frames:
    """Runs, sweeps and figures as pandas data frames, see `esa.report.frames`; needs the extra `report`.

    ReportError, one line, if there is none at any of the paths.
    """
    try:
        from esa.report.frames import load as load_frames
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise
        from esa.report.records import ReportError

        raise ReportError("data frames need pandas: pip install 'esa[report]'") from None
    return load_frames(*paths)


__all__ = [
    "FailureSummary",
    "FlowSummary",
    "JobSummary",
    "ReportError",
    "Run",
    "Summary",
    "TierSummary",
    "comparison_table",
    "counter_table",
    "failure_table",
    "fault_table",
    "flow_table",
    "fragment_table",
    "jct_table",
    "load",
    "load_run",
    "run_tables",
    "tier_table",
]
__getattr__, __dir__ = lazy(
    __name__,
    {
        "esa.report.records": (
            "FailureSummary",
            "FlowSummary",
            "JobSummary",
            "ReportError",
            "Run",
            "Summary",
            "TierSummary",
            "load_run",
        ),
        "esa.report.tables": (
            "comparison_table",
            "counter_table",
            "failure_table",
            "fault_table",
            "flow_table",
            "fragment_table",
            "jct_table",
            "run_tables",
            "tier_table",
        ),
    },
)
