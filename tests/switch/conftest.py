"""A served device for a file's tests of the control plane; before each the program that the file calls SERVED anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from esa.switch.runtime.device import Device
from tests.switch.control import Client, config
from tests.switch.served import primary_client


@pytest.fixture(scope="module")
def module_served() -> Iterator[tuple[Client, Device]]:
    with primary_client(push=False) as pair:
        yield pair


@pytest.fixture
def served(module_served: tuple[Client, Device], request: pytest.FixtureRequest) -> tuple[Client, Device]:
    module_served[0].push(message=config(request.module.SERVED))
    return module_served
