"""A controller on each kind of switch, freshly loaded for each test; the processes live as long as the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller import Controller, Switch
from tests.switches import KINDS, SwitchProcess, running_switch


@pytest.fixture(scope="session", params=KINDS)
def process(request: pytest.FixtureRequest) -> Iterator[SwitchProcess]:
    with running_switch(request.param) as process:
        yield process


@pytest.fixture
def switch(process: SwitchProcess) -> Iterator[Switch]:
    """A switch without a program, or with what the test before left in it."""
    with Switch.connect(process.address, process.device_id) as switch:
        yield switch


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return tmp_path / "jobs.json"


@pytest.fixture
def controller(switch: Switch, saved: Path) -> Controller:
    controller = Controller(switch, saved)
    controller.load(64)
    return controller
