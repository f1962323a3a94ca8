"""Runs as they lie on disk, as tables and as plots."""

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
    "load_run",
    "run_tables",
    "tier_table",
]
