"""`esactl policy`: list policies, put a job under one."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from controller.commands.common import JobArgument, JsonOption, make_console, open_controller, print_json
from esa.entries.pools import rows_text
from esa.errors import BadInput
from esa.job import Pool
from esa.policy import POLICIES


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
    with open_controller(context) as controller:
        changed = controller.set_policy(job, policy, pool=rows, window=window or None)
        where = f", {rows_text(changed.pool)}" if changed.pool else ""
        print(f"{controller.name(changed)}: {changed.policy.name}{where}")


def policy_list(as_json: JsonOption = False) -> None:
    """List the policies there are."""
    fields = ("name", "pool", "preempt", "aging", "release", "emit")
    records = [
        {field: getattr(value := getattr(policy, field), "name", value) for field in fields}
        for policy in POLICIES.values()
    ]
    if as_json:
        return print_json(records)
    table = Table(*fields)
    for record in records:
        table.add_row(*(str(record[field]).lower().replace("_", " ") for field in fields))
    return make_console().print(table)


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
