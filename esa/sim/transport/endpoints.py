"""The end hosts' state machines side by side: every worker and every PS of a simulation in one set of arrays.

`worker(workers, w)` is the state of worker w as `esa.protocol` wants it: views, nothing is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from esa.native import native_inlined as native
from esa.protocol import UNKNOWN_SENDER, ServerState, WorkerState
from esa.wire import ENCAPSULATION_BYTES

_BY_RACK = ("aggregated_bitmap", "held_resend_bitmap", "requester_bitmap", "not_ready_bitmap")  # a column per rack


class Workers(NamedTuple):
    """Worker states end to end; make one with `join_workers`."""

    state: WorkerState
    rows: npt.NDArray[np.int64]  # (workers + 1,): worker w has rows rows[w] .. rows[w + 1]
    template: npt.NDArray[np.uint8]  # (templates, 42): Ethernet, IPv4 and UDP of what it sends to each PS of its job
    templates: npt.NDArray[np.int64]  # (workers + 1,)
    stays: npt.NDArray[np.bool_]  # (templates,): what it sends there does not leave the host


class Servers(NamedTuple):
    """PS states end to end; make one with `join_servers`."""

    state: ServerState
    rows: npt.NDArray[np.int64]  # (servers + 1,)
    held_resends: npt.NDArray[np.int64]
    first_rack: npt.NDArray[np.int64]  # (servers + 1,): room for as many racks as the job may have
    racks: npt.NDArray[np.int64]  # (servers,): how many it has
    members: npt.NDArray[np.int64]  # (servers + 1,): workers
    items: npt.NDArray[np.int64]  # (servers + 1,): places in the outbox
    template: npt.NDArray[np.uint8]  # (templates, 42): for each PS the members in order, workers and switches
    templates: npt.NDArray[np.int64]  # (servers + 1,)
    stays: npt.NDArray[np.bool_]  # (templates,): as a worker's
    job: npt.NDArray[np.int64]  # (servers,)
    member_at: npt.NDArray[np.int32]  # (servers, nodes): which member a place or switch is, or UNKNOWN_SENDER


def _bounds(arrays: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.int64]:
    return np.cumsum([0, *(len(array) for array in arrays)], dtype=np.int64)


def join_workers(states: Sequence[WorkerState], servers: Sequence[int]) -> Workers:
    """Room for such states; `put_worker` puts one in its place. servers: by worker, PSs of its job."""
    templates = np.cumsum([0, *servers], dtype=np.int64)
    return Workers(
        state=WorkerState(*(np.concatenate(arrays) for arrays in zip(*states, strict=True))),
        rows=_bounds([state.fragment for state in states]),
        template=np.zeros((templates[-1], ENCAPSULATION_BYTES), np.uint8),
        templates=templates,
        stays=np.zeros(templates[-1], np.bool_),
    )


def put_worker(workers: Workers, w: int, state: WorkerState, templates: Sequence[bytes], stay: bool) -> None:
    """Worker w is in this state, which is as large as the one that there was room made for.

    stay: what it sends to its own host need not leave it.
    """
    for mine, given in zip(worker.py_func(workers, w), state, strict=True):  # type: ignore[attr-defined]
        mine[:] = given
    for t, template in enumerate(templates, start=int(workers.templates[w])):
        workers.template[t] = np.frombuffer(template, np.uint8)
        workers.stays[t] = stay and _is_to_itself(template)


def _is_to_itself(template: bytes) -> bool:
    """Whether the frame is for the host that it is from."""
    return template[:6] == template[6:12]


def join_servers(states: Sequence[ServerState], jobs: Sequence[int], switches: int, nodes: int) -> Servers:
    """Room for such states. jobs: by PS; switches: the most that a PS has as members; nodes: places and switches."""
    racks = max(len(state.rack) for state in states)

    def joined(name: str) -> Any:
        arrays = [getattr(state, name) for state in states]
        if name in _BY_RACK:  # a PS looks at as many columns as it has racks
            arrays = [np.pad(array, ((0, 0), (0, racks - array.shape[1]))) for array in arrays]
        return np.concatenate(arrays)

    templates = np.cumsum([0, *(len(state.member) + switches for state in states)], dtype=np.int64)
    return Servers(
        state=ServerState(*(joined(name) for name in ServerState._fields)),
        rows=_bounds([state.entry for state in states]),
        held_resends=_bounds([state.held_resend for state in states]),
        first_rack=_bounds([state.rack for state in states]),
        racks=np.array([len(state.rack) for state in states]),
        members=_bounds([state.member for state in states]),
        items=_bounds([state.outbox for state in states]),
        template=np.zeros((templates[-1], ENCAPSULATION_BYTES), np.uint8),
        templates=templates,
        stays=np.zeros(templates[-1], np.bool_),
        job=np.array(jobs, np.int64),
        member_at=np.full((len(states), nodes), UNKNOWN_SENDER, np.int32),
    )


def put_server(
    servers: Servers, k: int, state: ServerState, templates: Sequence[bytes], members: Sequence[int], stay: bool
) -> None:
    """PS k is in this state, which has no more racks than there was room made for. members: their nodes, in order.

    stay: as in `put_worker`.
    """
    servers.racks[k] = len(state.rack)
    views = server.py_func(servers, k)  # type: ignore[attr-defined]
    for name, mine, given in zip(ServerState._fields, views, state, strict=True):
        if name in _BY_RACK:
            mine[:, : given.shape[1]] = given
        else:
            mine[:] = given
    for t, template in enumerate(templates, start=int(servers.templates[k])):
        servers.template[t] = np.frombuffer(template, np.uint8)
        servers.stays[t] = stay and _is_to_itself(template)
    servers.member_at[k] = UNKNOWN_SENDER
    servers.member_at[k, list(members)] = range(len(members))


@native
def worker(workers: Workers, w: int) -> WorkerState:
    """The state of one worker."""
    s = workers.state
    a, b = workers.rows[w], workers.rows[w + 1]
    return WorkerState(s.worker[w : w + 1], s.fragment[a:b], s.lane[a:b], s.query_queue[a:b], s.skipped_queue[a:b],
                       s.bypass_seq[a:b], s.counter[w : w + 1])  # fmt: skip


@native
def server(servers: Servers, k: int) -> ServerState:
    """The state of one PS."""
    s = servers.state
    a, b = servers.rows[k], servers.rows[k + 1]
    held, held_end = servers.held_resends[k], servers.held_resends[k + 1]
    rack = servers.first_rack[k]
    return ServerState(
        s.server[k : k + 1],
        s.entry[a:b],
        s.lane[a:b],
        s.aggregated_bitmap[a:b],
        s.held_resend_bitmap[a:b],
        s.requester_bitmap[a:b],
        s.not_ready_bitmap[a:b],
        s.open_slots[a:b],
        s.held_resend[held:held_end],
        s.held_resend_lane[held:held_end],
        s.rack[rack : rack + servers.racks[k]],
        s.member[servers.members[k] : servers.members[k + 1]],
        s.outbox[servers.items[k] : servers.items[k + 1]],
        s.counter[k : k + 1],
    )
