"""`esa up` and `esa down`: a rack on this machine that lasts until it is told to end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from esa.exits import refusing
from esa.metrics.serving import next_addresses
from esa.program import program
from esa.signals import ending_interrupts
from topologies import leftovers, record
from topologies.doctor.early import examined
from topologies.launcher.control_plane import control_plane
from topologies.rack import NamedRack
from topologies.record import RackError, RackRecord, RackSwitch
from topologies.single_rack import require_root

LOOK_S = 0.2
END_LIMIT_S = 30.0  # for a rack to end by itself


def hold_rack(
    name: str,
    *,
    hosts: int,
    mbps: float | None,
    lanes: int,
    switch: str,
    private: bool,
    metrics: str | None = None,
    say: Callable[[str], None],
) -> None:
    """Bring a rack up, say how to use it, and keep it up until a signal comes (KeyboardInterrupt).

    metrics: where the jobs' are offered to Prometheus, HOST:PORT; the switch's own at the next port.
    BadInput, RackError, NotRootError, P4SwitchError, SwitchError: in words what is wrong; then nothing is left.
    """
    with refusing():
        program(lanes)
    addresses = [] if metrics is None else next_addresses(metrics, 2)
    up: list[str] = []

    def to_stderr(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with (
        examined(to_stderr, begun=lambda: bool(up)),
        ending_interrupts(),
        NamedRack(
            name, hosts=hosts, mbps=mbps, switch=switch, lanes=lanes, private=private, metrics=addresses[1:]
        ) as rack,
    ):
        where = rack.record.switch
        assert where is not None
        with control_plane(rack.record, where, say, metrics):
            if not rack.net.switch.deepen_queues():
                say("simple_switch_CLI is missing: BMv2's queues stay at 64 packets and may lose some")
            rack.ready()
            up.append(name)
            for line in how_to_use(rack.record, where):
                say(line)
            while True:
                time.sleep(LOOK_S)
                if rack.check():
                    say("the switch was killed: started it once more")


def detach_rack(
    name: str,
    *,
    hosts: int,
    mbps: float | None,
    lanes: int,
    switch: str,
    metrics: str | None = None,
    say: Callable[[str], None],
) -> None:
    """Bring a rack up in a process of its own, say how to use it, and leave it to `esa down`. RackError if it fails."""
    require_root()
    with refusing():
        program(lanes)
    if metrics is not None:
        next_addresses(metrics, 2)
    command = [sys.executable, "-m", "topologies.launcher", "up", "--name", name, "--hosts", str(hosts)]
    command += ["--mbps", str(mbps or 0), "--lanes", str(lanes), "--switch", switch]
    command += [] if metrics is None else ["--metrics", metrics]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
        )
        while True:
            rack = record.load(name)
            if rack is not None and rack.up and rack.owner.pid == process.pid:
                break
            if process.poll() is not None:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip().splitlines()
                raise RackError(said[-1].removeprefix("esa: ") if said else "rack: it did not come up")
            time.sleep(LOOK_S)
    assert rack.switch is not None
    for line in how_to_use(rack, rack.switch):
        say(line)


def how_to_use(rack: RackRecord, switch: RackSwitch) -> Iterator[str]:
    """What to type next, line by line."""
    sudo = "sudo " if "SUDO_UID" in os.environ else ""
    links = "unshaped links" if rack.mbps is None else f"{rack.mbps:g} Mb/s links"
    first, last = rack.hosts[0], rack.hosts[-1]
    down = "esa down" if rack.name == record.DEFAULT_NAME else f"esa down {rack.name}"
    yield f"rack {rack.name} is up: {len(rack.hosts)} hosts, {links}, the {switch.lanes}-lane program on {switch.kind}"
    yield f"  hosts {first.namespace} ({first.ip}) to {last.namespace} ({last.ip}); Ctrl-C, or {sudo}{down}, ends it"
    yield "in another terminal:"
    yield f"  {sudo}ip netns exec {first.namespace} ping {last.name}"
    if len(rack.hosts) > 2:
        yield f"  {sudo}esa launch --nproc {len(rack.hosts) - 1} train.py"
    name = "" if rack.name == record.DEFAULT_NAME else f" {rack.name}"
    yield f'  eval "$({sudo}esa env{name})"; esactl watch'


def environment(rack: RackRecord) -> Iterator[str]:
    """What esactl, PSs and ranks that are started by hand need to know of a rack, for a shell to evaluate."""
    switch = rack.switch
    assert switch is not None
    yield f"export ESA_SWITCH={switch.address} ESA_SWITCH_DEVICE_ID={switch.device_id}"
    yield f"export ESA_STATE={rack.saved_jobs} ESA_CONTROLLER={rack.controller}"
    yield f"export GLOO_SOCKET_IFNAME={rack.interface}"


def end_racks(name: str | None) -> Iterator[str]:
    """End the rack called `name`, else all that are nobody's own, and remove what killed ones left; yields in words."""
    require_root()
    there = record.records()
    chosen = [rack for rack in there if rack.name == name or (name is None and not (rack.private and rack.owner.alive))]
    if name is not None and not chosen:
        names = ", ".join(rack.name for rack in there)
        raise RackError(f"rack: there is no rack '{name}'; there are: {names or 'none'}")
    if not chosen:
        yield "no rack is up"
    for rack in chosen:
        if rack.owner.alive:
            yield _end(rack)
        with record.locked():
            left = record.load(rack.name)
            if left is not None and not left.owner.alive:
                yield from leftovers.remove_rack(left)


def _end(rack: RackRecord) -> str:
    for number, limit_s in ((signal.SIGTERM, END_LIMIT_S), (signal.SIGKILL, END_LIMIT_S)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(rack.owner.pid, number)
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if not rack.owner.alive:
                how = "" if number == signal.SIGTERM else f", which did not end within {END_LIMIT_S:.0f} s, by force"
                return f"ended rack {rack.name} (process {rack.owner.pid}){how}"
            time.sleep(0.05)
    raise RackError(f"rack: process {rack.owner.pid} of rack '{rack.name}' does not end")
