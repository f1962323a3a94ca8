"""A rack that other terminals use: a single rack whose hosts have names, and a record of where everything is.

with NamedRack("esa", hosts=5, mbps=100) as rack:
    load_program(rack.record.switch.address)
    rack.ready()                       # from now on other commands find it
    while True: rack.check()           # `ip netns exec esa-h1 ping h2` from another terminal
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Sequence
from types import TracebackType

from esa.errors import BadInput
from esa.signals import uninterrupted
from topologies import leftovers, names, record
from topologies.record import NAME_PATTERN, Process, RackError, RackHost, RackRecord, RackSwitch
from topologies.single_rack import SWITCH_IP, SingleRack


class NamedRack:
    """`hosts` hosts behind one P4 switch; host i (from 1) is called hI, its namespace NAME-hI.

    mbps: of every link, each way; None: unshaped. private: other commands do not take it for theirs.
    BadInput, NotRootError, P4SwitchError as `SingleRack`; RackError where the name is taken.
    """

    def __init__(
        self,
        name: str,
        *,
        hosts: int,
        mbps: float | None = None,
        switch: str = "embedded",
        lanes: int = 64,
        private: bool = False,
        metrics: Sequence[str] = (),
    ) -> None:
        if not re.fullmatch(NAME_PATTERN, name):
            raise BadInput(f"name: '{name}'; allowed: lower-case letters, digits and dashes, at most 32")
        self.lanes = lanes
        self._kind = switch
        self.net = SingleRack(
            hosts,
            bandwidth_mbps=mbps,
            switch=switch,
            static_arp=True,
            log_dir=record.RUN / name / "log",
            metrics=metrics,
        )
        self.record = RackRecord(
            name=name,
            owner=Process.of(os.getpid()),
            private=private,
            mbps=mbps,
            interface=SingleRack.interface,
            hosts=tuple(
                RackHost(
                    name=f"h{host + 1}",
                    namespace=f"{name}-h{host + 1}",
                    ip=self.net.ip(host),
                    mac=self.net.mac(host),
                    switch_port=self.net.port(host),
                )
                for host in range(hosts)
            ),
        )
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> NamedRack:
        try:
            self._claim()
            self._cleanup.enter_context(self.net)
            for host, node in zip(self.record.hosts, self.net.hosts, strict=True):
                names.attach(host, node.pid, self.record.hosts)
            switch = self.net.switch
            self._update(
                switch=RackSwitch(
                    kind=self._kind,
                    address=switch.grpc_address,
                    device_id=switch.device_id,
                    lanes=self.lanes,
                    ip=SWITCH_IP,
                )
            )
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def _claim(self) -> None:
        """Take the name; what a rack of that name left behind when it was killed goes first."""
        with record.locked():
            before = record.load(self.record.name)
            if before is not None and before.owner.alive:
                raise RackError(
                    f"rack: '{before.name}' is up already (process {before.owner.pid});"
                    f" esa down {before.name} ends it, --name gives this one another name"
                )
            if before is not None:
                for _ in leftovers.remove_rack(before):
                    pass
            names.check_free(self.record.hosts)
            shutil.rmtree(self.record.folder, ignore_errors=True)
            self.record.folder.mkdir(mode=0o700)
            # Before anything is made, so that whoever finds us killed knows what to look for.
            self.record.save()
            self._cleanup.callback(shutil.rmtree, self.record.folder, ignore_errors=True)
            self._cleanup.callback(lambda: [names.detach(host) for host in self.record.hosts])

    def _update(self, **changes: object) -> None:
        self.record = self.record.model_copy(update=changes)
        self.record.save()

    def ready(self) -> None:
        """Let other commands use it."""
        self._update(ready=True)

    def check(self) -> bool:
        """Start a switch that was killed once more, without a program; whether that was so. P4SwitchError if it ended.

        To be called by the thread that built the rack.
        """
        if self.net.switch.killed:
            self.net.switch.restart()
            return True
        self.net.switch.check()
        return False

    def close(self) -> None:
        """Remove everything. Safe to call twice."""
        with uninterrupted():
            if self.record.ready:  # what goes wrong from now on is no fault of who uses it
                self._update(ready=False)
            self._cleanup.close()
