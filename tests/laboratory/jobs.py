"""Jobs and clusters for the laboratory, and what must hold whatever was decided."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from esa.cluster.inventory import Cluster, Host
from esa.cluster.kinds import Costs, Kind
from esa.laboratory import Iterations, Outcome, Submitted
from tests.cluster.clusters import NIC

SECOND = 10**9


def hosts(*gpus: int, placement: str = "consolidate") -> Cluster:
    return Cluster(tuple(Host(0, NIC, each) for each in gpus), 1000, placement=placement)


def job(name: str, submit_s: float, workers: int, seconds: int, elastic=None, **costs_s: float) -> Submitted:
    """Iterations of a second each on as many GPUs as it asks for; costs in seconds, checkpoint in iterations."""
    checkpoint = int(costs_s.pop("checkpoint", 0))
    costs = Costs(**{f"{key}_ns": round(value * SECOND) for key, value in costs_s.items()}, checkpoint=checkpoint)
    return Submitted(name, round(submit_s * SECOND), workers, Iterations(seconds), SECOND, Kind(costs=costs), elastic)


def ends_s(outcome: Outcome) -> list[float | None]:
    return [None if one.end_ns is None else one.end_ns / SECOND for one in outcome.jobs]


def check_books(cluster: Cluster, jobs: Sequence[Submitted], outcome: Outcome) -> None:
    """No GPU is two jobs' at a time; gangs are whole; GPU time adds up; everybody did what there was to do."""
    for at, spell in enumerate(outcome.spells):
        fewest, most = jobs[spell.job].elastic or (jobs[spell.job].workers, jobs[spell.job].workers)
        assert fewest <= len(set(spell.gpus)) == len(spell.gpus) <= most
        assert all(0 <= gpu.gpu < cluster.hosts[gpu.host].gpus for gpu in spell.gpus)
        for other in outcome.spells[:at]:
            if other.start_ns < spell.end_ns and spell.start_ns < other.end_ns:
                assert not set(other.gpus) & set(spell.gpus)
    for number, record in enumerate(outcome.jobs):
        mine = [spell for spell in outcome.spells if spell.job == number]
        assert record.held == sum((spell.end_ns - spell.start_ns) * len(spell.gpus) for spell in mine)
        assert record.start_ns is not None
        assert record.end_ns is not None
        assert record.submit_ns <= record.start_ns <= record.end_ns
        assert 0 <= record.delayed + record.lost <= record.held
        asked = jobs[number]
        work = Fraction(asked.work.iterations * asked.iteration_ns * asked.workers)
        slack = 8 * len(mine) * asked.workers + 1e-9 * work  # a nanosecond upwards for each spell, and rates as floats
        assert abs(record.held - record.delayed - record.lost - work) <= slack
    assert sum(outcome.by_level.values()) == outcome.held
