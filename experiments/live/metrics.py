"""`esa run --metrics`: what switches count by job, for Prometheus, while a run is under way.

With k switches the first k ports are for what the control plane reads of each, by job; the next k are the switches'
own (`esa-switch --metrics`), of embedded ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from controller import SavedJobs, Switch
from controller.metrics import JobMetrics
from esa.job import Job
from esa.metrics import MetricsServer
from esa.metrics.serving import next_addresses
from experiments.live.counters import Looked
from topologies.network import Network


def addresses(metrics: str | None, switches: int) -> tuple[list[str], list[str]]:
    """Return where jobs' metrics are offered, by switch, and where switches'; none if nobody asks. BadInput."""
    if metrics is None:
        return [], []
    found = next_addresses(metrics, 2 * switches)
    return found[:switches], found[switches:]


@contextlib.contextmanager
def offered(
    net: Network,
    jobs: Iterable[Job],
    looked: Sequence[Looked],
    at: Sequence[str],
    names: Path,
    say: Callable[[str], None],
) -> Iterator[None]:
    """Offer each switch's counters by job, for the block's length. BadInput if nothing can listen there.

    looked: who looks after each switch. at: its address; none: nothing is offered. names: a file for the jobs' names.
    """
    jobs = list(jobs)
    with contextlib.ExitStack() as stack:
        for node, looks, address in zip(net.switches, looked, at, strict=False):
            saved = SavedJobs(names, f"{node.grpc_address}#{node.device_id}")
            for job in jobs:
                saved.put(job)
            connect = partial(Switch.connect, node.grpc_address, node.device_id)
            counters = JobMetrics(connect, names, lambda looks=looks: looks.restorations)
            stack.callback(counters.close)
            say(stack.enter_context(MetricsServer(address, counters.read)).announcement())
        yield
