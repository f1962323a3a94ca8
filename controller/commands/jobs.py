"""`esactl job`: add, list, show and remove jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from controller.commands.common import JobArgument, JsonOption, make_console, open_controller, print_json
from controller.job_files import read_job
from esa.entries.job_entries import InstalledJob
from esa.entries.pools import rows_text


def job_add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="JOB.json", help="The job.", show_default=False)],
) -> None:
    """Add a job: its senders, receivers, hosts and policy."""
    job = read_job(file)
    with open_controller(context) as controller:
        added = controller.add_job(job)
    print(f"added {job.name}: job {job.job}, epoch {added.epoch}, {_workers(added.fan_in)}, {added.policy.name}")


def job_list(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the jobs in the switch."""
    with open_controller(context) as controller:
        jobs = [(controller.name(job), job) for job in controller.jobs()]
    if as_json:
        return print_json([_job_record(name, job) for name, job in jobs])
    table = Table("name", "job", "epoch", "policy", "rows", "workers", "PS", "problems")
    for name, job in jobs:
        table.add_row(
            name,
            str(job.job),
            str(job.epoch),
            job.policy.name,
            rows_text(job.pool).removeprefix("rows ") if job.pool else "-",
            str(job.fan_in),
            " ".join(str(server.ip) for server in job.servers),
            "; ".join(job.problems),
        )
    if not any(job.problems for _, job in jobs):
        table.columns.pop()
    return make_console().print(table)


def job_show(context: typer.Context, job: JobArgument, as_json: JsonOption = False) -> None:
    """Show one job as the switch has it."""
    with open_controller(context) as controller:
        found = controller.find(job)
        name = controller.name(found)
    record = _job_record(name, found)
    if as_json:
        return print_json(record)
    table = Table(show_header=False)
    for key, value in record.items():
        if key == "workers":
            for rank, member in enumerate(value):
                table.add_row(f"rank {rank}", _member_text(member))
        elif key == "server":
            table.add_row("PS", _member_text(value))
        elif key == "more_servers":
            for number, member in enumerate(value, start=1):
                table.add_row(f"PS {number}", _member_text(member))
        elif key == "pool":
            table.add_row("pool", rows_text(found.pool) if found.pool else "-")
        elif key == "problems":
            table.add_row(key, "; ".join(value) or "none")
        else:
            table.add_row(key, "-" if value is None else str(value))
    return make_console().print(table)


def job_remove(context: typer.Context, job: JobArgument) -> None:
    """Remove a job."""
    with open_controller(context) as controller:
        name = controller.name(controller.find(job))
        controller.remove_job(job)
    print(f"removed {name}")


def _workers(count: int) -> str:
    return f"{count} worker{'s' if count != 1 else ''}"


def _job_record(name: str, job: InstalledJob) -> dict[str, Any]:
    knobs = ("preempt", "aging", "release", "emit")
    return {
        "name": name,
        "job": job.job,
        "epoch": job.epoch,
        "index": job.index,
        "policy": job.policy.name,
        **{knob: getattr(job.policy, knob).name if job.pool else None for knob in knobs},
        "pool": job.pool.model_dump() if job.pool else None,
        "ttl_us": job.ttl_us,
        "switch_ip": str(job.switch_ip),
        "server": job.server.model_dump(mode="json"),
        "more_servers": [member.model_dump(mode="json") for member in job.more_servers],
        "workers": [member.model_dump(mode="json") for member in job.workers],
        "problems": list(job.problems),
    }


def _member_text(member: dict[str, Any]) -> str:
    return f"{member['ip']}:{member['udp_port']}  {member['mac']}  port {member['switch_port']}"
