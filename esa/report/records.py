"""A run's folder: `summary.json` (`Summary`) and `records.jsonl`, one event a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from esa.errors import BadInput

SUMMARY = "summary.json"
RECORDS = "records.jsonl"
VIRTUAL = "virtual"  # the switch of a run in virtual time
_ONLY_IF_KNOWN = (
    "alone_runs",
    "counters_by_switch",
    "tiers",
    "useful_mean",
    "dropped",
    "packet_hops",
    "checked",
    "faults",
    "flows",
    "failures",
    "cluster",
    "serving",
    "gpu",
    "unseated",
    "incomplete",
)


class ReportError(BadInput):
    """A folder that holds no run; one line."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class JobSummary(_Strict):
    """One job. A figure is None where the run ended before it could be measured.

    jct_s:      from submission to the last worker's finish
    wait_s:     of that, in which it had no hosts
    bound_s:    the least that its computing and its own links need, whatever else happens
    alone_s:    its JCT where nobody else is on the same network; inflation: jct_s over it
    compute_s:  mean over the workers: the iterations less the time in which nothing was left to do but to wait
    comm_s:     mean over the workers: time in which at least one bucket was on its way
    final_loss, accuracy: of the final weights, on the held-out samples
    fragments:  sent for the first time, over all workers; resends: sent again
    via_ps:     of the fragments, those whose sum came from the PS, not straight from the switch
    marked:     of the fragments, those whose sum met a long queue; there only if something marks (network.ecn_packets)
    unseated:   rows were too few for it, and its workers summed by a ring; there only if that is so
    """

    name: str
    workers: int
    jct_s: float | None = None
    wait_s: float | None = None
    bound_s: float | None = None
    alone_s: float | None = None
    inflation: float | None = None
    iterations: int = 0
    compute_s: float | None = None
    comm_s: float | None = None
    final_loss: float | None = None
    accuracy: float | None = None
    fragments: int = 0
    resends: int = 0
    via_ps: int = 0
    marked: int | None = None
    unseated: bool | None = None


class FlowSummary(_Strict):
    """Traffic of no job. A figure is None where it has not begun, or does not apply.

    bytes:       of payload that arrived, each once
    seconds:     from its start until all had arrived, it was cut off or the run was over
    goodput_bps: bytes over seconds
    lost:        of a constant flow, packets missing below the newest that arrived
    resends:     of a TCP flow, packets sent again
    """

    name: str
    kind: str
    bytes: int = 0
    seconds: float | None = None
    goodput_bps: float | None = None
    lost: int | None = None
    resends: int | None = None

    @classmethod
    def of(
        cls, name: str, kind: str, octets: int, seconds: float, *, lost: int | None, resends: int | None
    ) -> FlowSummary:
        """One that has begun if `seconds` is above 0."""
        if seconds <= 0:
            return cls(name=name, kind=kind)
        goodput_bps = 8 * octets / seconds
        return cls(
            name=name, kind=kind, bytes=octets, seconds=seconds, goodput_bps=goodput_bps, lost=lost, resends=resends
        )


class TierSummary(_Strict):
    """What a job over several racks sent up, in packets that carry gradients or sums of them.

    from_workers: from workers to their racks' switches
    to_root:      from there to the root
    reduction:    from_workers over to_root; None where nothing was sent
    """

    from_workers: int
    to_root: int
    reduction: float | None

    @classmethod
    def of(cls, from_workers: int, to_root: int) -> TierSummary:
        reduction = from_workers / to_root if to_root else None
        return cls(from_workers=from_workers, to_root=to_root, reduction=reduction)


class FailureSummary(_Strict):
    """A switch, a PS or a host that died. Times are since the start; None: that did not come to pass.

    back_s:   it was there again; restored_s: and did its work: a switch had its tables, a PS listened, the jobs that a
              host had stopped trained again (of a host, live alone)
    stopped:  jobs that it stopped, and that had to go on from their last whole iteration
    """

    what: str
    name: str
    died_s: float | None = None
    back_s: float | None = None
    restored_s: float | None = None
    stopped: list[str] = []


class ClusterSummary(_Strict):
    """What `esa cluster` found besides; percentiles are interpolated linearly, waiting is until the first start.

    occupancy, goodput: parts of the GPU time from the first submission to the last end: that jobs had, and in which
                        something was done that lasted
    usage:              as occupancy, from the first submission to the last
    delayed_gpu_h:      starting, moving and rescaling; lost_gpu_h: done after a checkpoint, and done again
    lent_gpu_h:         lent by the inference side, used or not; given_back: hosts, reclaim_stops: jobs that were
                        stopped for it, collateral_gpus: theirs on other hosts
    fairness, worst_fairness: finish-time fairness, the mean and the largest: a job's JCT over what it would have been
                        with an equal share of the GPUs (esa/laboratory/fairness.py)
    by_level:           parts of the jobs' GPU time by the level of the answers that they ran by
    """

    gpus: int
    offered_load: float | None = None
    median_jct_s: float | None = None
    p95_jct_s: float | None = None
    p99_jct_s: float | None = None
    occupancy: float | None = None
    goodput: float | None = None
    usage: float | None = None
    fairness: float | None = None
    worst_fairness: float | None = None
    preemptions: int = 0
    rescales: int = 0
    moves: int = 0
    delayed_gpu_h: float = 0.0
    lost_gpu_h: float = 0.0
    lent_gpu_h: float = 0.0
    given_back: int = 0
    reclaim_stops: int = 0
    collateral_gpus: int = 0
    by_level: dict[str, float] = {}
    decisions: int = 0


class SpreadSummary(_Strict):
    """Seconds: the mean, percentiles, and the largest."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    most: float


class ServingSummary(_Strict):
    """What `esa serve` found; a spread is None where nothing came so far.

    ttft:              from a request's arrival to its first token; tbt: between tokens, over all of them
    latency_per_token: from arrival to the last token, over the output's tokens
    scheduling_delay:  from arrival to the first iteration; iteration: of a batch, from its first stage to its last
    busy:              part of the stages' time; batch_tokens: of an iteration, in the mean
    peak_memory:       part of the fullest replica's KV memory; restarts: of requests whose KV was dropped, offloads:
                       of KV to the host
    mfu:               model FLOPs over what the GPUs' peak makes of the run's time (Chowdhery et al., PaLM), without
                       embedding and output
    carrier:           how sums were made on a simulated network; layers: of a stage's that were simulated there, None:
                       all; beside: of jobs that trained there meanwhile, how long an iteration took
    """

    model: str
    gpu: str
    gpus: int
    requests: int
    finished: int
    ttft: SpreadSummary | None = None
    tbt: SpreadSummary | None = None
    latency_per_token: SpreadSummary | None = None
    scheduling_delay: SpreadSummary | None = None
    iteration: SpreadSummary | None = None
    tokens_per_s: float = 0.0
    requests_per_s: float = 0.0
    busy: float = 0.0
    batch_tokens: float = 0.0
    peak_memory: float = 0.0
    restarts: int = 0
    offloads: int = 0
    mfu: float | None = None
    carrier: str | None = None
    layers: int | None = None
    beside: dict[str, SpreadSummary | None] = {}


class GpuTaskSummary(_Strict):
    """A task of a GPU that is shared: how many requests and kernels ended, and how long it had the device.

    filled:  kernels that ran in predicted gaps of others, filled_s their time
    delay_s: sum over kernels of the time from when each could begin to when it did; worst_delay_s: the longest, but of
             the first ones after the task was away
    """

    name: str
    priority: int
    requests: int
    kernels: int
    busy_s: float
    filled: int
    filled_s: float
    delay_s: float
    worst_delay_s: float


class GpuSummary(_Strict):
    """What `esa gpu` found besides: the device's time, of which the tasks have what is left."""

    elapsed_s: float
    idle_s: float
    switch_s: float
    wasted_s: float
    tasks: list[GpuTaskSummary]


class Summary(_Strict):
    """A run. `switch_counters`: by job, by counter. `occupancy_mean`: part of the shared rows in use, 0..1.

    `tiers`, jobs over several racks, is there only if there are any; live, so is `counters_by_switch`: by switch, then
    as `switch_counters`, which is their sum.

    `faults` is there only if some were asked for: what was done to packets, by link, direction and kind; `flows` and
    `failures`, too; `cluster` is there if a cluster was run (switch "none", or the network's policy and rows),
    `serving` if requests to a language model were (jobs are those that trained on the same network),
    `gpu` if a GPU was shared: jobs are its tasks, with the mean JCT of their requests.
    `unseated`, how many jobs found no rows and were rings, is there only if there are any.
    `incomplete` is there only if the run did not end as it should, and says why. Means are over the jobs, and there if
    every job has the figure; `mean_per_bound`: of jct_s over bound_s.

    A run in virtual time has the switch "virtual", seconds of its own clock, and what only virtual time can tell:
    `alone_runs`: simulations that the JCTs alone took; `useful_mean`: part of the shared rows that waits for workers
    still; `dropped`: packets lost to full queues (live, where the switch's ports have queues);
    `packet_hops`: packets that reached the end of a link; `checked`: fragments' sums compared with the plain sum.
    """

    scenario: str
    policy: str
    switch: str
    topology: str
    seed: int
    jobs: list[JobSummary]
    mean_jct_s: float | None = None
    makespan_s: float | None = None
    mean_wait_s: float | None = None
    mean_bound_s: float | None = None
    mean_per_bound: float | None = None
    mean_inflation: float | None = None
    alone_runs: int | None = None
    switch_counters: dict[str, dict[str, int]] = {}
    counters_by_switch: dict[str, dict[str, dict[str, int]]] | None = None
    tiers: dict[str, TierSummary] | None = None
    occupancy_mean: float | None = None
    useful_mean: float | None = None
    dropped: int | None = None
    packet_hops: int | None = None
    checked: int | None = None
    faults: dict[str, dict[str, dict[str, int]]] | None = None
    flows: list[FlowSummary] | None = None
    failures: list[FailureSummary] | None = None
    cluster: ClusterSummary | None = None
    serving: ServingSummary | None = None
    gpu: GpuSummary | None = None
    unseated: int | None = None
    incomplete: str | None = None

    def with_means(self) -> Summary:
        """The same with the means over its jobs: JCT, waiting, bound, JCT over both bound and alone."""
        ratios = (job.jct_s / job.bound_s if job.jct_s is not None and job.bound_s else None for job in self.jobs)
        return self.model_copy(
            update={
                "mean_jct_s": _mean(job.jct_s for job in self.jobs),
                "mean_wait_s": _mean(job.wait_s for job in self.jobs),
                "mean_bound_s": _mean(job.bound_s for job in self.jobs),
                "mean_per_bound": _mean(ratios),
                "mean_inflation": _mean(job.inflation for job in self.jobs),
            }
        )

    def as_dict(self) -> dict[str, Any]:
        """What is written to disk: without the keys that are there only if they say something."""
        data = self.model_dump()
        data["jobs"] = [
            {key: value for key, value in job.items() if key not in ("marked", "unseated") or value is not None}
            for job in data["jobs"]
        ]
        return {key: value for key, value in data.items() if key not in _ONLY_IF_KNOWN or value is not None}

    def save(self, folder: Path) -> None:
        (folder / SUMMARY).write_text(json.dumps(self.as_dict(), indent=2) + "\n")

    def total(self, counter: str) -> int:
        """A switch counter over all jobs."""
        return sum(counters.get(counter, 0) for counters in self.switch_counters.values())


def _mean(values: Iterable[float | None]) -> float | None:
    """None where one of them is unknown."""
    known = list[float]()
    for value in values:
        if value is None:
            return None
        known.append(value)
    return sum(known) / len(known) if known else None


@dataclass(frozen=True)
class Run:
    """A run as read from its folder; `records` in the order of their arrival, times `t` since the run's start."""

    folder: Path
    summary: Summary
    records: list[dict[str, Any]]

    def of(self, event: str) -> list[dict[str, Any]]:
        """The records of one kind of event."""
        return [record for record in self.records if record.get("event") == event]


def load_run(folder: Path) -> Run:
    """Read a run's folder; ReportError says what is wrong with it."""
    try:
        summary = Summary.model_validate_json((folder / SUMMARY).read_text())
    except OSError as error:
        raise ReportError(f"{folder}: not the folder of a run: cannot read {SUMMARY}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ReportError(f"{folder / SUMMARY}: {key or 'file'}: {first['msg']}") from None
    records = []
    path = folder / RECORDS
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else (), start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            raise ReportError(f"{path}: line {number} is not JSON") from None
    return Run(folder, summary, records)
