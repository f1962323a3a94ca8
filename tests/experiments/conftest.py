"""A run needs root and Mininet."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
