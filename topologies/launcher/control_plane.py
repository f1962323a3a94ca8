"""The control plane of a rack that is up: program and hosts, a supervisor, and the coordinator of its jobs' runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from controller import Controller, SavedJobs, Supervisor, Switch, Wanted
from controller.coordinator import Coordinator
from controller.metrics import JobMetrics
from esa.metrics import MetricsServer
from topologies.record import RackRecord, RackSwitch

CONNECT_LIMIT_S = 10.0


@contextlib.contextmanager
def control_plane(
    rack: RackRecord, switch: RackSwitch, say: Callable[[str], None], metrics: str | None = None
) -> Iterator[None]:
    """Load the program, add the hosts, and keep it so for the block's length. SwitchError if that fails.

    metrics: where the jobs' are offered to Prometheus, HOST:PORT. BadInput if nothing can listen there.
    """
    hosts = {host.mac: host.switch_port for host in rack.hosts}
    saved = SavedJobs(rack.saved_jobs, f"{switch.address}#{switch.device_id}")
    with connected(rack, switch, wait_s=CONNECT_LIMIT_S) as controller:
        controller.load(switch.lanes)
        controller.add_hosts(hosts)

    def wanted() -> Wanted:
        return Wanted(list(saved.jobs().values()), switch.lanes, hosts)

    def connect() -> Switch:
        return Switch.connect(switch.address, switch.device_id)

    with (
        Supervisor(connect, wanted, say) as supervisor,
        Coordinator(connect, rack.saved_jobs, say) as coordinator,
        contextlib.ExitStack() as stack,
    ):
        if metrics is not None:
            jobs = JobMetrics(connect, rack.saved_jobs, lambda: supervisor.restorations)
            stack.callback(jobs.close)
            say(stack.enter_context(MetricsServer(metrics, jobs.read)).announcement())
        coordinator.serve(rack.controller)
        yield


@contextlib.contextmanager
def connected(rack: RackRecord, switch: RackSwitch, *, wait_s: float = 0.0) -> Iterator[Controller]:
    """A controller of the rack's switch, which knows its jobs by name."""
    with Switch.connect(switch.address, switch.device_id, wait_s=wait_s) as client:
        yield Controller(client, rack.saved_jobs)
