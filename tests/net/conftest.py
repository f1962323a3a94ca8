"""Virtual Ethernet pairs in a namespace of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.net.veth import Veth


@pytest.fixture
def veth(root: None) -> Iterator[Veth]:
    pair = Veth()
    try:
        yield pair
    finally:
        pair.close()
