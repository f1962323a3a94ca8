"""The commands `esa up`, `down`, `launch`, `job`, `port`, `attach`, `detach`.

Errors are one line; status 2: nothing was started.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from esa import log
from esa.errors import BadInput
from esa.exits import commands
from topologies import tunnel

app = typer.Typer(
    cls=commands("esa"),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
job_app = typer.Typer(help="Jobs' files.", no_args_is_help=True)
app.add_typer(job_app, name="job")

RackOption = Annotated[str | None, typer.Option(help="whose switch it is; the one that is up by default")]
AddressOption = Annotated[
    str | None, typer.Option("--address", envvar="ESA_SWITCH", metavar="HOST:PORT", help="a switch that is no rack's")
]
DeviceOption = Annotated[int, typer.Option(envvar="ESA_SWITCH_DEVICE_ID", min=0, help="its P4Runtime device id")]
MtuOption = Annotated[int, typer.Option(help="of all ends of one switch")]
ShowOption = Annotated[bool, typer.Option("--show", help="print the commands that make it, and do nothing")]


@app.callback()
def every_command() -> None:
    """Racks on this machine, and jobs on them."""
    log.begin()


@app.command("up")
def up_command(
    hosts: Annotated[int, typer.Option(help="how many")] = 5,
    mbps: Annotated[float, typer.Option(help="of every link, each way; 0: as fast as the machine", min=0)] = 100.0,
    lanes: Annotated[int, typer.Option(help="lanes per fragment: which build of the program")] = 64,
    switch: Annotated[str, typer.Option(help="embedded or bmv2")] = "embedded",
    name: Annotated[str, typer.Option(help="of the rack; its hosts' namespaces are NAME-h1, NAME-h2, ...")] = "esa",
    detach: Annotated[bool, typer.Option("--detach", help="return once it is up; `esa down` ends it")] = False,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="for Prometheus: of the jobs; the switch's own on the next port"),
    ] = None,
    private: Annotated[bool, typer.Option("--private", hidden=True)] = False,
) -> None:
    """Bring up a rack on this machine, for other terminals to use, until Ctrl-C or `esa down` (needs root).

    It is one rack, behind one switch; `esa run` has several, under spines.
    """
    from topologies.launcher.up import detach_rack, hold_rack

    if detach:
        detach_rack(name, hosts=hosts, mbps=mbps or None, lanes=lanes, switch=switch, metrics=metrics, say=_say)
        return
    try:
        shape: dict[str, Any] = {"hosts": hosts, "mbps": mbps or None, "lanes": lanes, "switch": switch}
        hold_rack(name, **shape, private=private, metrics=metrics, say=_say)
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

    for line in environment(record.find(name)):
        _say(line)


@app.command("down")
def down_command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="of one rack; all by default")] = None,
) -> None:
    """End racks that are up, and remove what killed ones left behind."""
    from topologies.launcher.up import end_racks

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
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="for Prometheus: of rank 0; the other ranks and the PS on the next ports"
        ),
    ] = None,
) -> None:
    """Run a script as several ranks on the rack that is up, or on one for this launch alone (needs root).

    Ranks get RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT, as from torchrun, and ESA_JOB, ESA_CONTROLLER.
    The exit status is the worst rank's.
    """
    from topologies.launcher.launch import Request, launch

    status = launch(Request(command, module, nproc, policy, name, rack, own_rack, mbps, lanes, switch, metrics), _tell)
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
        raise BadInput(f"output: cannot write {output}: {error.strerror}") from None
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

    wrong, notes = check_job(file, Where.chosen(rack, address, device_id))
    for line in wrong:
        _say(f"wrong: {line}")
    for line in notes:
        _say(f"note: {line}")
    if wrong:
        raise typer.Exit(1)
    _say("nothing is wrong")


@app.command("port")
def port_command(
    port: Annotated[int, typer.Argument(metavar="PORT", help="of the switch")],
    host_machine: Annotated[str, typer.Option(metavar="IP", help="the machine of the host behind it")],
    mtu: MtuOption = tunnel.DEFAULT_MTU,
    show: ShowOption = False,
) -> None:
    """On the switch's machine: make its end of the tunnel to a host's machine (needs root)."""
    end = tunnel.port_end(port, host_machine, mtu=mtu)
    if _made(end, show):
        _say(f"{end.interface} leads to {end.peer}; the switch takes it with: -i {port}@{end.interface}")


@app.command("attach")
def attach_command(
    address: Annotated[str, typer.Argument(metavar="IP/LENGTH", help="this host's behind the switch, as 10.0.0.1/24")],
    port: Annotated[int, typer.Option(help="of the switch, which nobody else has")],
    switch_machine: Annotated[str, typer.Option(metavar="IP", help="where the switch runs")],
    switch_ip: Annotated[
        str | None, typer.Option(metavar="IP", help="the switch as a job's member; by default .254")
    ] = None,
    mtu: MtuOption = tunnel.DEFAULT_MTU,
    show: ShowOption = False,
) -> None:
    """On a host's machine: make its end of the tunnel to the switch's machine (needs root)."""
    end = tunnel.host_end(address, port, switch_machine, switch_ip=switch_ip, mtu=mtu)
    if _made(end, show):
        assert end.address is not None
        _say(f"{end.interface} leads to the switch; as a job's member: {end.address.ip}={end.mac}@{port}")


@app.command("detach")
def detach_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[INTERFACE]...", help="of one end; all on this machine by default")
    ] = None,
) -> None:
    """Remove ends of tunnels that `esa port` and `esa attach` have made on this machine."""
    removed = tunnel.remove(names or ())
    _say(f"removed {', '.join(removed)}" if removed else "no end of a tunnel is here")


def _made(end: tunnel.End, show: bool) -> bool:
    """Make the end, or print how."""
    if show:
        for command in end.commands:
            _say(" ".join(command))
    else:
        tunnel.make(end)
    return not show


def _tell(text: str) -> None:
    """On stderr: stdout is the ranks'."""
    typer.echo(f"esa: {text}", err=True)


def _say(text: str) -> None:
    typer.echo(text)
