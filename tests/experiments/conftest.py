"""For all tests of experiments."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.experiments.started import end_all


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    yield
    end_all()
