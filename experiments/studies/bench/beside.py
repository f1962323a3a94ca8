"""Rows of the bench in which BMv2 stands beside, where it is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping

from experiments.studies.bench.row import Row, row
from topologies.p4switch import BMV2


def bmv2_is_there() -> bool:
    """Whether there is anything to stand beside."""
    return shutil.which(BMV2) is not None


def not_there() -> str:
    """What a row says in the place of its figures."""
    return f"BMv2: {BMV2} is not on the PATH"


def beside_bmv2(
    figures: Iterable[tuple[str, str, str]], own: Mapping[str, float], theirs: Mapping[str, float] | None
) -> Iterator[Row]:
    """A row for each (key, what it is, unit). theirs: None where BMv2 is not there, which the row says then."""
    for key, what, unit in figures:
        if theirs is None:
            yield row(what, unit, own[key], not_there())
        else:
            yield row(what, unit, own[key], "BMv2", theirs[key])
