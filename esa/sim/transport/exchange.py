"""Sums as messages between ranks, in virtual time: each rank takes its steps, as `steps.py` lays them out.

A message is sent on when it has come whole, and when the one before has left the host: a rank's messages do not share
its link. Sums follow one another, whatever their priority. Adding takes no time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native_uncounted as native

NONE = -1
MESSAGES = 4  # under way to a rank; one more waits for the first of them

EXCHANGE = np.dtype(
    [
        ("first_step", np.int64),
        ("steps", np.int64),
        ("parts", np.int64),  # that a sum is cut into
        ("octets", np.int64),  # of the sum in hand; 0: none
        ("at", np.int64),  # the step in hand; `steps`: the sum is there
        ("sent", np.int64),  # the message of that step is on its way
        ("flow", np.int64),  # that the last message went by, or NONE
    ]
)
STEP = np.dtype(
    [
        ("send", np.int64),  # to which place, later by which flow, or NONE
        ("receive", np.int64),
        ("first", np.int64),  # parts `first` to `end`, not included, are sent
        ("end", np.int64),
    ]
)


class Exchanges(NamedTuple):
    """Every rank's; make one with `new_exchanges`."""

    rank: npt.NDArray[np.void]  # (ranks,): EXCHANGE
    step: npt.NDArray[np.void]  # (steps,): STEP with flows, rank by rank
    come: npt.NDArray[np.int64]  # (flows,): messages that have come, and no step has taken: a sender may be ahead


def peers_of(steps: npt.NDArray[np.void]) -> list[int]:
    """The places that a rank sends to, each once: it has a flow to each, in that order."""
    return list(dict.fromkeys(steps["send"][steps["send"] != NONE].tolist()))


def new_exchanges(
    layouts: Sequence[Sequence[npt.NDArray[np.void]]], parts: Sequence[int], first_flow: Sequence[int], flows: int
) -> Exchanges:
    """Ranks that have no sum in hand.

    layouts: by job, its ranks' steps with places, empty ones where sums are not messages; parts: by job. first_flow: by
    rank of all jobs, the first of its flows to peers. flows: that there are.
    """
    rank = np.zeros(len(first_flow), EXCHANGE)
    rank["flow"] = NONE
    tables: list[npt.NDArray[np.void]] = [np.zeros(0, STEP)]
    w = done = 0
    for layout, of_sum in zip(layouts, parts, strict=True):
        flow = {
            (place, peer): first_flow[w + place] + k
            for place, steps in enumerate(layout)
            for k, peer in enumerate(peers_of(steps))
        }
        for place, steps in enumerate(layout):
            table = steps.copy()
            table["send"] = [NONE if peer == NONE else flow[place, peer] for peer in steps["send"].tolist()]
            table["receive"] = [NONE if peer == NONE else flow[peer, place] for peer in steps["receive"].tolist()]
            tables.append(table)
            rank[w]["first_step"], rank[w]["steps"], rank[w]["parts"] = done, len(steps), of_sum
            done += len(steps)
            w += 1
    return Exchanges(rank, np.concatenate(tables), np.zeros(flows, np.int64))


@native
def exchange_begin(exchanges: Exchanges, w: int, octets: int) -> None:
    """The gradients of the next sum are there, so many bytes; there is none in hand."""
    me = exchanges.rank[w]
    me["octets"] = octets
    me["at"] = me["sent"] = 0


@native
def exchange_step(exchanges: Exchanges, w: int) -> tuple[int, int]:
    """Take what has come; return the bytes of the next message to send, 0 if there is none now, and its flow.

    A message that is sent is told by `exchange_sent`.
    """
    me = exchanges.rank[w]
    while me["octets"] > 0 and me["at"] < me["steps"]:
        step = exchanges.step[me["first_step"] + me["at"]]
        if step["send"] != NONE and me["sent"] == 0:
            octets, parts = me["octets"], me["parts"]
            return int(max(octets * step["end"] // parts - octets * step["first"] // parts, 1)), int(step["send"])
        if step["receive"] != NONE:
            if exchanges.come[step["receive"]] == 0:
                break
            exchanges.come[step["receive"]] -= 1
        me["at"] += 1
        me["sent"] = 0
    return 0, NONE


@native
def exchange_sent(exchanges: Exchanges, w: int, flow: int) -> None:
    """The message that `exchange_step` asked for is on its way, by that flow."""
    exchanges.rank[w]["sent"] = 1
    exchanges.rank[w]["flow"] = flow


@native
def exchange_done(exchanges: Exchanges, w: int) -> int:
    """If the sum in hand has come, its bytes, once; otherwise 0."""
    me = exchanges.rank[w]
    octets = int(me["octets"])
    if octets == 0 or me["at"] < me["steps"]:
        return 0
    me["octets"] = 0
    return octets
