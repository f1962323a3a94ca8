"""The commands `esa up`, `down`, `launch` and `job`. Errors are one line; status 2: nothing was started."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
job_app = typer.Typer(help="Jobs' files.", no_args_is_help=True)
app.add_typer(job_app, name="job")
USAGE_ERROR = 2

RackOption = Annotated[str | None, typer.Option(help="whose switch it is; the one that is up by default")]
AddressOption = Annotated[
    str | None, typer.Option("--address", envvar="ESA_SWITCH", metavar="HOST:PORT", help="a switch that is no rack's")
]
DeviceOption = Annotated[int, typer.Option(envvar="ESA_SWITCH_DEVICE_ID", min=0, help="its P4Runtime device id")]


@app.command("up")
def up_command(
    hosts: Annotated[int, typer.Option(help="how many")] = 5,
    mbps: Annotated[float, typer.Option(help="of every link, each way; 0: as fast as the machine", min=0)] = 100.0,
    lanes: Annotated[int, typer.Option(help="lanes per fragment: which build of the program")] = 64,
    switch: Annotated[str, typer.Option(help="embedded or bmv2")] = "embedded",
    name: Annotated[str, typer.Option(help="of the rack; its hosts' namespaces are NAME-h1, NAME-h2, ...")] = "esa",
    detach: Annotated[bool, typer.Option("--detach", help="return once it is up; `esa down` ends it")] = False,
    private: Annotated[bool, typer.Option("--private", hidden=True)] = False,
) -> None:
    """Bring up a rack on this machine, for other terminals to use, until Ctrl-C or `esa down` (needs root)."""
    from topologies.launcher.up import detach_rack, hold_rack

    with _one_line_errors():
        if detach:
            detach_rack(name, hosts=hosts, mbps=mbps or None, lanes=lanes, switch=switch, say=_say)
            return
        try:
            hold_rack(name, hosts=hosts, mbps=mbps or None, lanes=lanes, switch=switch, private=private, say=_say)
        except KeyboardInterrupt:
            _say(f"rack {name} is down; nothing is left of it")


@app.command("env")
def env_command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="of the rack; the one that is up by default")
    ] = None,
) -> None:
    """Print what a rack's esactl, PSs and ranks need in their environment: eval "$(esa env)"."""
    from topologies import record
    from topologies.launcher.up import environment

    with _one_line_errors():
        for line in environment(record.find(name)):
            _say(line)


@app.command("down")
def down_command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="of one rack; all by default")] = None,
) -> None:
    """End racks that are up, and remove what killed ones left behind."""
    from topologies.launcher.up import end_racks

    with _one_line_errors():
        for line in end_racks(name):
            _say(line)


@app.command("launch", context_settings={"allow_interspersed_args": False})
def launch_command(
    command: Annotated[list[str], typer.Argument(metavar="SCRIPT.py [ARGS]...", help="what every rank runs")],
    nproc: Annotated[int, typer.Option(help="ranks, each on a host of its own; the PS takes one more")] = 2,
    policy: Annotated[str, typer.Option(help="how the switch's rows are scheduled: esa, atp, switchml, ps")] = "esa",
    name: Annotated[str | None, typer.Option(help="of the job; the script's by default")] = None,
    rack: Annotated[str | None, typer.Option(help="which rack that is up; needed where several are")] = None,
    own_rack: Annotated[
        bool, typer.Option("--own-rack", help="bring one up for this launch even if one is up")
    ] = False,
    mbps: Annotated[float | None, typer.Option(help="of every link, if no rack is up (100)", min=0)] = None,
    lanes: Annotated[int | None, typer.Option(help="per fragment, if no rack is up (64)")] = None,
    switch: Annotated[str | None, typer.Option(help="embedded or bmv2, if no rack is up (embedded)")] = None,
    module: Annotated[
        bool, typer.Option("-m", "--module", help="SCRIPT is a Python module, as with python -m")
    ] = False,
) -> None:
    """Run a script as several ranks on the rack that is up, or on one for this launch alone (needs root).

    Ranks get RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT, as from torchrun, and ESA_JOB, ESA_CONTROLLER.
    The exit status is the worst rank's.
    """
    from topologies.launcher.launch import LaunchError, Request, launch

    with _one_line_errors():
        try:
            status = launch(Request(command, module, nproc, policy, name, rack, own_rack, mbps, lanes, switch), _tell)
        except LaunchError as error:
            _tell(str(error))
            status = error.status
    raise typer.Exit(status)


@job_app.command("new")
def job_new_command(
    workers: Annotated[str, typer.Option(help="by rank, separated by commas: IP, IP=MAC, IP=MAC@PORT, or rack hosts")],
    server: Annotated[str, typer.Option(help="the PS, as one worker")],
    output: Annotated[Path, typer.Option("-o", "--output", help="the file")] = Path("job.json"),
    name: Annotated[str | None, typer.Option(help="of the job")] = None,
    policy: Annotated[str, typer.Option(help="esa, atp, switchml, ps")] = "esa",
    window: Annotated[int | None, typer.Option(help="fragments in flight per worker, at most", min=1)] = None,
    switch_ip: Annotated[
        str | None, typer.Option(metavar="IP", help="where the PS sends what is for the switch")
    ] = None,
    rack: RackOption = None,
    address: AddressOption = None,
    device_id: DeviceOption = 0,
) -> None:
    """Write a job's file: MAC addresses from the network, ports, rows and a free id from the switch."""
    from topologies.launcher.job_command import Where, make_job

    with _one_line_errors():
        job = make_job(
            Where.chosen(rack, address, device_id),
            workers,
            server,
            name=name,
            policy_name=policy,
            window=window,
            switch_ip=switch_ip,
        )
        try:
            job.save(output)
        except OSError as error:
            raise ValueError(f"output: cannot write {output}: {error.strerror}") from None
    _say(f"wrote {output}: job {job.name} ({job.job}), {job.fan_in} workers, PS {job.server.ip}, {job.policy}")
    _say(f"next: esactl job add {output}; programs find it by ESA_JOB={output}")


@job_app.command("check")
def job_check_command(
    file: Annotated[Path, typer.Argument(metavar="JOB.json")],
    rack: RackOption = None,
    address: AddressOption = None,
    device_id: DeviceOption = 0,
) -> None:
    """Say what is wrong with a job's file, here and on the switch, a line each; status 1 if anything is."""
    from topologies.launcher.job_command import Where, check_job

    with _one_line_errors():
        wrong, notes = check_job(file, Where.chosen(rack, address, device_id))
    for line in wrong:
        _say(f"wrong: {line}")
    for line in notes:
        _say(f"note: {line}")
    if wrong:
        raise typer.Exit(1)
    _say("nothing is wrong")


def _tell(text: str) -> None:
    """On stderr: stdout is the ranks'."""
    typer.echo(f"esa: {text}", err=True)


def _say(text: str) -> None:
    typer.echo(text)


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    from controller import BadInput, SwitchError
    from topologies.p4switch import P4SwitchError
    from topologies.record import RackError
    from topologies.single_rack import NotRootError

    try:
        yield
    except (RackError, NotRootError, BadInput, ValueError) as error:
        typer.echo(f"esa: {error}", err=True)
        raise typer.Exit(USAGE_ERROR) from None
    except (P4SwitchError, SwitchError) as error:
        first, *log = str(error).splitlines()
        typer.echo(f"esa: {' '.join([first, *log[-1:]])}", err=True)
        raise typer.Exit(1) from None
