"""Virtual Ethernet pairs in a namespace of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.net.veth import Veth, can_make_veth


@pytest.fixture
def veth() -> Iterator[Veth]:
    if not can_make_veth():
        pytest.skip("needs root and iproute2: makes veth pairs in a network namespace")
    pair = Veth()
    try:
        yield pair
    finally:
        pair.close()
