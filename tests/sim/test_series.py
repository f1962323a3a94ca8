"""The time series: which rows are taken and which of these wait for somebody; traffic of PSs; queues; running jobs."""

from __future__ import annotations

import numpy as np
import pytest

from esa.policy import POLICIES, Release
from esa.sim import Fabric, Outcome, SimulatedJob, simulate
from tests.sim.plans import WIRE_BYTES, bad_links, bucket, fragments, job, leaf_spine, ns, plan, rack
from tests.sim.tap import final_state

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

SAMPLE_NS = 500


def jobs_of(*names: str, **given) -> list[SimulatedJob]:
    """Their workers drift apart, so that rows wait for somebody."""
    common = {
        "workers": 3,
        "iterations": 3,
        "buckets": [bucket(60, 2_000, 2_000)],
        "jitter": 0.5,
        "window": 16,
        **given,
    }
    return [job(f"job-{n}", name, first_row=64 * (n + 1), priority=100 + n, **common) for n, name in enumerate(names)]


def run(*jobs: SimulatedJob, fabric: Fabric | None = None) -> Outcome:
    outcome = simulate(plan(*jobs, fabric=fabric or rack(8), sample_ns=SAMPLE_NS))
    assert outcome.incomplete is None
    return outcome


@pytest.mark.parametrize("name", POLICIES)
def test_taken_rows_are_as_many_as_useful_ones_or_more(name: str) -> None:
    jobs = jobs_of(name, name)
    outcome = run(*jobs)
    series = outcome.series
    assert (series["taken"] >= series["useful"]).all()
    assert series["taken"].any() == series["useful"].any() == (name != "ps")
    held = POLICIES[name].releases_on_ack or POLICIES[name].release == Release.ON_REUSE
    assert (series["taken"] > series["useful"]).any() == (held and name != "ps")
    rows = max(asked.pool.base + asked.pool.size for asked in jobs)
    assert series["taken"].max() <= rows
    mean = series["taken"][series["running"] > 0].mean()
    assert outcome.occupancy_mean == pytest.approx(mean / rows)
    assert outcome.useful_mean <= outcome.occupancy_mean <= 1.0


def test_atp_holds_rows_longer_than_esa() -> None:
    """The same jobs, alone on the switch: a row of ATP is held for a round trip to the PS more."""
    taken = {name: run(*jobs_of(name)).series["taken"].mean() for name in ("esa", "atp")}
    assert taken["atp"] > 1.5 * taken["esa"] > 0


def test_switchml_keeps_sums_that_nobody_waits_for() -> None:
    series = run(*jobs_of("switchml")).series
    middle = series[len(series) // 2]
    assert middle["useful"] < middle["taken"] == 32  # its whole slice, two windows


def test_rows_of_a_root_count_too() -> None:
    fabric = leaf_spine((3, 3, 2))
    spread = {"hosts": (0, 1, 3, 6), "workers": 3}
    outcome = run(*jobs_of("switchml", **spread), fabric=fabric)
    # The slice's 32 rows are taken in each rack that has workers, and at the root; their sums are complete in the end.
    assert outcome.series["taken"][-1] == 3 * 32
    assert outcome.series["useful"][-1] == 0
    mean = outcome.series["taken"][outcome.series["running"] > 0].mean()
    assert outcome.occupancy_mean == pytest.approx(mean / (4 * 96))  # four switches, rows 64 .. 95 are the slice


def test_bytes_of_servers_are_those_of_their_packets() -> None:
    outcome = run(*jobs_of("ps"))
    assert outcome.series["ps_bytes"][-1] == 2 * WIRE_BYTES * 3 * 3 * 60  # every gradient, and a result for each
    assert run(*jobs_of("esa")).series["ps_bytes"][-1] == 0
    # ATP: a sum in, a result out, which the switch multiplies.
    assert run(*jobs_of("atp")).series["ps_bytes"][-1] == 2 * WIRE_BYTES * 3 * 60
    assert (np.diff(outcome.series["ps_bytes"]) >= 0).all()


def test_lines_are_as_far_apart_as_asked_and_the_last_is_the_end() -> None:
    outcome = run(*jobs_of("esa"))
    times = np.round(outcome.series["t_s"] * 1e9).astype(int)
    assert (times[:-1] == SAMPLE_NS * np.arange(len(times) - 1)).all()
    assert times[-1] == ns(outcome.end_s)
    assert outcome.series["running"].tolist() == [1] * (len(times) - 1) + [0]


def test_queues_are_those_of_switches() -> None:
    series = run(*jobs_of("ps", workers=5)).series
    assert series["queue_max"].max() > 10
    assert (series["queue_mean"] <= series["queue_max"]).all()
    assert series["queue_mean"].max() < series["queue_max"].max() / 4  # of eight ports one is busy


def test_counts_fit_together() -> None:
    """Fragments, hops, resends: counted at both ends."""
    jobs = [job("one", workers=3), job("other", "atp", workers=2)]
    outcome, sim = final_state(plan(*jobs, fabric=rack(8, faults=bad_links(8, 3, loss=0.05)), lanes=64))
    for asked, result in zip(jobs, outcome.jobs, strict=True):
        assert result.fragments == fragments(asked)
        counters = outcome.switch_counters[asked.name]
        assert counters["gradients"] <= result.fragments + result.resends
        assert counters["resends"] <= result.resends
    assert outcome.packet_hops == sim.lines["arrived"].sum()
    assert sum(line["lost"] for host in outcome.faults.values() for line in host.values()) > 0
