"""A job's knobs become the states of its workers and its PS: the one place, racks and policies included.

    worker = worker_of_job(run, rank=1)
    server = server_of_job(run, timers=Timers(rto_floor_ns=1_000_000))
    server_change_policy(server, **policy_settings(run.model_copy(update={"policy": "atp"})))

Sockets, virtual time and tests make their states here, so that none of them has rules of its own about a job. Nothing
in it is compiled, and no compiled module imports it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from esa.job import Job, Run
from esa.policy import policy
from esa.protocol.aggregator_window import least_window
from esa.protocol.congestion import initial_window, window_increase
from esa.protocol.server_ring import ServerState, server_state
from esa.protocol.timers import Timers
from esa.protocol.worker_ring import WorkerState, worker_state
from esa.wire import packet_bytes

_TIMERS = Timers()


def worker_of_job(
    job: Run, rank: int, timers: Timers = _TIMERS, *, first_seq: int = 0, frame_bytes: int | None = None
) -> WorkerState:
    """Worker `rank` of a run, which has sent nothing. ValueError: the job has no such rank.

    frame_bytes: of a packet on the wire, where it is more than the job's lanes make it.
    """
    senders = job.fan_in if policy(job.policy).pool == "none" else 1
    increase = window_increase(packet_bytes(job.lanes) if frame_bytes is None else frame_bytes, senders)
    return worker_state(**worker_settings(job, rank, timers), window_increase=increase, first_seq=first_seq)


def server_of_job(
    job: Run, timers: Timers = _TIMERS, *, number: int = 0, held_resends: int | None = None
) -> ServerState:
    """The PS of a run, of several the one with this number, which has heard nothing.

    held_resends: as in `server_state`. IndexError: the job has no such PS.
    """
    if not 0 <= number < len(job.servers):
        raise IndexError(f"number: job {job.name} has PSs 0..{len(job.servers) - 1}")
    return server_state(**server_settings(job, timers), number=number, held_resends=held_resends)


def worker_settings(job: Run, rank: int, timers: Timers = _TIMERS) -> dict[str, Any]:
    """What `worker_state` is called with. Ranks count over all racks."""
    rack, bit = job.place(rank)
    return {
        **_both(job),
        "span": job.reach,
        "slots": _slots(job),
        "chain": job.chain,
        "rank": bit,
        "rack": rack,
        "workers": job.fan_in,
        "timers": timers,
        "congestion": job.congestion,
        "least_window": _least_window(job),
        "passes_rows": policy(job.policy).passes_rows,
        "initial_window": initial_window(job.congestion, job.window, job.fan_in),
    }


def server_settings(job: Run, timers: Timers = _TIMERS) -> dict[str, Any]:
    """What `server_state` is called with. The PS's members are the workers, by rank, then the job's switches."""
    return {**_both(job), "workers_per_rack": job.workers_per_rack, **policy_settings(job, timers)}


def policy_settings(job: Job, timers: Timers = _TIMERS) -> dict[str, Any]:
    """What `server_change_policy` is called with: what a PS does differently under the job's policy."""
    return {
        "switches": len(job.switches),
        "unicast": not job.switches,
        "release_on_ack": policy(job.policy).releases_on_ack,
        "asks_peer": policy(job.policy).asks_peer,
        "resends_first": policy(job.policy).resends_first,
        "passes_rows": policy(job.policy).passes_rows,
        "slots": _slots(job),
        "rows": job.pool.size,
        "timers": timers if job.switches else _unhurried(timers),
    }


def _least_window(job: Job) -> int:
    if job.least_window is not None:
        return job.least_window
    if policy(job.policy).passes_rows:
        return 1
    return least_window(job.window) if policy(job.policy).yields else job.window


def _slots(job: Job) -> int:
    return job.reach if policy(job.policy).rows == "slot" else 0


def _both(job: Run) -> dict[str, Any]:
    return {
        "job": job.job,
        "epoch": job.epoch,
        "servers": len(job.servers),
        "window": job.window,
        "max_span": job.max_reach,
        "lanes": job.lanes,
        "give_up_s": job.give_up_s,
        "wait_limit_s": job.wait_limit_s,
    }


def _unhurried(timers: Timers) -> Timers:
    """No switch holds a row for an incomplete fragment, and workers resend by themselves: nothing is urgent."""
    return replace(
        timers,
        patience_initial_ns=max(timers.patience_initial_ns, timers.unhurried_initial_ns),
        patience_floor_ns=max(timers.patience_floor_ns, timers.unhurried_floor_ns),
        patience_ceiling_ns=max(timers.patience_ceiling_ns, timers.unhurried_floor_ns),
    )
