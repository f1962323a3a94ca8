"""Figures of a simulation: the time series, and each job's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from esa.policy import policy
from esa.program import program
from esa.sim.bound import lower_bound_ns
from esa.sim.engine.lines import NONE, queue_length
from esa.sim.fabric.wiring import Control
from esa.sim.jobs_on_hosts import JobsOnHosts
from esa.sim.loop import SimState
from esa.sim.plan import SERIES, JobOutcome, Plan, SimulatedJob
from esa.sim.ranks import marks_of, sums_come
from esa.sim.transport.steps import RING
from esa.switch.runtime.pipeline import Pipeline

_BITMAP = "EsaIngress.aggregation.row_bitmap"
_OWNER = "EsaIngress.aggregation.row_owner"
_JOB_SHIFT, _EPOCH_SHIFT, _EPOCH_MASK = np.uint64(48), np.uint64(32), np.uint64(0xFFFF)  # owner: job, epoch, seq


def rows_to_use(plan: Plan) -> int:
    """Rows of each switch that jobs may use."""
    pools = [job.pool for job in plan.jobs if job.sums_in_network and policy(job.policy).pool != "none"]
    shared = program(plan.lanes).aggregators if plan.rows is None else plan.rows
    return max((shared if pool is None else pool.base + pool.size for pool in pools), default=0)


class Sampler:
    """Writes the time series down, line by line."""

    def __init__(self, plan: Plan, control: Control, pipelines: list[Pipeline], lines: npt.NDArray[np.void]) -> None:
        self._pipelines = pipelines
        self._lines = np.flatnonzero(lines["from_switch"] != NONE)  # of the switches' ports
        self._used = range(rows_to_use(plan))  # of each switch
        self._rows = len(self._used) * len(pipelines)
        self._control = control
        self._series: list[tuple[float, int, int, int, int, float, int]] = []

    def sample(self, sim: SimState, now_ns: int, running: int) -> None:
        taken = useful = 0
        for which, pipeline in enumerate(self._pipelines):
            bitmap = pipeline.registers[_BITMAP].part(self._used).read_all()
            rows = np.flatnonzero(bitmap != 0)  # of booleans, which NumPy finds ten times as fast
            if len(rows):
                owner = pipeline.registers[_OWNER].part(self._used).read_all()[rows]
                jobs = (owner >> _JOB_SHIFT).astype(np.int64)
                taken += len(rows)
                waiting = bitmap[rows] != self._control.complete_bitmaps(which)[jobs]
                # Nobody waits for what an id's earlier run has left.
                newest = self._control.epochs[jobs] == owner >> _EPOCH_SHIFT & _EPOCH_MASK
                useful += int(np.count_nonzero(waiting & newest))
        busy = self._lines[sim.lines["depth"][self._lines] > 0]
        queues = [queue_length(sim.lines, sim.pool, int(number), now_ns) for number in busy]
        self._series.append(
            (
                now_ns / 1e9,
                taken,
                useful,
                int(sim.scalars["server_bytes"][0]),
                max(queues, default=0),
                sum(queues) / len(self._lines),
                running,
            )
        )

    def series(self) -> npt.NDArray[np.void]:
        return np.array(self._series, SERIES)

    @property
    def occupancy_mean(self) -> float:
        """Part of the rows that is taken, mean over the samples in which jobs ran."""
        return self._mean("taken")

    @property
    def useful_mean(self) -> float:
        return self._mean("useful")

    def _mean(self, name: str) -> float:
        series = self.series()
        busy = series[series["running"] > 0]
        return float(busy[name].mean() / self._rows) if len(busy) and self._rows else 0.0


def job_outcome(plan: Plan, sim: SimState, jobs: JobsOnHosts, number: int) -> JobOutcome:
    """One job's figures; see JobOutcome."""
    job, record = plan.jobs[number], sim.ranks.job[number]
    mine = range(int(record["first_rank"]), int(record["first_rank"] + record["ranks"]))
    ranks, counter = sim.ranks.rank[mine], sim.workers.state.counter[mine]
    start_ns, end_ns, hosts = jobs.start_ns[number], jobs.end_ns[number], jobs.hosts[number]
    unseated = jobs.seats.unseated(number)
    by = RING if unseated else None
    bound_ns = None if hosts is None else lower_bound_ns(plan, number, hosts[: job.workers], by)
    return JobOutcome(
        name=job.name,
        workers=job.workers,
        policy=job.policy,
        submit_s=job.submit_ns / 1e9,
        start_s=None if start_ns is None else start_ns / 1e9,
        hosts=hosts,
        wait_s=jobs.waited_ns(number, int(sim.scalars["now_ns"][0])) / 1e9,
        bound_s=None if bound_ns is None else bound_ns / 1e9,
        jct_s=None if end_ns is None else (end_ns - job.submit_ns) / 1e9,
        compute_s=float(ranks["compute_ns"].mean()) / 1e9,
        comm_s=float(ranks["comm_ns"].mean()) / 1e9,
        iterations=min(_iterations(sim, job, w) for w in mine),
        fragments=int(counter["fragments"].sum()),
        resends=int(counter["resends"].sum()) + jobs.resent_by_flows(sim, number),
        via_ps=int(counter["via_ps"].sum()),
        marked=int(counter["ecn"].sum()),
        failed=bool(record["failed"]),
        unseated=unseated,
    )


def _iterations(sim: SimState, job: SimulatedJob, w: int) -> int:
    """That worker w has finished."""
    if job.programs is not None:
        return len(marks_of(sim.ranks, w))
    return sums_come(sim.ranks, w) // sum(bucket.bytes > 0 for bucket in job.buckets)


def marks_ns(sim: SimState, number: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """By worker of a job: tag and time of each MARK that it has come to."""
    record = sim.ranks.job[number]
    mine = range(int(record["first_rank"]), int(record["first_rank"] + record["ranks"]))
    return tuple(tuple((int(tag), int(ns)) for tag, ns in marks_of(sim.ranks, w)) for w in mine)
