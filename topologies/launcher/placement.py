"""A launch's job on a rack: free hosts, addresses, rows and window, and its place on the switch until it is over."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from controller import BadInput, Controller, SwitchError
from controller.placing import re_place_jobs
from esa.job import Job, Member
from esa.wire import ESA_PORT
from topologies.launcher.control_plane import connected
from topologies.launcher.new_job import WORKER_PORT, new_job, unused
from topologies.leftovers import end_launched
from topologies.record import Process, RackError, RackHost, RackRecord, RackSwitch


@dataclass(frozen=True)
class Placed:
    """A job on its hosts, the workers' by rank; `folder` holds job.json and goes with the launch."""

    rack: RackRecord
    job: Job
    workers: tuple[RackHost, ...]
    server: RackHost
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "job.json"

    @property
    def launch(self) -> str:
        """What marks this launch's processes."""
        return f"{self.rack.name}/{self.job.name}"


@contextlib.contextmanager
def placed(
    rack: RackRecord, switch: RackSwitch, *, workers: int, policy_name: str, name: str | None, default_name: str
) -> Iterator[Placed]:
    """Put a job on free hosts and on the switch; when the block is left all of it is gone, processes too.

    name: the job's, refused if there is one of that name; without it `default_name`, numbered if need be.
    RackError, BadInput, SwitchError.
    """
    with _locked(rack), connected(rack, switch) as controller:
        _remove_dead(rack, controller)
        place = _place(rack, switch, controller, workers, policy_name, name, default_name)
        place.folder.mkdir(parents=True)
        (place.folder / "owner.json").write_text(Process.of(os.getpid()).model_dump_json())
        place.job.save(place.file)
        try:
            controller.add_job(place.job)
            re_place_jobs(controller)
        except BaseException:
            shutil.rmtree(place.folder, ignore_errors=True)
            raise
    try:
        yield place
    finally:
        end_launched(place.launch)
        _take_away(rack, switch, place)


def _take_away(rack: RackRecord, switch: RackSwitch, place: Placed) -> None:
    """Remove the job and its files. Where the switch does not answer they stay, and the next launch removes them."""
    if not rack.owner.alive:  # the switch is gone, and the files are, or go with what is left of the rack
        return
    with contextlib.suppress(RackError, SwitchError), _locked(rack), connected(rack, switch) as controller:
        with contextlib.suppress(BadInput):  # somebody has removed it
            controller.remove_job(place.job.job)
        re_place_jobs(controller)
        shutil.rmtree(place.folder, ignore_errors=True)


def _place(
    rack: RackRecord,
    switch: RackSwitch,
    controller: Controller,
    workers: int,
    policy_name: str,
    name: str | None,
    default_name: str,
) -> Placed:
    jobs = controller.jobs()
    names = {controller.name(job) for job in jobs}
    if name is not None and name in names:
        raise BadInput(f"name: there is a job '{name}' on rack '{rack.name}' already")
    used = {member.mac for job in jobs for member in job.members}
    free = [host for host in rack.hosts if host.mac not in used]
    if len(free) < workers + 1:
        taken = f"; jobs there: {', '.join(sorted(names))}" if names else ""
        raise RackError(
            f"nproc: {workers} ranks and a PS need {workers + 1} free hosts;"
            f" rack '{rack.name}' has {len(free)} of {len(rack.hosts)}{taken}"
        )
    job = new_job(
        controller,
        name or unused(default_name, names),
        policy_name,
        [_member(host, WORKER_PORT) for host in free[:workers]],
        _member(free[workers], ESA_PORT),
        switch.ip,
    )
    return Placed(rack, job, tuple(free[:workers]), free[workers], rack.folder / "launches" / job.name)


def _member(host: RackHost, udp_port: int) -> Member:
    return Member(ip=host.ip, mac=host.mac, udp_port=udp_port, switch_port=host.switch_port)


@contextlib.contextmanager
def _locked(rack: RackRecord) -> Iterator[None]:
    """One launch at a time chooses hosts."""
    try:
        file = (rack.folder / ".placing").open("w")
    except OSError:
        raise RackError(f"rack: '{rack.name}' has gone") from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_dead(rack: RackRecord, controller: Controller) -> None:
    """A launch that was killed could not take its job away."""
    for folder in (rack.folder / "launches").glob("*"):
        with contextlib.suppress(OSError, ValueError):
            if Process.model_validate_json((folder / "owner.json").read_text()).alive:
                continue
        end_launched(f"{rack.name}/{folder.name}")
        with contextlib.suppress(BadInput):
            controller.remove_job(folder.name)
        shutil.rmtree(folder, ignore_errors=True)
