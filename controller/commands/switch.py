"""`esactl load`, `reconcile`, `registers`, `shell`: the switch and its program."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from controller.commands.common import JsonOption, Options, open_controller, open_switch, print_json
from controller.job_files import read_job
from esa.errors import BadInput


def load(
    context: typer.Context,
    lanes: Annotated[int, typer.Option(help="Lanes per fragment: which build of the program.")] = 64,
) -> None:
    """Load the P4 program. Whatever the switch ran and held before is gone."""
    with open_controller(context) as controller:
        controller.load(lanes)
        print(f"loaded the {lanes}-lane program, {controller.switch.loaded.aggregators} rows")


def reconcile(
    context: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[JOB.json]...", help="All jobs that there shall be.")
    ] = None,
) -> None:
    """Delete entries that no job owns; with files, add and remove jobs until these are the switch's."""
    jobs = [read_job(file) for file in files] if files else None
    with open_controller(context) as controller:
        done = controller.reconcile(jobs)
    print("\n".join(done) or "nothing to do")


def registers(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A register array, as row_bitmap.", show_default=False)],
    index: Annotated[int, typer.Option(help="One cell; all but zeros by default.", show_default=False)] = -1,
    as_json: JsonOption = False,
) -> None:
    """Print a register array (the embedded switch; BMv2 does not read registers)."""
    with open_controller(context) as controller:
        values = controller.switch.read_registers(name, None if index == -1 else index)
    if as_json:
        return print_json(values)
    first = max(0, index)
    for cell, value in enumerate(values, first):
        if value or index != -1:
            print(f"{name}[{cell}] = {value} (0x{value:x})")
    return None


def shell(context: typer.Context) -> None:
    """Open p4runtime-shell on the switch."""
    options: Options = context.obj
    try:  # IPython takes half a second to import
        from p4runtime_sh import shell as p4runtime_shell
    except ModuleNotFoundError as error:
        raise BadInput(
            f"shell: {error.name} is not installed: pip install ipython && pip install --no-deps p4runtime-shell"
        ) from None
    with open_switch(options) as switch:
        _ = switch.loaded  # the shell needs a program for its names

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
