"""Sums as messages, without a network: how many bytes who sends, and what has to happen one after the other."""

from __future__ import annotations


def sent_bytes(transport: str, ranks: int, octets: int, place: int) -> list[int]:
    """The messages that the rank at `place` sends for a sum of so many bytes, in order."""
    del transport  # there is one
    if ranks == 1:
        return []
    return [max(_chunk(octets, (place - step) % ranks, ranks), 1) for step in range(2 * (ranks - 1))]


def chain_bytes(transport: str, ranks: int, octets: int) -> list[int]:
    """Messages of which each can be sent once the one before has come, at least so long: no rank's sum comes before."""
    del transport
    return [max(octets // ranks, 1)] * (2 * (ranks - 1))


def _chunk(octets: int, number: int, of: int) -> int:
    return octets * (number + 1) // of - octets * number // of
