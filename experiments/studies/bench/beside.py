"""Rows of the bench in which BMv2 stands beside, where it is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from topologies.p4switch import BMV2


def bmv2_is_there() -> bool:
    """Whether there is anything to stand beside."""
    return shutil.which(BMV2) is not None


def beside_bmv2(
    figures: Iterable[tuple[str, str, str]], own: Mapping[str, float], theirs: Mapping[str, float] | None
) -> Iterator[dict[str, Any]]:
    """A row for each (key, what it is, unit). theirs: None where BMv2 is not there, which the row says then."""
    for key, what, unit in figures:
        row: dict[str, Any] = {"what": what, "figure": own[key], "unit": unit}
        if theirs is None:
            yield row | {"other": f"BMv2: {BMV2} is not on the PATH"}
        else:
            yield row | {"other": "BMv2", "other_figure": theirs[key]}
