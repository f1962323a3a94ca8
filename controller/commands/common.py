"""What the commands of `esactl` share: the global options, the switch that they name, how results are printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from controller.client import Switch
from controller.controller import Controller
from controller.tls import Tls

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


def open_switch(options: Options) -> Switch:
    return Switch.connect(
        options.address, options.device_id, election_id=options.election_id, tls=options.tls, wait_s=options.wait_s
    )


@contextmanager
def open_controller(context: typer.Context) -> Iterator[Controller]:
    options: Options = context.obj
    with open_switch(options) as switch:
        yield Controller(switch, options.state)


def make_console() -> Console:
    console = Console(highlight=False)
    # A file or pipe has no width: lines are then as long as they need to be.
    return console if console.is_terminal else Console(highlight=False, width=200)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))
