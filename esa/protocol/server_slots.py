"""Where a PS takes a fragment to be, and which row it gives the fragment's slot; `slots.py` says what slots are."""

from __future__ import annotations

from typing import Any

from esa.native import native_uncounted as native
from esa.protocol import packets as p
from esa.protocol.serial import on_wire
from esa.protocol.server_ring import EntryState, ServerState
from esa.protocol.slots import next_row_of, nth_row, row_of, slot_index


@native
def expected_index(state: ServerState, seq: int) -> int:
    """Return the index of a fragment of which no worker's packet has come: as its slot's last result said, if known.

    Should a guess be wrong, the switch has nothing there, and workers are asked.
    """
    server = state.server[0]
    slots = server["slots"]
    if slots == 0:
        return on_wire(on_wire(seq) * server["multiplier"] + server["salt"])
    before = state.entry[(seq - slots) & (len(state.entry) - 1)]
    if before["state"] == EntryState.DONE and before["seq"] == seq - slots:
        row = next_row_of(before["index"])
    else:
        row = nth_row(server, seq % slots)
    return slot_index(row, row)


@native
def choose_next_row(server: Any, entry: Any) -> None:
    """Give the slot of a finished fragment that collided the next row that none was in, as long as there is one."""
    if server["slots"] == 0:
        return
    row = next_row = row_of(entry["index"])
    if entry["flags"] & p.COLLISION and server["next_row"] < server["rows"]:
        next_row = nth_row(server, server["next_row"])
        server["next_row"] += server["servers"]  # those between are the other PSs'
    entry["index"] = slot_index(row, next_row)
