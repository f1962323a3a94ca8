"""What looks at this machine, and opens what is here to others' tools, as commands: `esa doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

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
