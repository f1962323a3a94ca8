"""Rates are texts with their unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.specs.rate import MAX_BPS, parse_rate, rate_text


@pytest.mark.parametrize(
    ("text", "bps"),
    [
        ("25 Mb/s", 25e6),
        ("100 Gb/s", 100e9),
        ("2.5Gbps", 2.5e9),
        ("64 kbit/s", 64e3),
        ("9 b/s", 9.0),
        ("1e-1 Gb/s", 1e8),
    ],
)
def test_a_rate_has_a_unit(text: str, bps: float) -> None:
    assert parse_rate(text) == bps


@pytest.mark.parametrize(
    "value", [25, 25.0, "25", "25 MB/s", "25 mb/s", "-1 Mb/s", "0 Mb/s", "nan Mb/s", "11 Tb/s", True, None]
)
def test_what_is_no_rate_is_refused_with_what_is_allowed(value: object) -> None:
    with pytest.raises(ValueError, match='allowed: a text with its unit, as "25 Mb/s" or "100 Gb/s"'):
        parse_rate(value)


@given(st.floats(min_value=1e-3, max_value=MAX_BPS))
def test_the_text_of_a_rate_gives_it_again(bps: float) -> None:
    assert parse_rate(rate_text(bps)) == bps


def test_the_text_of_a_rate_is_short() -> None:
    assert [rate_text(bps) for bps in (25e6, 100e9, 2.5e9, 64e3)] == ["25 Mb/s", "100 Gb/s", "2.5 Gb/s", "64 kb/s"]
