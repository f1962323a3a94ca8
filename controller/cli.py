"""The command line `esactl`: load, jobs, policy, pools, counters, occupancy, watch, supervise, shell, cert.

Exit status: 0 done, 1 the switch cannot be reached or refused, 2 the request is wrong. Errors are one line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from controller.commands import cert, counters, hosts, jobs, policies, pools, supervise, switch
from controller.commands.common import Options
from controller.job_files import SavedJobs
from controller.tls import Tls
from esa import log
from esa.errors import BadInput
from esa.exits import commands

app = typer.Typer(
    cls=commands("esactl"), help="Control an ESA switch over P4Runtime.", no_args_is_help=True, add_completion=False
)
job_app = typer.Typer(help="Jobs in the switch.", no_args_is_help=True)
policy_app = typer.Typer(help="How a job's rows are scheduled.", no_args_is_help=True)
host_app = typer.Typer(help="Plain forwarding by MAC address.", no_args_is_help=True)
pools_app = typer.Typer(help="Which rows jobs have.", callback=pools.pools, invoke_without_command=True)
app.add_typer(job_app, name="job")
app.add_typer(policy_app, name="policy")
app.add_typer(pools_app, name="pools")
app.add_typer(host_app, name="host")


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
    log.begin()
    secure = tls or any((cacert, cert, key))
    context.obj = Options(
        address,
        device_id,
        _election_id(election_id),
        wait,
        Tls(cacert, cert, key) if secure else None,
        state or SavedJobs.default_path(),
    )


_COMMANDS: dict[typer.Typer, list[tuple[str, Callable[..., None]]]] = {
    app: [
        ("load", switch.load),
        ("reconcile", switch.reconcile),
        ("supervise", supervise.supervise),
        ("counters", counters.counters),
        ("occupancy", counters.occupancy),
        ("watch", counters.watch),
        ("registers", switch.registers),
        ("shell", switch.shell),
        ("cert", cert.cert),
    ],
    job_app: [("add", jobs.job_add), ("list", jobs.job_list), ("show", jobs.job_show), ("remove", jobs.job_remove)],
    policy_app: [("set", policies.policy_set), ("list", policies.policy_list)],
    pools_app: [("set", pools.pools_set)],
    host_app: [("add", hosts.host_add), ("list", hosts.host_list)],
}
for _app, _commands in _COMMANDS.items():
    for _name, _command in _commands:
        _app.command(_name)(_command)


def _election_id(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    numbers = text.split(",")
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        raise BadInput(f"election-id: '{text}' is not HIGH,LOW")
    return int(numbers[0]), int(numbers[1])


def main() -> None:
    """Run `esactl` and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run `esactl` with these arguments; returns its exit status."""
    return int(app(list(arguments), prog_name="esactl", standalone_mode=False))


if __name__ == "__main__":
    main()
