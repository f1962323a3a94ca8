"""Commands for the queues of egress ports: rates and depths."""

from __future__ import annotations

from collections.abc import Sequence

from esa.switch.cli.registry import command
from esa.switch.cli.session import Prepared, Session
from esa.switch.cli.values import integer
from esa.switch.runtime.queue_settings import MAX_DEPTH, MAX_PRIORITIES, MAX_RATE

_MAX_PORT = 511


def _queue(words: Sequence[str]) -> dict[str, int]:
    """The port and the priority that follow a number, if they do."""
    limits = (("port", "egress_port", _MAX_PORT), ("priority", "priority", MAX_PRIORITIES - 1))
    return {name: integer(word, what, 0, high) for word, (name, what, high) in zip(words, limits, strict=False)}


@command("set_queue_depth <nb_pkts> [<egress_port> [<priority>]]", 1, 3)
def _depth(session: Session, words: Sequence[str]) -> Prepared:
    depth, queue = integer(words[0], "nb_pkts", 1, MAX_DEPTH), _queue(words[1:])
    return lambda: session.client.set_queue(depth=depth, **queue)


@command("set_queue_rate <rate_pps> [<egress_port> [<priority>]]", 1, 3)
def _rate(session: Session, words: Sequence[str]) -> Prepared:
    rate_pps, queue = integer(words[0], "rate_pps", 0, int(MAX_RATE)), _queue(words[1:])
    return lambda: session.client.set_queue(rate_pps=rate_pps, **queue)
