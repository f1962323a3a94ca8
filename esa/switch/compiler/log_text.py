"""Texts of log_msg: where their values go."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PLACE = re.compile(r"(?<!\\)\{.*?(?<!\\)\}")


def places(text: str) -> int:
    """How many values a text has places for."""
    return len(_PLACE.findall(text))


def fill(text: str, values: Sequence[int]) -> str:
    r"""The text with its `{}` replaced, in order, by `values`, one for each; `\{` and `\}` are braces."""
    rest = iter(values)
    return re.sub(r"\\([{}])", r"\1", _PLACE.sub(lambda _: str(next(rest)), text))
