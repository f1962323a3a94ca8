"""A rack of the command line for all tests, and jobs on it whose processes a test starts one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launcher.hands import Hands
from tests.launcher.rig import Up, bring_up
from tests.metrics.asking import free_ports


@pytest.fixture(scope="package")
def rack(root: None) -> Iterator[Up]:
    """A rack of four hosts that all tests use, one after the other."""
    up = bring_up(f"test-{os.getpid()}", 4, "--metrics", free_ports(2))
    yield up
    up.end()


@pytest.fixture
def hands(rack: Up, tmp_path: Path) -> Iterator[Callable[..., Hands]]:
    made: list[Hands] = []

    def make(policy: str, **settings: Any) -> Hands:
        made.append(Hands(rack, tmp_path, policy, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()
