"""Queues and processors: what is dropped, what is marked, how windows react, what hosts take their time for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from esa.fabric import leaf_spine
from esa.job import Pool
from esa.sim import Fabric, Flow, HostCosts, Link, Plan, Timers, simulate
from esa.sim.transport.flow import FlowOptions
from tests.sim.plans import DELAY_NS, LINK, PACKET_NS, WIRE_BYTES, bucket, job, ns, only_job, plan, rack
from tests.sim.tap import final_state

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

WORKERS, BURST = 5, 20
HOP_NS = PACKET_NS + DELAY_NS
BEFORE_TIMERS_NS = 14_000  # the queue is empty again; a first result came after 4 hops, so nothing is overtaken yet


def incast(
    queue_packets: int, ecn_packets: int | None = None, costs: HostCosts | None = None, *, lanes: int = 64, **given
) -> Plan:
    """Five workers send to one PS, whose link takes a fifth of it."""
    link = LINK._replace(queue_packets=queue_packets)
    fabric = rack(given.get("workers", WORKERS) + 3, link, ecn_packets=ecn_packets, costs=costs or HostCosts())
    common = {"workers": WORKERS, "buckets": [bucket(BURST)], "window": 64, **given}
    return plan(job(policy_name="ps", **common), fabric=fabric, lanes=lanes, sample_ns=PACKET_NS // 2)


def dropped_of_a_burst(room: int) -> int:
    """Packets that find `room` waiting or on their way out, one by one; five come every PACKET_NS."""
    leaving_ns: list[int] = []
    dropped = 0
    for number in range(BURST):
        now_ns = number * PACKET_NS
        for _ in range(WORKERS):
            waiting = sum(at_ns > now_ns for at_ns in leaving_ns)
            if waiting >= room:
                dropped += 1
            else:
                leaving_ns.append(max([now_ns, *leaving_ns]) + PACKET_NS)
    return dropped


@pytest.mark.parametrize("room", [1, 2, 7, 40, 79, 80, 81])
def test_a_queue_drops_what_finds_it_full(room: int) -> None:
    outcome, sim = final_state(replace(incast(room), limit_ns=BEFORE_TIMERS_NS))
    assert outcome.dropped == sim.lines["dropped"].sum() == dropped_of_a_burst(room)
    assert outcome.series["queue_max"].max() == min(room, 81)
    assert sim.servers.state.counter["fragments"][0] == WORKERS * BURST - outcome.dropped


def test_what_was_dropped_is_sent_again() -> None:
    outcome = simulate(incast(7))
    assert outcome.incomplete is None
    assert outcome.checked == WORKERS * BURST
    assert outcome.dropped > 0
    assert only_job(outcome).resends > 0


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["aimd", "dctcp"])
def test_marks_make_windows_smaller_and_queues_shorter(rule: str) -> None:
    busy = {"buckets": [bucket(600)]}
    plain, before = final_state(incast(1024, **busy))
    marked, after = final_state(incast(1024, ecn_packets=10, congestion=rule, **busy))
    assert (plain.dropped, marked.dropped) == (0, 0)
    assert not before.workers.state.counter["ecn"].any()
    assert (before.workers.state.worker["cwnd"] == 64).all()
    assert (after.workers.state.counter["ecn"] > 0).all()
    assert (after.workers.state.worker["cwnd"] < 32).all()
    # Without marks all windows stand in the queue; with them it stays near the threshold once windows have adapted.
    half = [outcome.series["queue_max"][len(outcome.series) // 2 : -100] for outcome in (plain, marked)]
    assert half[0].mean() > 200
    assert half[1].mean() < 60
    assert ns(only_job(marked).jct_s) < 1.25 * ns(only_job(plain).jct_s)


def test_a_queue_as_long_as_the_threshold_is_not_marked() -> None:
    """A packet that finds exactly as many waiting passes unmarked; the queue of one burst is known."""
    longest = int(simulate(incast(1024)).series["queue_max"].max())
    for threshold, marks in ((longest - 1, False), (longest - 2, True)):
        _, sim = final_state(incast(1024, ecn_packets=threshold))
        assert sim.workers.state.counter["ecn"].any() == marks


# What hosts take their time for: `jct` by hand


def jct_ns(asked: Plan) -> int:
    outcome = simulate(asked)
    assert outcome.incomplete is None
    assert only_job(outcome).resends == 0
    return ns(only_job(outcome).jct_s)


def one_worker(costs: HostCosts) -> int:
    fabric = rack(2, costs=costs)
    return jct_ns(plan(job(workers=1, buckets=[bucket(BURST)], window=64), fabric=fabric))


def test_a_worker_sends_no_faster_than_its_processor() -> None:
    assert one_worker(HostCosts()) == BURST * PACKET_NS + DELAY_NS + HOP_NS
    assert one_worker(HostCosts(send_ns=PACKET_NS)) == PACKET_NS + BURST * PACKET_NS + DELAY_NS + HOP_NS
    assert one_worker(HostCosts(send_ns=700)) == BURST * 700 + 2 * HOP_NS


def test_a_worker_receives_no_faster_than_its_processor() -> None:
    assert one_worker(HostCosts(receive_ns=PACKET_NS)) == one_worker(HostCosts()) + PACKET_NS
    assert one_worker(HostCosts(receive_ns=700)) == 2 * HOP_NS + BURST * 700
    # A PS's cost is none of a worker's.
    assert one_worker(HostCosts(server_ns=700)) == one_worker(HostCosts())


def test_one_core_sends_and_receives_in_turn_and_two_at_once() -> None:
    """A burst is queued at once; its results, of which the first comes meanwhile, wait behind it, or do not."""
    cost_ns = 700
    costs = HostCosts(send_ns=cost_ns, receive_ns=cost_ns)
    assert 2 * HOP_NS + cost_ns < BURST * cost_ns
    assert one_worker(costs) == 2 * BURST * cost_ns  # never idle
    assert one_worker(replace(costs, cores=2)) == BURST * cost_ns + 2 * HOP_NS + cost_ns


def test_a_server_is_what_everybody_waits_for_if_it_is_slow() -> None:
    # Under `ps` it receives every worker's packet and sends as many: with one core all of them one after the other,
    # with two each way, so that the last results follow on the last gradient.
    cost_ns, packets = 1_000, WORKERS * BURST
    for cores, costs_paid in ((1, 2 * packets), (2, packets + WORKERS)):
        slow = HostCosts(server_ns=cost_ns, cores=cores)
        assert jct_ns(incast(1024, costs=slow)) == 2 * HOP_NS + costs_paid * cost_ns + 2 * HOP_NS


def test_what_is_sent_does_not_wait_for_a_processor_that_it_costs_nothing() -> None:
    once = one_worker(HostCosts(receive_ns=700))
    assert once == one_worker(HostCosts(receive_ns=700, cores=2)) == 2 * HOP_NS + BURST * 700


def test_other_links_for_hosts_and_spines() -> None:
    """Two racks; a worker's way to its PS goes over one spine, whose cables are ten times as slow."""
    fast, slow = LINK, Link(LINK.rate_bps / 10, 5_000, 1024)
    fabric = Fabric(leaf_spine((2, 2), fast, slow))
    alone = plan(job(policy_name="ps", workers=1, buckets=[bucket(1)], hosts=(0, 2)), fabric=fabric)
    assert jct_ns(alone) == 2 * (2 * HOP_NS + 2 * (10 * PACKET_NS + 5_000))


# What windows make of marks


def test_an_incast_of_sixteen_loses_next_to_nothing_and_fills_the_link_if_windows_follow_marks() -> None:
    """Base round trip: 43 packets of the PS's link. The queue has room for 128, and all windows together 1,024."""
    busy = {"workers": 16, "buckets": [bucket(2000)]}
    packets = 16 * 2000
    lost = {}
    for rule in ("none", "aimd", "dctcp"):
        outcome = simulate(replace(incast(128, ecn_packets=32, lanes=0, congestion=rule, **busy), sample_ns=10**9))
        assert outcome.incomplete is None
        lost[rule] = outcome.dropped / packets
        if rule != "none":
            assert packets * PACKET_NS / ns(only_job(outcome).jct_s) > 0.9
    assert lost["none"] > 0.05
    assert lost["aimd"] < 0.001
    assert lost["dctcp"] < 0.001


FRAGMENTS = 20_000


def jain(rates: list[float]) -> float:
    return sum(rates) ** 2 / (len(rates) * sum(rate**2 for rate in rates))


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "flow"), [("aimd", "reno"), ("dctcp", "dctcp")])
def test_two_jobs_and_a_flow_share_a_link_fairly(rule: str, flow: str) -> None:
    """The switch's link to host 0, where a worker of each job and the flow's end are; packets of two lengths."""
    link = Link(100e6, 20_000, queue_packets=1024)
    fabric = rack(6, link, ecn_packets=256, gpus=2)
    given = {"workers": 2, "buckets": [bucket(FRAGMENTS)], "window": 512, "congestion": rule}
    jobs = [
        replace(job(name, hosts=hosts, **given), pool=Pool(base=base, size=1024))
        for name, hosts, base in (("a", (0, 1, 2), 0), ("b", (0, 3, 4), 1024))
    ]
    asked = plan(
        *jobs,
        fabric=fabric,
        timers=Timers(rto_initial_ns=100_000_000, rto_floor_ns=100_000_000),
        flows=(Flow("tcp", 5, 0, congestion=flow),),
        flow=FlowOptions(mtu_bytes=1500),
    )
    outcome = simulate(asked)
    assert outcome.incomplete is None
    bits = [8 * FRAGMENTS * WIRE_BYTES] * 2 + [8 * outcome.flows[0].bytes * 1538 / 1448]
    times_s = [*(one.jct_s for one in outcome.jobs), outcome.end_s]
    rates = [one / seconds for one, seconds in zip(bits, times_s, strict=True)]
    assert jain(rates) > 0.95, rates
    assert sum(rates) > 0.9 * link.rate_bps
