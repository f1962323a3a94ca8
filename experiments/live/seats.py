"""Which jobs of a live run have rows: all are on the switch from the start, so all are decided about at once."""

from __future__ import annotations

from esa.entries.admission import Applicant, admitted, gain
from esa.job import Pool
from esa.wire import packet_bytes
from experiments.specs.jobs import JobSpec
from experiments.specs.scenario import Scenario
from experiments.virtual.job_buckets import job_buckets

_LANE_BYTES = 4


def unseated(scenario: Scenario) -> frozenset[str]:
    """The jobs that get no rows: their workers sum by gloo, the same integers (`esa/torch/messages.py`)."""
    if scenario.network.delay_us:  # messages are not delayed as ESA's packets are; asked for, it is refused
        return frozenset()
    wanting = [
        Applicant(job.name, scenario.needs(job), gain(_demand(scenario, job), job.workers))
        for job in scenario.job_specs
        if scenario.needs(job)
    ]
    slices = sum(scenario.pools[job.name].size for job in scenario.job_specs if scenario.pool_kind(job) == "slice")
    return frozenset(one.name for one in wanting) - admitted(wanting, [], scenario.rows - slices)


def pools(scenario: Scenario) -> dict[str, Pool]:
    """The rows of each job that has some: those of the others are there for these."""
    return scenario.pools_without(unseated(scenario))


def _demand(scenario: Scenario, job: JobSpec) -> float:
    """The part of an iteration that it takes a job to send its gradients, of that and of what it computes."""
    parts = job_buckets(job, scenario.models)
    fragments = sum(-(-part.bytes // (_LANE_BYTES * scenario.lanes)) for part in parts)
    sending_ns = fragments * packet_bytes(scenario.lanes) * 8e9 / scenario.network.rate
    return sending_ns / (sending_ns + sum(part.forward_ns + part.backward_ns for part in parts))
