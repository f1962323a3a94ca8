"""The command line `esactl`: load, jobs, policy, counters, occupancy, watch, supervise, shell, cert.

Exit status: 0 done, 1 the switch cannot be reached or refused, 2 the request is wrong. Errors are one line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from controller import development_set
from controller.client import Switch
from controller.controller import Controller
from controller.coordinator import Coordinator
from controller.job_files import SavedJobs, read_job
from controller.supervisor import Supervisor, Wanted
from controller.tls import Tls
from controller.watch import Sample, rates
from esa.entries.job_entries import InstalledJob
from esa.entries.pools import rows_text
from esa.errors import BadInput, SwitchError
from esa.job import Member, Pool
from esa.policy import POLICIES

app = typer.Typer(help="Control an ESA switch over P4Runtime.", no_args_is_help=True, add_completion=False)
job_app = typer.Typer(help="Jobs in the switch.", no_args_is_help=True)
policy_app = typer.Typer(help="How a job's rows are scheduled.", no_args_is_help=True)
host_app = typer.Typer(help="Plain forwarding by MAC address.", no_args_is_help=True)
app.add_typer(job_app, name="job")
app.add_typer(policy_app, name="policy")
app.add_typer(host_app, name="host")

COORDINATOR_ADDRESS = "127.0.0.1:9560"

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="A job's name or id.", show_default=False)]


@dataclass(frozen=True)
class Options:
    """The global options."""

    address: str
    device_id: int
    election_id: tuple[int, int] | None
    wait_s: float
    tls: Tls | None
    state: Path


@app.callback()
def global_options(
    context: typer.Context,
    address: Annotated[
        str, typer.Option(envvar="ESA_SWITCH", metavar="HOST:PORT", help="The switch's P4Runtime server.")
    ] = "127.0.0.1:9559",
    device_id: Annotated[int, typer.Option(envvar="ESA_SWITCH_DEVICE_ID", min=0, help="Its P4Runtime device id.")] = 0,
    election_id: Annotated[
        str, typer.Option(metavar="HIGH,LOW", help="Fixed election id; by default the newest writer wins.")
    ] = "",
    wait: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="For a switch that is just starting.")] = 0.0,
    tls: Annotated[
        bool,
        typer.Option("--tls", help="Use TLS; implied by the next three. See also: cert."),
    ] = False,
    cacert: Annotated[
        Path | None, typer.Option(envvar="ESA_SWITCH_CACERT", help="PEM file of the CA that signed the switch's.")
    ] = None,
    cert: Annotated[Path | None, typer.Option(envvar="ESA_SWITCH_CERT", help="PEM file of our certificate.")] = None,
    key: Annotated[Path | None, typer.Option(envvar="ESA_SWITCH_KEY", help="PEM file of our private key.")] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            envvar="ESA_STATE", help="File that remembers names of jobs.", show_default="esa/workloads.json in XDG"
        ),
    ] = None,
) -> None:
    secure = tls or any((cacert, cert, key))
    context.obj = Options(
        address,
        device_id,
        _election_id(election_id),
        wait,
        Tls(cacert, cert, key) if secure else None,
        state or SavedJobs.default_path(),
    )


@app.command()
def load(
    context: typer.Context,
    lanes: Annotated[int, typer.Option(help="Lanes per fragment: which build of the program.")] = 64,
) -> None:
    """Load the P4 program. Whatever the switch ran and held before is gone."""
    with _controller(context) as controller:
        controller.load(lanes)
        print(f"loaded the {lanes}-lane program, {controller.switch.loaded.aggregators} rows")


@job_app.command("add")
def job_add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="JOB.json", help="The job.", show_default=False)],
) -> None:
    """Add a job: its senders, receivers, hosts and policy."""
    job = read_job(file)
    with _controller(context) as controller:
        added = controller.add_job(job)
    print(f"added {job.name}: job {job.job}, epoch {added.epoch}, {_workers(added.fan_in)}, {added.policy.name}")


@job_app.command("list")
def job_list(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the jobs in the switch."""
    with _controller(context) as controller:
        jobs = [(controller.name(job), job) for job in controller.jobs()]
    if as_json:
        return _print_json([_job_record(name, job) for name, job in jobs])
    table = Table("name", "job", "epoch", "policy", "rows", "workers", "PS", "problems")
    for name, job in jobs:
        table.add_row(
            name,
            str(job.job),
            str(job.epoch),
            job.policy.name,
            rows_text(job.pool).removeprefix("rows ") if job.pool else "-",
            str(job.fan_in),
            str(job.server.ip),
            "; ".join(job.problems),
        )
    if not any(job.problems for _, job in jobs):
        table.columns.pop()
    return _console().print(table)


@job_app.command("show")
def job_show(context: typer.Context, job: JobArgument, as_json: JsonOption = False) -> None:
    """Show one job as the switch has it."""
    with _controller(context) as controller:
        found = controller.find(job)
        name = controller.name(found)
    record = _job_record(name, found)
    if as_json:
        return _print_json(record)
    table = Table(show_header=False)
    for key, value in record.items():
        if key == "workers":
            for rank, member in enumerate(value):
                table.add_row(f"rank {rank}", _member_text(member))
        elif key == "server":
            table.add_row("PS", _member_text(value))
        elif key == "pool":
            table.add_row("pool", rows_text(found.pool) if found.pool else "-")
        elif key == "problems":
            table.add_row(key, "; ".join(value) or "none")
        else:
            table.add_row(key, "-" if value is None else str(value))
    return _console().print(table)


@job_app.command("remove")
def job_remove(context: typer.Context, job: JobArgument) -> None:
    """Remove a job."""
    with _controller(context) as controller:
        name = controller.name(controller.find(job))
        controller.remove_job(job)
    print(f"removed {name}")


@policy_app.command("set")
def policy_set(
    context: typer.Context,
    job: JobArgument,
    policy: Annotated[str, typer.Argument(metavar="POLICY", help=", ".join(POLICIES), show_default=False)],
    pool: Annotated[str, typer.Option(metavar="BASE:SIZE", help="Rows to use, where they have to change.")] = "",
    window: Annotated[
        int, typer.Option(min=0, help="The job's window, where its file is not at hand.", show_default=False)
    ] = 0,
) -> None:
    """Put a job under another policy while it runs."""
    rows = _pool(pool)
    with _controller(context) as controller:
        changed = controller.set_policy(job, policy, pool=rows, window=window or None)
        where = f", {rows_text(changed.pool)}" if changed.pool else ""
        print(f"{controller.name(changed)}: {changed.policy.name}{where}")


@policy_app.command("list")
def policy_list(as_json: JsonOption = False) -> None:
    """List the policies there are."""
    fields = ("name", "pool", "preempt", "aging", "release", "emit")
    records = [
        {field: getattr(value := getattr(policy, field), "name", value) for field in fields}
        for policy in POLICIES.values()
    ]
    if as_json:
        return _print_json(records)
    table = Table(*fields)
    for record in records:
        table.add_row(*(str(record[field]).lower().replace("_", " ") for field in fields))
    return _console().print(table)


@host_app.command("add")
def host_add(
    context: typer.Context,
    mac: Annotated[str, typer.Argument(show_default=False)],
    port: Annotated[int, typer.Argument(min=0, max=510, show_default=False)],
) -> None:
    """Forward frames for MAC to PORT, and broadcasts to every such port."""
    try:
        Member(ip="0.0.0.0", mac=mac, udp_port=1, switch_port=port)  # type: ignore[arg-type]
    except ValueError:
        raise BadInput(f"mac: '{mac}' is not a MAC address in lower case, as 00:00:0a:00:00:01") from None
    with _controller(context) as controller:
        controller.add_host(mac, port)
    print(f"{mac} is on port {port}")


@host_app.command("list")
def host_list(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the hosts that the switch forwards to."""
    with _controller(context) as controller:
        hosts = controller.hosts()
    if as_json:
        return _print_json(hosts)
    table = Table("MAC", "port")
    for mac, port in sorted(hosts.items(), key=lambda host: host[1]):
        table.add_row(mac, str(port))
    return _console().print(table)


@app.command()
def reconcile(
    context: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[JOB.json]...", help="All jobs that there shall be.")
    ] = None,
) -> None:
    """Delete entries that no job owns; with files, add and remove jobs until these are the switch's."""
    jobs = [read_job(file) for file in files] if files else None
    with _controller(context) as controller:
        done = controller.reconcile(jobs)
    print("\n".join(done) or "nothing to do")


@app.command()
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

    supervisor = Supervisor(lambda: _switch(options), wanted, say)
    with Coordinator(lambda: _switch(options), options.state, say) as coordinator:
        for address in listen or [COORDINATOR_ADDRESS]:
            say(f"runs start at {coordinator.serve(address)}")
        try:
            supervisor.run()
        finally:
            supervisor.close()


@app.command()
def counters(
    context: typer.Context,
    job: Annotated[str, typer.Argument(metavar="[JOB]", help="A job's name or id; all by default.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Print the counters of one job or of all; "(none)" is what belongs to no job."""
    with _controller(context) as controller:
        jobs = controller.jobs()
        chosen = [controller.find(job, jobs)] if job else jobs
        names, indices = [controller.name(each) for each in chosen], [each.index for each in chosen]
        if not job:
            names, indices = [*names, "(none)"], [*indices, 0]
        values = dict(zip(names, controller.read_counters(indices), strict=True))
        reasons = None if job else controller.denied_by_reason()
    if as_json:
        if job:
            return _print_json(values[names[0]])
        nobody = values.pop("(none)")
        return _print_json({"jobs": values, "none": nobody, "denied_by_reason": reasons})
    table = Table("counter", *names)
    for counter in values[names[0]]:
        table.add_row(counter, *(str(values[name][counter]) for name in names))
    console = _console()
    console.print(table)
    for reason, count in (reasons or {}).items():
        if count:
            console.print(f"denied, {reason}: {count}")
    return None


@app.command()
def occupancy(context: typer.Context, as_json: JsonOption = False) -> None:
    """Print how many rows each job holds."""
    with _controller(context) as controller:
        found = controller.occupancy()
    if as_json:
        record = {"jobs": found.jobs, "left_behind": found.left_behind, "total": found.total, "rows": found.rows}
        return _print_json(record)
    table = Table("job", "rows", "share")
    removed = {"(removed jobs)": found.left_behind} if found.left_behind else {}
    for name, rows in {**found.jobs, **removed, "total": found.total}.items():
        table.add_row(name, str(rows), f"{rows / found.rows:.1%}")
    return _console().print(table)


@app.command()
def watch(
    context: typer.Context,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between samples.")] = 1.0,
    count: Annotated[int, typer.Option(min=0, help="How many samples; 0: until interrupted.")] = 0,
) -> None:
    """Follow occupancy, counters and rates of every job."""
    console = _console()
    with _controller(context) as controller:
        samples = _samples(controller, interval, count)
        if not console.is_terminal:
            for table in samples:
                console.print(table)
                console.file.flush()
            return
        with Live(console=console, auto_refresh=False) as live:
            for table in samples:
                live.update(table, refresh=True)


def _samples(controller: Controller, interval: float, count: int) -> Iterator[Table]:
    before: Sample | None = None
    taken = 0
    while True:
        now = Sample.take(controller)
        yield rates(now, before)
        before, taken = now, taken + 1
        if taken == count:
            return
        time.sleep(interval)


@app.command()
def registers(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A register array, as row_bitmap.", show_default=False)],
    index: Annotated[int, typer.Option(help="One cell; all but zeros by default.", show_default=False)] = -1,
    as_json: JsonOption = False,
) -> None:
    """Print a register array (the embedded switch; BMv2 does not read registers)."""
    with _controller(context) as controller:
        values = controller.switch.read_registers(name, None if index == -1 else index)
    if as_json:
        return _print_json(values)
    first = max(0, index)
    for cell, value in enumerate(values, first):
        if value or index != -1:
            print(f"{name}[{cell}] = {value} (0x{value:x})")
    return None


@app.command()
def shell(context: typer.Context) -> None:
    """Open p4runtime-shell on the switch."""
    options: Options = context.obj
    with _switch(options) as switch:
        _ = switch.loaded  # the shell needs a program for its names
    # IPython takes half a second to import.
    from p4runtime_sh import shell as p4runtime_shell

    high, low = options.election_id or (1, time.time_ns() // 1000)
    arguments = ["--grpc-addr", options.address, "--device-id", str(options.device_id)]
    arguments += ["--election-id", f"{high},{low}"]
    if options.tls is not None:
        arguments.append("--ssl")
        for option, path in (
            ("--cacert", options.tls.cacert),
            ("--cert", options.tls.cert),
            ("--private-key", options.tls.key),
        ):
            arguments += [option, str(path)] if path else []
    sys.argv = ["esactl shell", *arguments]  # the shell reads it
    p4runtime_shell.main()


@app.command()
def cert(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to.", show_default=False)],
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Further name or IP address of the switch; repeatable.", show_default=False),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=development_set.MAX_DAYS, help="How long they are valid.")] = 30,
    force: Annotated[bool, typer.Option("--force", help="Replace a set that is there.")] = False,
) -> None:
    """Make certificates to develop with: a CA, one for the switch, one for the controller.

    Writes ca.pem, server.pem, client.pem and their keys (ca-key.pem, ...), readable by you alone.

    The switch's is good for localhost, 127.0.0.1, ::1 and every --host.

    Whoever has ca-key.pem can make more: keep it to yourself, or delete it.
    """
    development_set.make(folder, host or (), days, force=force)
    print(
        f"wrote a CA, a server's and a client's certificate, valid for {days} days, to {folder}\n"
        f"switch:     esa-switch --no-p4 -- --grpc-server-ssl --grpc-server-cacert {folder}/ca.pem"
        f" --grpc-server-cert {folder}/server.pem --grpc-server-key {folder}/server-key.pem"
        " --grpc-server-with-client-auth\n"
        f"controller: esactl --cacert {folder}/ca.pem --cert {folder}/client.pem --key {folder}/client-key.pem load"
    )


def _switch(options: Options) -> Switch:
    return Switch.connect(
        options.address, options.device_id, election_id=options.election_id, tls=options.tls, wait_s=options.wait_s
    )


@contextmanager
def _controller(context: typer.Context) -> Iterator[Controller]:
    options: Options = context.obj
    with _switch(options) as switch:
        yield Controller(switch, options.state)


def _console() -> Console:
    console = Console(highlight=False)
    # A file or pipe has no width: lines are then as long as they need to be.
    return console if console.is_terminal else Console(highlight=False, width=200)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


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
        "workers": [member.model_dump(mode="json") for member in job.workers],
        "problems": list(job.problems),
    }


def _member_text(member: dict[str, Any]) -> str:
    return f"{member['ip']}:{member['udp_port']}  {member['mac']}  port {member['switch_port']}"


def _election_id(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    numbers = text.split(",")
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        raise BadInput(f"election-id: '{text}' is not HIGH,LOW")
    return int(numbers[0]), int(numbers[1])


def _pool(text: str) -> Pool | None:
    if not text:
        return None
    numbers = text.split(":")
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        raise BadInput(f"pool: '{text}' is not BASE:SIZE")
    try:
        return Pool(base=int(numbers[0]), size=int(numbers[1]))
    except ValueError:
        raise BadInput(f"pool: size {numbers[1]} is not a power of two") from None


# Every version of typer has BadParameter; what it descends from moved between them.
_UsageProblem: type[Exception] = typer.BadParameter.__mro__[2]


def main() -> None:
    """Run `esactl` and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run `esactl` with these arguments; returns its exit status."""
    try:
        status = app(list(arguments), prog_name="esactl", standalone_mode=False)
    except BadInput as error:
        return _fail(str(error), 2)
    except SwitchError as error:
        return _fail(str(error), 1)
    except _UsageProblem as error:
        message = error.format_message()  # type: ignore[attr-defined]
        return _fail(message, 2) if message else 2
    except (KeyboardInterrupt, typer.Abort):
        return 130
    return status if isinstance(status, int) else 0


def _fail(message: str, status: int) -> int:
    print(f"esactl: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
