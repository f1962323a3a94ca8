"""The control plane of a live run: who loads the program, adds the jobs, starts their runs and mends what restarts.

    with control_plane(net, scenario.lanes, jobs, meeting, failed, say) as plane:
        plane.counters(measured)
        plane.remove(job)

One switch has what `esactl` and `esa up` have, a `Controller` that keeps nothing, and a `Supervisor`; several, racks
under spines, a `NetworkController`.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Protocol, TypeVar

from controller import (
    Controller,
    NetworkController,
    NetworkCoordinator,
    Supervisor,
    Switch,
    Wanted,
)
from controller.coordinator import Coordinator
from controller.rows import read_rows
from esa.job import Job
from experiments.live.counters import Counters, SwitchCounters
from experiments.live.measured import Measured
from experiments.live.row_samples import ReadRows
from topologies.network import Network
from topologies.p4switch import P4Switch

_Self = TypeVar("_Self", bound="_Started")

CONNECT_WAIT_S = 10.0  # for a switch that is just starting


class ControlPlane(Protocol):
    """It works while its block is open."""

    def __enter__(self) -> ControlPlane: ...

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None, /
    ) -> None: ...

    def counters(self, measured: Measured) -> Counters:
        """The jobs' counters."""
        ...

    def remove(self, job: int) -> None:
        """Take a job that has failed off the switches. SwitchError, BadInput."""
        ...

    def row_readers(self) -> dict[str, ReadRows]:
        """By switch, what reads its rows. SwitchError: it is away, or lets nothing be read."""
        ...

    def denied_by_reason(self) -> dict[str, int]:
        """Packets that admission has dropped, over all switches. SwitchError."""
        ...


def control_plane(
    net: Network,
    lanes: int,
    jobs: Sequence[Job],
    meeting: str,
    failed: Callable[[], Collection[str]],
    say: Callable[[str], None],
    ecn_packets: int | None = None,
) -> ControlPlane:
    """A run's. meeting: where jobs' members meet; failed: jobs that are not to be put back.

    ecn_packets: above which one switch marks; several do not.
    """
    if len(net.switches) == 1:
        return _OneSwitch(net, lanes, jobs, meeting, failed, say, ecn_packets)
    assert ecn_packets is None, "several switches do not mark (`check_live`)"
    return _Switches(net, lanes, jobs, meeting, failed, say)


class _Started(ABC):
    """What works while its block is open; `_start` opens it, and what it enters is left in the end."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    @abstractmethod
    def _start(self, stack: contextlib.ExitStack) -> None: ...

    def __enter__(self: _Self) -> _Self:
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._stack.close()


class _OneSwitch(_Started):
    def __init__(
        self,
        net: Network,
        lanes: int,
        jobs: Sequence[Job],
        meeting: str,
        failed: Callable[[], Collection[str]],
        say: Callable[[str], None],
        ecn_packets: int | None,
    ) -> None:
        super().__init__()
        self._net, self._lanes, self._jobs, self._meeting = net, lanes, jobs, meeting
        self._failed, self._say, self._ecn_packets = failed, say, ecn_packets
        self._controller: Controller
        self._supervisor: Supervisor
        self._indices: dict[str, int] = {}

    def _start(self, stack: contextlib.ExitStack) -> None:
        net, (node,) = self._net, self._net.switches
        switch = stack.enter_context(Switch.connect(node.grpc_address, node.device_id, wait_s=CONNECT_WAIT_S))
        self._controller = Controller(switch)
        self._controller.load(self._lanes)
        deepen_queues(node, self._say)
        hosts = {net.mac(host): net.port(host) for host in range(len(net.hosts))}
        self._controller.add_hosts(hosts)
        if self._ecn_packets is not None:
            self._controller.mark_congestion_above(self._ecn_packets)
        self._indices = {job.name: self._controller.add_job(job).index for job in self._jobs}

        def wanted() -> Wanted:
            failed = self._failed()
            return Wanted([job for job in self._jobs if job.name not in failed], self._lanes, hosts)

        def connect() -> Switch:
            return Switch.connect(node.grpc_address, node.device_id)

        self._supervisor = stack.enter_context(Supervisor(connect, wanted, self._say))
        stack.enter_context(Coordinator(connect)).serve(self._meeting)

    def counters(self, measured: Measured) -> Counters:
        read = self._controller.read_counters
        one = SwitchCounters(self._net.switches[0].name, read, self._supervisor, self._indices)
        return Counters([one], measured)

    def remove(self, job: int) -> None:
        self._controller.remove_job(job)

    def row_readers(self) -> dict[str, ReadRows]:
        return {self._net.switches[0].name: lambda rows: read_rows(self._controller.switch, rows)}

    def denied_by_reason(self) -> dict[str, int]:
        return self._controller.denied_by_reason()


class _Switches(_Started):
    def __init__(
        self,
        net: Network,
        lanes: int,
        jobs: Sequence[Job],
        meeting: str,
        failed: Callable[[], Collection[str]],
        say: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._net, self._jobs, self._meeting, self._say = net, jobs, meeting, say
        ways = [_way_to(node) for node in net.switches]
        self._controller = NetworkController(net.graph, ways, lanes=lanes, say=say)
        self._indices: dict[str, int] = {}

    def _start(self, stack: contextlib.ExitStack) -> None:
        stack.enter_context(self._controller)
        for node in self._net.switches:
            deepen_queues(node, self._say)
        self._indices = {job.name: self._controller.add_job(job).index for job in self._jobs}
        stack.enter_context(NetworkCoordinator(self._controller)).serve(self._meeting)

    def counters(self, measured: Measured) -> Counters:
        keepers = self._controller.keepers
        return Counters(
            [
                SwitchCounters(name, keeper.read_counters, keeper, dict(self._indices))
                for name, keeper in keepers.items()
            ],
            measured,
        )

    def remove(self, job: int) -> None:
        self._controller.remove_job(job)

    def row_readers(self) -> dict[str, ReadRows]:
        return {name: keeper.read_rows for name, keeper in self._controller.keepers.items()}

    def denied_by_reason(self) -> dict[str, int]:
        return self._controller.denied_by_reason()


def _way_to(node: P4Switch) -> Callable[[float], Switch]:
    return lambda wait_s: Switch.connect(node.grpc_address, node.device_id, wait_s=wait_s)


def deepen_queues(node: P4Switch, say: Callable[[str], None]) -> None:
    """Let BMv2's queues hold a window's burst, or say why they do not; after every load of a program."""
    if not node.deepen_queues():
        say("simple_switch_CLI is missing: BMv2's queues stay at 64 packets and may lose some")
