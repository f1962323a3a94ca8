"""The entries that P4Runtime would carry, applied to an embedded pipeline directly."""

from __future__ import annotations

from esa.entries import job_entries as e
from esa.entries.direct import apply
from esa.entries.job_entries import InstalledJob
from esa.program import program
from esa.switch import Pipeline
from tests.controller.jobs import make_run


def test_the_pipeline_holds_what_was_applied() -> None:
    pipeline = Pipeline.load(program(0).json.read_text(), compiled=False)
    job = InstalledJob.of(make_run(), 1)
    hosts = [e.flood_group([1, 2, 11]), e.broadcast_entry(), e.ecn_entry(20)]
    apply([*hosts, e.job_group(job), *e.job_entries(job)], pipeline)
    read = [
        e.Entry(table, tuple(entry.match), entry.action, tuple(entry.params))
        for table in e.JOB_TABLES
        for entry in pipeline.tables[table].entries()
    ]
    assert e.installed_jobs(read, [e.job_group(job)]) == [job]
    assert sorted(pipeline.multicast.ids()) == [1, 3]
