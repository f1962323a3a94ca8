"""Metrics of workers and PSs, for Prometheus: what their engines count anyway."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

from esa.errors import BadInput
from esa.hosts.joining import METRICS_VARIABLE as VARIABLE
from esa.hosts.membership import say
from esa.metrics import Family, MetricsServer, Sample, check_address

if TYPE_CHECKING:
    from esa.hosts.server import ServerEndpoint
    from esa.hosts.serving import JobServer
    from esa.hosts.worker import WorkerEndpoint

_WORKER, _PS = ("job_name", "rank"), ("job_name",)  # "job" is Prometheus' own
WORKER = {  # by the name of the worker's counter
    "fragments": Family("esa_worker_fragments_total", "Fragments sent for the first time.", _WORKER),
    "resends": Family("esa_worker_resends_total", "Fragments sent again.", _WORKER),
    "results": Family("esa_worker_results_total", "Fragments whose sum has come.", _WORKER),
    "via_ps": Family("esa_worker_results_via_ps_total", "Of these, in a packet that the PS made.", _WORKER),
    "ecn": Family("esa_worker_marked_results_total", "Of these, marked by a long queue.", _WORKER),
    "duplicates": Family("esa_worker_duplicate_results_total", "Sums that came again.", _WORKER),
    "queries": Family("esa_worker_queries_total", "Questions from the PS.", _WORKER),
    "answers": Family("esa_worker_answers_total", "Questions answered with a sum.", _WORKER),
    "malformed": Family("esa_worker_malformed_packets_total", "Packets that are no ESA packets of this job.", _WORKER),
    "other_run": Family("esa_worker_other_run_packets_total", "Packets of another run of this job.", _WORKER),
    "refused": Family("esa_worker_refused_sends_total", "Packets that the system did not take.", _WORKER),
}
ROUND_TRIP = Family("esa_worker_round_trip_seconds", "Smoothed time from a fragment to its sum.", _WORKER)
WINDOW = Family("esa_worker_window_fragments", "Fragments that may be on their way.", _WORKER)
WAITING = Family(
    "esa_worker_waiting_seconds", "How long nothing has come of what is waited for; 0: nothing is.", _WORKER
)
WORKER_EPOCH = Family("esa_worker_epoch", "The number of the run.", _WORKER)
PS = {  # by the name of the PS's counter
    "fragments": Family("esa_ps_fragments_total", "Gradients of single workers that came.", _PS),
    "resends": Family("esa_ps_resends_total", "Of these, sent again.", _PS),
    "collisions": Family("esa_ps_collisions_total", "Of these, passed on because the row was another's.", _PS),
    "partials": Family("esa_ps_partial_sums_total", "Sums of several workers that came.", _PS),
    "duplicates": Family("esa_ps_duplicates_total", "Contributions that brought nothing new.", _PS),
    "overlaps": Family("esa_ps_overlaps_total", "Contributions of which only a part was new.", _PS),
    "via_ps": Family("esa_ps_completed_fragments_total", "Fragments completed by the PS.", _PS),
    "answered": Family("esa_ps_answered_fragments_total", "Fragments whose sum a worker gave.", _PS),
    "reminders": Family("esa_ps_reminders_total", "Reminders to the switch.", _PS),
    "misses": Family("esa_ps_misses_total", "Reminders that found nothing.", _PS),
    "queries": Family("esa_ps_queries_total", "Questions to workers.", _PS),
    "answers": Family("esa_ps_answers_total", "Sums sent to one worker that asked.", _PS),
    "failed": Family("esa_ps_failed_fragments_total", "Fragments given up.", _PS),
    "malformed": Family("esa_ps_malformed_packets_total", "Packets that are no ESA packets of this job.", _PS),
    "other_run": Family("esa_ps_other_run_packets_total", "Packets of another run of this job.", _PS),
    "refused": Family("esa_ps_refused_sends_total", "Packets that the system did not take.", _PS),
}
SILENT = Family("esa_ps_silent_ranks", "Ranks that fragments were given up for.", _PS)
FAMILIES = (*WORKER.values(), ROUND_TRIP, WINDOW, WAITING, WORKER_EPOCH, *PS.values(), SILENT)

_workers: weakref.WeakSet[WorkerEndpoint] = weakref.WeakSet()
_server: MetricsServer | None = None


def serve_workers() -> None:
    """Offer the metrics of this process's workers, if ESA_METRICS says where; once. BadInput.

    Of several processes on a machine each adds its LOCAL_RANK to the port.
    """
    global _server
    address = os.environ.get(VARIABLE)
    if _server is None and address:
        try:
            check_address(address)
            _server = MetricsServer(_of_local_rank(address), _read_workers)
        except BadInput as error:
            raise BadInput(f"{VARIABLE}: {error}") from None
        say(_server.announcement())


def add(worker: WorkerEndpoint) -> None:
    """Let a worker's be among them for as long as it is there."""
    if _server is not None:
        _workers.add(worker)


def _of_local_rank(address: str) -> str:
    host, _, port = address.rpartition(":")
    local = os.environ.get("LOCAL_RANK", "0")
    return address if address.startswith("fd:") or not local.isdecimal() else f"{host}:{int(port) + int(local)}"


def _read_workers() -> Iterator[Sample]:
    for worker in sorted(_workers, key=lambda each: (each.job.name, each.rank)):
        yield from read_worker(worker)


def read_worker(worker: WorkerEndpoint) -> Iterator[Sample]:
    """Yield what one worker has counted."""
    labels = (worker.job.name, str(worker.rank))
    stats = worker.stats()
    for name, family in WORKER.items():
        yield Sample(family, stats[name], labels)
    yield Sample(ROUND_TRIP, stats["srtt_us"] / 1e6, labels)
    yield Sample(WINDOW, stats["window"], labels)
    yield Sample(WAITING, worker.waiting_ns() / 1e9, labels)
    yield Sample(WORKER_EPOCH, worker.job.epoch, labels)


def read_server(server: JobServer | ServerEndpoint) -> Iterator[Sample]:
    """Yield what a job's PS has counted, a `JobServer` over all runs."""
    labels = (server.job.name,)
    stats = server.stats()
    for name, family in PS.items():
        yield Sample(family, stats.get(name, 0), labels)
    yield Sample(SILENT, len(stats.get("silent_ranks", ())), labels)
