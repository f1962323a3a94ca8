"""Workers and PSs as no plan asks for them: their seqs wrap in the middle, and they have little room.

with end_hosts(first_seq=2**32 - 16, outbox=8, held_resends=1):
    outcome = simulate(plan)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest

from esa.protocol import ServerState, server_state
from esa.protocol.of_job import server_of_job, worker_of_job
from esa.sim import Plan, build, jobs_on_hosts
from esa.sim.loop import OUT_PACKETS


@contextmanager
def end_hosts(first_seq: int = 0, outbox: int = OUT_PACKETS, held_resends: int | None = None) -> Iterator[None]:
    """first_seq: of every job; outbox: packets that one call of a state machine may send; held_resends: of a PS."""

    def server_room(plan: Plan, number: int, workers_per_rack: Sequence[int]) -> ServerState:
        job, lanes = plan.jobs[number], plan.lanes
        return server_state(
            job=1,
            epoch=0,
            workers_per_rack=workers_per_rack,
            window=job.window,
            max_span=job.reach,
            lanes=lanes,
            held_resends=held_resends,
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs_on_hosts, "worker_of_job", partial(worker_of_job, first_seq=first_seq))
        patch.setattr(jobs_on_hosts, "server_of_job", partial(server_of_job, held_resends=held_resends))
        patch.setattr(build, "server_room", server_room)
        patch.setattr(build, "OUT_PACKETS", outbox)
        yield
