"""A rack with each kind of switch."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["embedded", "bmv2"])
def switch_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)
