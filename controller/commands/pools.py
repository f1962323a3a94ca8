"""`esactl pools`: which rows each job has, which it should have, and moving it there while it runs."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import ValidationError
from rich.table import Table

from controller.commands.common import JobArgument, JsonOption, make_console, open_controller, print_json
from controller.placing import Place, measured_demands, move, places, re_place_jobs
from esa.entries.pools import rows_text
from esa.errors import BadInput
from esa.job import Pool


def pools(
    context: typer.Context,
    apply: Annotated[bool, typer.Option("--apply", help="Move the jobs that should have other rows.")] = False,
    over: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="Measure for so long what jobs send, in place of their files' demand."
        ),
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Print each job's rows, and what placing all of them anew would change."""
    if context.invoked_subcommand is not None:
        return None
    with open_controller(context) as controller:
        demands = measured_demands(controller, over) if over else None
        found = re_place_jobs(controller, demands) if apply else places(controller, demands)
        total = controller.switch.loaded.aggregators
    if as_json:
        return print_json({"rows": total, "moved" if apply else "jobs": [_record(place) for place in found]})
    if apply:
        for place in found:
            print(f"{place.name}: {rows_text(place.pool)} -> {rows_text(place.wanted)}")
        return None if found else print("nothing to do")
    table = Table("job", "policy", "pool", "rows", "size", "in use", "demand", "should be")
    for place in found:
        table.add_row(
            place.name,
            place.job.policy.name,
            place.job.policy.pool,
            rows_text(place.pool).removeprefix("rows "),
            str(place.pool.size),
            str(place.in_use),
            f"{place.demand:.2f}",
            rows_text(place.wanted).removeprefix("rows ") if place.moves else "",
        )
    console = make_console()
    console.print(table)
    console.print(f"{total} rows")
    return None


def pools_set(
    context: typer.Context,
    job: JobArgument,
    base: Annotated[int, typer.Argument(min=0, metavar="BASE", help="The first row.", show_default=False)],
    size: Annotated[int, typer.Argument(min=1, metavar="SIZE", help="How many, a power of two.", show_default=False)],
) -> None:
    """Give a job other rows while it runs."""
    try:
        pool = Pool(base=base, size=size)
    except ValidationError:
        raise BadInput(f"pool: size {size} is not a power of two") from None
    with open_controller(context) as controller:
        moved = move(controller, job, pool)
        print(f"{controller.name(moved)}: {rows_text(pool)}")


def _record(place: Place) -> dict[str, object]:
    return {
        "name": place.name,
        "job": place.job.job,
        "policy": place.job.policy.name,
        "kind": place.job.policy.pool,
        "pool": place.pool.model_dump(),
        "wanted": place.wanted.model_dump(),
        "in_use": place.in_use,
        "demand": place.demand,
    }
