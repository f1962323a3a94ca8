"""Mean JCT against loss on every link, both ways. What is lost is waited for, and others wait for it."""

from collections.abc import Mapping
from typing import Any

from experiments.studies.figures.lines import jct_against


def _vary(loss: float) -> Mapping[str, Any]:
    return {"faults": ({"link": "all", "loss": loss},)} if loss else {}


FIGURE = jct_against(
    "jct_loss",
    "Mean JCT against loss",
    "packets lost on every link, each way",
    lambda effort: effort.choose((0.0, 0.0001, 0.001, 0.01, 0.05), (0.0, 0.001, 0.01)),
    _vary,
    place_text=lambda loss: f"{100 * loss:g} %",
)
