"""`esactl supervise`: keep a switch as wanted, and start the runs of its jobs."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from controller.commands.common import Options, open_switch
from controller.coordinator import Coordinator
from controller.job_files import SavedJobs, read_job
from controller.metrics import JobMetrics
from controller.supervisor import Supervisor, Wanted
from esa.errors import BadInput
from esa.metrics import MetricsServer

COORDINATOR_ADDRESS = "127.0.0.1:9560"


def supervise(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[JOB.json]...", help="All jobs that there shall be; else those added with job add."),
    ] = None,
    lanes: Annotated[int, typer.Option(help="Which build a switch without a program gets.")] = 64,
    listen: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Where members of jobs come to start runs, HOST:PORT or unix:PATH."),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Offer the jobs' counters to Prometheus there.")
    ] = None,
) -> None:
    """Keep the switch in the wanted state, and start the runs of its jobs, until interrupted.

    After a restart of the switch program, hosts and jobs come back. Workers and PSs come to one of the addresses
    (127.0.0.1:9560 by default), which ESA_CONTROLLER tells them.
    """
    options: Options = context.obj
    jobs = [read_job(file) for file in files or ()]
    for job in jobs:
        if job.lanes != lanes:
            raise BadInput(f"lanes: job {job.name} has {job.lanes} lanes, the switch shall run the {lanes}-lane build")
    saved = SavedJobs(options.state, f"{options.address}#{options.device_id}")

    def wanted() -> Wanted:
        return Wanted(jobs, lanes, exclusive=True) if jobs else Wanted(list(saved.jobs().values()), lanes)

    def say(text: str) -> None:
        print(text, flush=True)

    supervisor = Supervisor(lambda: open_switch(options), wanted, say)
    with contextlib.ExitStack() as stack:
        if metrics is not None:
            jobs_of_switch = JobMetrics(lambda: open_switch(options), options.state, lambda: supervisor.restorations)
            stack.callback(jobs_of_switch.close)
            say(stack.enter_context(MetricsServer(metrics, jobs_of_switch.read)).announcement())
        coordinator = stack.enter_context(Coordinator(lambda: open_switch(options), options.state, say))
        for address in listen or [COORDINATOR_ADDRESS]:
            say(f"runs start at {coordinator.serve(address)}")
        try:
            supervisor.run()
        finally:
            supervisor.close()
