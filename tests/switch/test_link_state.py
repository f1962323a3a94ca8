"""Ports whose link goes down, as the kernel tells it."""

from __future__ import annotations

import queue

from esa.switch.process.link_state import LinkWatch
from tests.net.veth import Veth


def test_links_that_go_down_and_come_back(root: None) -> None:
    veth = Veth(3)
    news: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()

    try:
        veth.ip("link", "set", "a2", "down")
        with veth.entered():
            watch = LinkWatch({7: "b0", 1: "b1", 2: "b2"}, lambda port, up: news.put((port, up)))
        with watch:
            assert news.get(timeout=5) == (2, False)  # as it was found: its peer is down
            veth.ip("link", "set", "b0", "down")
            assert news.get(timeout=5) == (7, False)
            veth.ip("link", "set", "a2", "up")
            assert news.get(timeout=5) == (2, True)
            veth.ip("link", "set", "b0", "up")
            assert news.get(timeout=5) == (7, True)
            veth.ip("link", "del", "b1")
            assert news.get(timeout=5) == (1, False)
        assert news.empty()
    finally:
        veth.close()
