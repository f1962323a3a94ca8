"""The same entries, applied to an embedded pipeline in this process: for virtual time and for tests.

apply([job_group(installed), *job_entries(installed)], pipeline)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from esa.entries.job_entries import Entry, Group


def apply(items: Iterable[Entry | Group], pipeline: Any) -> None:
    """Insert entries and groups into an `esa.switch` pipeline, which this package does not import."""
    for item in items:
        if isinstance(item, Group):
            pipeline.multicast.set(item.id, [tuple(replica) for replica in item.replicas])
        elif item.match:
            pipeline.tables[item.table].add(item.match, item.action, item.params)
        else:
            pipeline.tables[item.table].set_default(item.action, item.params)


def remove(items: Iterable[Entry | Group], pipeline: Any) -> None:
    """Take back what `apply` inserted, last first; of a job its policy entry, so no packet meets half of it."""
    for item in reversed(list(items)):
        if isinstance(item, Group):
            pipeline.multicast.delete(item.id)
        elif item.match:
            pipeline.tables[item.table].delete(item.match)
        else:
            pipeline.tables[item.table].reset_default()
