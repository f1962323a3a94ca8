"""The ring all-reduce: sums as messages from each rank to the next, as gloo and NCCL make them.

A sum is cut into as many chunks as there are ranks. In each of 2 (p - 1) steps a rank sends one chunk to the next rank
and receives one from the rank before: in the first p - 1 steps it adds its own gradients to what came and passes that
on, in the others what came is a finished sum. So each link carries 2 (p - 1) / p of the bytes each way, however many
ranks there are. (Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms, JPDC 69, 2009.)

A chunk is sent on when it has come whole. Sums follow one another, whatever their priority. Adding takes no time here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from esa.native import native_uncounted as native

MESSAGES = 4  # under way to the next rank; one more step waits for the first of them

RING = np.dtype(
    [
        ("ranks", np.int64),
        ("place", np.int64),
        ("octets", np.int64),  # of the sum in hand; 0: none
        ("sent", np.int64),  # steps of it, begun
        ("received", np.int64),  # steps of it, over
        ("waiting", np.int64),  # messages that have come, and are not received yet: the rank before may be ahead
    ]
)


def new_rings(sizes: list[int]) -> npt.NDArray[np.void]:
    """(ranks,) RING, all rings one after the other."""
    rings = np.zeros(sum(sizes), RING)
    rings["ranks"] = np.repeat(sizes, sizes)
    rings["place"] = [place for size in sizes for place in range(size)]
    return rings


@native
def ring_begin(rings: npt.NDArray[np.void], w: int, octets: int) -> None:
    """The gradients of the next sum are there, so many bytes; there is none in hand."""
    me = rings[w]
    me["octets"] = octets
    me["sent"] = me["received"] = 0


@native
def ring_step(rings: npt.NDArray[np.void], w: int) -> int:
    """Receive what has come; return the bytes of the next message to send, or 0: there is none now.

    A message that is sent is told by `ring_sent`.
    """
    me = rings[w]
    steps = 2 * (me["ranks"] - 1)
    if me["octets"] == 0:
        return 0
    # A step is over when its message has been sent and one has come.
    while me["waiting"] > 0 and me["received"] < me["sent"]:
        me["waiting"] -= 1
        me["received"] += 1
    if me["sent"] == steps or me["sent"] > me["received"]:
        return 0
    chunk = (me["place"] - me["sent"]) % me["ranks"]
    first = me["octets"] * chunk // me["ranks"]
    return int(max(me["octets"] * (chunk + 1) // me["ranks"] - first, 1))


@native
def ring_sent(rings: npt.NDArray[np.void], w: int) -> None:
    """The message that `ring_step` asked for is on its way."""
    rings[w]["sent"] += 1


@native
def ring_done(rings: npt.NDArray[np.void], w: int) -> int:
    """If the sum in hand has come, its bytes, once; otherwise 0."""
    me = rings[w]
    octets = int(me["octets"])
    if octets == 0 or me["received"] < 2 * (me["ranks"] - 1):
        return 0
    me["octets"] = 0
    return octets
