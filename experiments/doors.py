"""What looks at this machine, and opens what is here to others' tools, as commands: `esa doctor|wireshark|grafana`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from esa.errors import BadInput
from esa.exits import commands

app = typer.Typer(cls=commands("esa"), no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.command("doctor")
def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    only_wrong: Annotated[bool, typer.Option("--wrong", help="only what live runs need and do not have")] = False,
) -> None:
    """Say of what live runs need of this machine whether it is right, and the command that mends what is not.

    A line per check: ok, wrong or missing. The exit status is 1 if something that is needed is not ok.
    """
    from topologies.doctor import examine
    from topologies.doctor.finding import short

    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json and not only_wrong:
            typer.echo(finding.line)
    if as_json:
        typer.echo(json.dumps([finding.record() for finding in findings if finding.bad or not only_wrong], indent=2))
    elif only_wrong:
        for line in short(findings):
            typer.echo(line)
    if any(finding.bad for finding in findings):
        raise typer.Exit(1)


@app.command("wireshark")
def wireshark_command(
    install: Annotated[bool, typer.Option("--install", help="write it where Wireshark looks for it")] = False,
    folder: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="with --install: where, by default for this user")
    ] = None,
) -> None:
    """Print a dissector of ESA packets for Wireshark and tshark, in Lua, or install it."""
    from esa import wireshark

    if folder is not None and not install:
        raise BadInput("to: is where --install writes; allowed: with --install")
    if not install:
        typer.echo(wireshark.dissector(), nl=False)
        return
    try:
        path = wireshark.install(folder)
    except OSError as error:
        raise BadInput(f"install: cannot write {error.filename}: {error.strerror}") from None
    typer.echo(f"wrote {path}: Wireshark and tshark know ESA packets from their next start")


@app.command("grafana")
def grafana_command() -> None:
    """Print a dashboard of all metrics as JSON, for Grafana to import."""
    from experiments.grafana import dashboard

    typer.echo(json.dumps(dashboard(), indent=2))
