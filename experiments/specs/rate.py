"""The rate of a link: a text with its unit in a scenario, bits per second in the program.

    >>> parse_rate("25 Mb/s"), rate_text(100e9)
    (25000000.0, '100 Gb/s')

Links of a rack on one machine have some Mb/s, those of a data centre 100 Gb/s: a number in one unit for both would be
misread by three digits.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

MAX_BPS = 10e12
_UNITS = {"T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "": 1.0}
_TEXT = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?) ?([TGMk]?)(?:b/s|bit/s|bps)")


def parse_rate(value: Any) -> float:
    """Bits per second of a text such as "25 Mb/s"; ValueError says what is allowed."""
    found = _TEXT.fullmatch(value) if isinstance(value, str) else None
    bps = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < bps <= MAX_BPS:
        allowed = f'a text with its unit, as "25 Mb/s" or "100 Gb/s", above 0 and at most {rate_text(MAX_BPS)}'
        raise ValueError(f"{value!r}; allowed: {allowed}")
    return bps


def rate_text(bps: float) -> str:
    """The shortest text that `parse_rate` makes the same number of."""
    texts = (f"{_number(bps / factor)} {unit}b/s" for unit, factor in _UNITS.items() if bps >= factor)
    return next((text for text in texts if _exact(text, bps)), f"{_number(bps)} b/s")


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def _exact(text: str, bps: float) -> bool:
    found = _TEXT.fullmatch(text)
    return found is not None and float(found[1]) * _UNITS[found[2]] == bps


Rate = Annotated[
    float,
    BeforeValidator(parse_rate),
    PlainSerializer(rate_text, return_type=str, when_used="json"),
    Field(json_schema_extra={"kind": "rate"}),
]
