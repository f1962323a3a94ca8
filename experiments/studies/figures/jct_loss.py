"""Mean JCT against loss on every link, both ways: where memory is scarce, and where every window has its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from esa.report.statistics import ratio_interval
from experiments.studies.figures.base import ROWS
from experiments.studies.figures.cells import Cells
from experiments.studies.figures.figure import Figure, ratio_text
from experiments.studies.figures.lines import jct_against

AMPLE_ROWS = 4096


def _against_loss(name: str, title: str, rows: int) -> Figure:
    def vary(loss: float) -> Mapping[str, Any]:
        return {"rows": rows} | ({"faults": ({"link": "all", "loss": loss},)} if loss else {})

    return jct_against(
        name,
        title,
        "packets lost on every link, each way",
        lambda effort: effort.choose((0.0, 0.0001, 0.001, 0.01, 0.05), (0.0, 0.001, 0.01)),
        vary,
        place_text=_percent,
        note=_note,
        claimed=True,
    )


def _percent(loss: float) -> str:
    return f"{100 * loss:g} %"


def _note(cells: Cells) -> Sequence[str]:
    none, *losses = cells.places("place")
    own = {loss: cells.values("jct_ms", place=loss, policy="esa") for loss in (none, *losses)}
    ratios = (f"{_percent(loss)}: {ratio_text(ratio_interval(own[loss], own[none]))}" for loss in losses)
    return [f"ESA, JCT / its own without loss: {', '.join(ratios)}."]


FIGURE = _against_loss("jct_loss", f"Mean JCT against loss, {ROWS} rows", ROWS)
AMPLE = _against_loss("jct_loss_ample", f"Mean JCT against loss, {AMPLE_ROWS} rows", AMPLE_ROWS)
