"""Traffic of no job: when it starts, how fast it is, what jobs feel of it, and when a simulation is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from esa.sim import Flow, Outcome, Plan, simulate
from esa.workloads.program import compute, program
from tests.sim.plans import LINK, bucket, job, ns, only_job, plan, rack

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

RATE_BPS = LINK.rate_bps
BUSY = plan(job(buckets=[bucket(2000)], window=256, rows=1024, hosts=(0, 1, 2)), sample_ns=10**8)
COMPUTING = plan(job(workers=1, programs=(program(compute(1_000_000)),), hosts=(0, 1)), sample_ns=10**8)


def run(asked: Plan, *flows: Flow) -> Outcome:
    outcome = simulate(replace(asked, flows=flows))
    assert outcome.incomplete is None
    return outcome


def test_a_constant_flow_has_its_rate_and_starts_when_it_is_to() -> None:
    (flow,) = run(COMPUTING, Flow("steady", 2, 3, rate_bps=RATE_BPS / 4, start_ns=200_000)).flows
    assert flow.bytes * 8 == pytest.approx(0.8e-3 * RATE_BPS / 4, rel=0.03)
    assert (flow.end_s, flow.resends) == (None, 0)


def test_a_flow_that_ends_arrives_whole_and_is_waited_for() -> None:
    outcome = run(COMPUTING, Flow("bulk", 2, 3, bytes=10_000_000, start_ns=100_000))
    (flow,) = outcome.flows
    assert flow.bytes == 10_000_000
    assert flow.end_s == pytest.approx(100e-6 + 80e6 / RATE_BPS, rel=0.02)
    assert outcome.end_s == pytest.approx(flow.end_s)
    assert ns(only_job(outcome).jct_s) == 1_000_000


def test_a_flow_without_end_does_not_keep_a_simulation_going() -> None:
    outcome = run(COMPUTING, Flow("endless", 2, 3))
    assert ns(outcome.end_s) == 1_000_000
    assert outcome.flows[0].bytes * 8 > 0.9e-3 * RATE_BPS


def test_a_constant_flow_that_ends_arrives_whole_too() -> None:
    outcome = run(COMPUTING, Flow("packets", 2, 3, bytes=1_000_000, rate_bps=RATE_BPS / 8))
    (flow,) = outcome.flows
    assert (flow.bytes, flow.lost) == (1_000_000, 0)
    assert flow.end_s == pytest.approx(8e6 / (RATE_BPS / 8), rel=0.02)


@pytest.mark.parametrize("rate_bps", [None, RATE_BPS / 4])
def test_a_flow_is_cut_off_when_its_time_is_over(rate_bps: float | None) -> None:
    timed = Flow("timed", 2, 3, rate_bps=rate_bps, start_ns=100_000, stop_ns=300_000)
    outcome = run(COMPUTING, timed)
    (flow,) = outcome.flows
    assert flow.end_s == 300e-6
    assert flow.bytes * 8 == pytest.approx(200e-6 * (rate_bps or RATE_BPS), rel=0.1)
    assert ns(outcome.end_s) == 1_000_000


def test_a_flow_that_is_over_before_its_time_ended_then() -> None:
    (flow,) = run(COMPUTING, Flow("early", 2, 3, bytes=1_000_000, stop_ns=900_000)).flows
    assert flow.bytes == 1_000_000
    assert flow.end_s == pytest.approx(8e6 / RATE_BPS, rel=0.1)


def test_what_a_full_queue_loses_of_a_constant_flow_is_counted() -> None:
    both = (Flow("a", 2, 4, rate_bps=0.8 * RATE_BPS), Flow("b", 3, 4, rate_bps=0.8 * RATE_BPS))
    outcome = run(replace(COMPUTING, fabric=rack(5, LINK._replace(queue_packets=20))), *both)
    lost = sum(flow.lost for flow in outcome.flows)
    assert lost == pytest.approx(outcome.dropped, abs=20)  # the newest ones are not missed yet
    assert lost == pytest.approx(sum(flow.packets for flow in outcome.flows) * 0.6 / 1.6, rel=0.25)


def test_a_job_feels_flows_over_its_links_and_none_over_others() -> None:
    alone = only_job(run(BUSY))
    elsewhere = only_job(run(BUSY, Flow("elsewhere", 3, 4)))
    beside = only_job(run(BUSY, Flow("beside", 3, 0, rate_bps=RATE_BPS / 2)))
    assert elsewhere.jct_s == alone.jct_s
    assert beside.jct_s > 1.5 * alone.jct_s


def test_flows_repeat_over_bad_links_too() -> None:
    flows = (Flow("a", 3, 0, bytes=1_000_000), Flow("b", 4, 0, rate_bps=RATE_BPS / 3))
    bad = replace(BUSY, fabric=rack(8, ecn_packets=20))
    assert run(bad, *flows).flows == run(bad, *flows).flows


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": 0}, "flow odd: from host 0 to itself; allowed: two hosts"),
        ({"bytes": 0}, "flow odd: bytes 0; allowed: 1 to 1125899906842624"),
        ({"rate_bps": 1.0}, "flow odd: rate_bps 1; allowed: 1e3 to 1e13"),
        ({"start_ns": -1}, "flow odd: start_ns -1; allowed: 0 or more"),
        ({"start_ns": 5, "stop_ns": 5}, "flow odd: stop_ns 5; allowed: more than its start, 5"),
        ({"target": 8}, "flow odd: hosts 0 and 8; allowed: 0 to 7"),
    ],
)
def test_flows_that_are_refused(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(COMPUTING, Flow(**{"name": "odd", "source": 0, "target": 1, **given}))
