"""Runs of jobs without a network: a real switch process holds the entries, packets take the loopback (policy `ps`).

with Meeting(tmp_path) as meeting:
    job = meeting.add(make_loopback_job(2))
    with JobServer(job, meeting.address), join(job, meeting.address) as worker: ...
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from controller import Controller, Switch
from controller.coordinator import Coordinator
from esa.hosts import WorkerEndpoint, join
from esa.job import Job
from esa.wire import ESA_PORT
from tests.switches import SwitchProcess, running_switch

WAIT_S = 60
_HOSTS = itertools.count(1)


def make_loopback_job(workers: int = 2, lanes: int = 64, window: int = 32, servers: int = 1, **settings: Any) -> Job:
    """A job on loopback addresses that no other test of this process uses."""
    number = next(_HOSTS)
    net = f"127.{os.getpid() % 199 + 1}.{number}"

    def member(host: int, port: int) -> dict[str, Any]:
        mac = f"02:00:00:00:{number & 255:02x}:{host:02x}"
        return {"ip": f"{net}.{host}", "mac": mac, "udp_port": port, "switch_port": host}

    return Job.model_validate(
        {
            "name": f"j{number}",
            "job": 5 + number,
            "policy": "ps",
            "lanes": lanes,
            "workers": [member(10 + rank, 20000) for rank in range(workers)],
            "server": member(9, ESA_PORT),
            "more_servers": [member(9 - number, ESA_PORT) for number in range(1, servers)],
            "switch_ip": f"{net}.250",
            "pool": {"base": 0, "size": 64},
            "window": window,
            **settings,
        }
    )


class Meeting(ExitStack):
    """A switch with the program, loaded anew, and the coordinator of its jobs at `address`."""

    def __init__(self, folder: Path, process: SwitchProcess | None = None) -> None:
        super().__init__()
        self.address = f"unix:{folder}/runs"
        self.saved = folder / "jobs.json"
        self.said: list[str] = []
        self.process = process or self.enter_context(running_switch("embedded"))
        self.switch = self.enter_context(self.connect())
        self.controller = Controller(self.switch, self.saved)
        self.controller.load(64)
        self.coordinator: Coordinator
        self.callback(lambda: self.coordinator.close())
        self.coordinate()

    def connect(self) -> Switch:
        return Switch.connect(self.process.address, self.process.device_id)

    def coordinate(self) -> None:
        """Start the coordinator, or another one in its place."""
        self.coordinator = Coordinator(self.connect, self.saved, self.said.append)
        self.coordinator.serve(self.address)

    def add(self, job: Job) -> Job:
        self.controller.add_job(job)
        return job

    def taking_part(self, job: Job) -> set[int]:
        """The ranks of the job's run that the coordinator knows."""
        room = self.coordinator._rooms.get(job.job)
        return set() if room is None or room._run is None else {*room._run.workers} - room._run.left

    def waits(self, job: Job) -> bool:
        """Whether anybody waits for a run of the job."""
        room = self.coordinator._rooms.get(job.job)
        return room is not None and room.waits

    def join_all(self, job: Job) -> list[WorkerEndpoint]:
        """Every worker of the job, in this process, in the order of the job."""
        with ThreadPoolExecutor(job.fan_in) as pool:
            coming: list[Future[WorkerEndpoint]] = [
                pool.submit(join, job, self.address, rank=rank, size=job.fan_in, timeout_s=WAIT_S)
                for rank in range(job.fan_in)
            ]
            return sorted((each.result() for each in coming), key=lambda worker: worker.rank)
