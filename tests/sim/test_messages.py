"""Messages and rings over the simulated network: programs that SEND and RECV, sums by messages, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from esa.cluster.inventory import Cluster
from esa.cluster.policies import fifo
from esa.cluster.scheduler import Decision, JobInfo, Running, Stop
from esa.cluster.times import Times
from esa.errors import BadInput
from esa.fabric import shapes
from esa.sim import Fabric, Link, Outcome, Plan, SimulatedJob, simulate
from esa.sim.transport.flow import HEADER_BYTES, FlowOptions
from esa.workloads.program import Program, compute, loop, mark, program, recv, reduce, send, wait
from tests.sim.plans import LINK, bad_links, bucket, fragments, job, leaf_spine, ns, only_job, plan, rack
from tests.sim.tap import final_state

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

MB = 1_000_000
FAST = Link(100e9, 1000, 4096)
OVERHEAD = HEADER_BYTES + 14 + 24  # IPv4 and behind it, Ethernet, and what a cable adds
PAYLOAD = FlowOptions().payload_bytes


def of(*programs: Program, **given) -> SimulatedJob:
    return job(workers=len(programs), programs=programs, **{"transport": "ring", **given})


def run(*jobs: SimulatedJob, fabric: Fabric | None = None, **given) -> Outcome:
    outcome = simulate(plan(*jobs, fabric=fabric or Fabric(shapes.rack([FAST] * 8)), **given))
    assert outcome.incomplete is None
    return outcome


def pair(octets: int, times: int = 1, **given) -> SimulatedJob:
    """The first sends messages, and the second takes note of when each has come."""
    return of(
        program(loop(times, send(1, octets, tag=4))),
        program(loop(times, recv(4), mark())),
        **{"hosts": (0, 1), **given},
    )


def rate(octets: int, seconds: float | None) -> float:
    assert seconds is not None
    return 8 * octets / seconds


def jain(*rates: float) -> float:
    return sum(rates) ** 2 / (len(rates) * sum(each**2 for each in rates))


def test_a_message_takes_as_long_as_its_packets() -> None:
    outcome = run(pair(3 * PAYLOAD), sample_ns=10**6)
    packet_ns = (PAYLOAD + OVERHEAD) * 8 / 100
    ((at,),) = [[ns for _, ns in marks] for marks in outcome.marks_ns["job"] if marks]
    assert at == pytest.approx(4 * packet_ns + 2 * FAST.delay_ns, abs=2)  # stored by the switch, and passed on
    answer_ns = 2 * OVERHEAD * 8 / 100 + 2 * FAST.delay_ns
    assert ns(only_job(outcome).jct_s) == pytest.approx(at + answer_ns, abs=2)
    assert outcome.packet_hops == 2 * (3 + 2)  # two acknowledgements


def test_messages_come_one_after_the_other_and_their_sender_is_not_too_far_ahead() -> None:
    outcome = run(pair(20_000, times=5))
    came = [at for _, at in outcome.marks_ns["job"][1]]
    assert came == sorted(came)
    assert len(set(np.diff(came)[1:])) == 1  # each waits for the one before to be acknowledged


def test_ranks_answer_each_other_by_tag() -> None:
    first = program(send(1, 100, tag=1), send(1, 200, tag=2), recv(3), mark(3))
    second = program(recv(2), mark(2), recv(1), mark(1), compute(500), send(0, 300, tag=3))
    outcome = run(of(first, second))
    ((_, (two, one)), answered) = ((1, outcome.marks_ns["job"][1]), outcome.marks_ns["job"][0])
    assert [tag for tag, _ in (two, one, *answered)] == [2, 1, 3]
    assert two[1] == one[1]  # it had come before
    assert answered[0][1] > one[1] + 500 + 2 * FAST.delay_ns


@pytest.mark.parametrize("mtu_bytes", [1500, 9000])
def test_a_flow_has_an_idle_link_to_itself(mtu_bytes: int) -> None:
    options = FlowOptions(mtu_bytes=mtu_bytes)
    outcome = run(pair(10 * MB), flow=options, sample_ns=10**8)
    whole = options.payload_bytes / (options.payload_bytes + OVERHEAD)
    assert rate(10 * MB, only_job(outcome).jct_s) > 0.97 * whole * 100e9
    assert (outcome.dropped, only_job(outcome).resends) == (0, 0)


def test_100_megabytes_over_100_gigabits_reach_95_percent() -> None:
    outcome = run(pair(100 * MB), sample_ns=10**8)
    assert rate(100 * MB, only_job(outcome).jct_s) > 0.95 * 100e9


def incast(octets: int, wait_ns: int = 0) -> SimulatedJob:
    """Two ranks send to a third over its link, one of them later."""
    late = program(compute(wait_ns), send(2, octets))
    return of(program(send(2, octets)), late, program(recv(), recv()), hosts=(0, 1, 2))


def received(asked: Plan) -> tuple[Outcome, list[int]]:
    """Of the two, at the plan's limit."""
    outcome, sim = final_state(asked)
    return outcome, sim.connections.flows.receiver["bytes"][[0, 2]].tolist()  # each has one of the ring, too


@pytest.mark.parametrize("wait_ns", [0, 300_000])
def test_two_flows_share_a_link_evenly(wait_ns: int) -> None:
    limit_ns = 8_000_000
    fabric = Fabric(shapes.rack([FAST] * 4))
    _, (first, other) = received(plan(incast(200 * MB, wait_ns), fabric=fabric, sample_ns=10**8, limit_ns=limit_ns))
    assert rate(first + other, limit_ns / 1e9) > 0.95 * 100e9
    assert jain(first - wait_ns * 100 / 8, other) > 0.999  # less what the first had before the other came


def test_flows_that_marks_hold_back_share_evenly_in_the_end_and_keep_the_queue_short() -> None:
    """DCTCP with windows of a dozen packets takes some milliseconds to get there, however far apart they are before."""
    fabric = Fabric(shapes.rack([FAST._replace(queue_packets=100)] * 4), ecn_packets=20)
    asked = plan(incast(400 * MB, 300_000), fabric=fabric, sample_ns=100_000, limit_ns=24_000_000)
    outcome, late = received(asked)
    _, early = received(replace(asked, limit_ns=12_000_000))
    between = [b - a for a, b in zip(early, late, strict=True)]
    assert rate(sum(between), 12e-3) > 0.95 * 100e9
    assert jain(*between) > 0.95
    assert outcome.dropped == 0
    assert 10 < outcome.series["queue_max"][20:-2].mean() < 30


def test_what_bad_links_do_to_messages_is_repaired() -> None:
    fabric = rack(8, faults=bad_links(8, 3, loss=0.02, duplicate=0.02, reorder=0.02, reorder_ms=0.01))
    outcome = run(pair(MB), fabric=fabric, sample_ns=10**8)
    assert only_job(outcome).resends > 0
    assert len(outcome.marks_ns["job"][1]) == 1


# Rings


def summing(workers: int, octets: int, times: int = 1, **given) -> SimulatedJob:
    return of(*[program(loop(times, reduce(octets, 1), wait(), mark()))] * workers, **given)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transport", "workers", "times"),  # the bytes that a link carries each way
    [
        ("ring", 2, 1),
        ("ring", 4, 6 / 4),
        ("ring", 7, 12 / 7),
        ("halving-doubling", 2, 1),
        ("halving-doubling", 4, 6 / 4),
        ("halving-doubling", 8, 14 / 8),
    ],
)
def test_a_long_sum_takes_what_its_bytes_take(transport: str, workers: int, times: float) -> None:
    octets = 256 * MB
    outcome = run(summing(workers, octets, transport=transport), sample_ns=10**8)
    ideal_s = times * 8 * octets / 100e9
    assert ideal_s < only_job(outcome).jct_s < 1.02 * ideal_s
    assert only_job(outcome).fragments == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [6, 7])
def test_ranks_beyond_a_power_of_two_cost_the_bytes_there_and_back(workers: int) -> None:
    """And a little more than the formula: ranks that need not wait for others are early, and share these's links."""
    octets = 256 * MB
    outcome = run(summing(workers, octets, transport="halving-doubling"), sample_ns=10**8)
    ideal_s = (2 * 3 / 4 + 2) * 8 * octets / 100e9
    assert ideal_s < only_job(outcome).jct_s < 1.3 * ideal_s


@pytest.mark.parametrize(
    ("transport", "workers", "messages"),
    [
        ("ring", 4, [100] * 6),
        ("halving-doubling", 2, [200] * 2),
        ("halving-doubling", 4, [200, 100, 100, 200]),
        ("halving-doubling", 8, [200, 100, 50, 50, 100, 200]),
        ("halving-doubling", 6, [400, 200, 100, 100, 200, 400]),
    ],
)
def test_a_short_sum_takes_a_step_for_each_message(transport: str, workers: int, messages: list[int]) -> None:
    outcome = run(summing(workers, 400, transport=transport))
    steps_ns = sum(2 * ((octets + OVERHEAD) * 8 / 100 + FAST.delay_ns) for octets in messages)
    answer_ns = OVERHEAD * 8 / 100  # that a message may find before it
    assert steps_ns <= ns(only_job(outcome).jct_s) <= steps_ns + len(messages) * (2 * answer_ns + 2)


def test_ranks_that_come_late_keep_all_waiting_and_all_end_together() -> None:
    late = program(compute(50_000), reduce(MB, 1), wait(), mark())
    outcome = run(of(late, *[program(reduce(MB, 1), wait(), mark())] * 3))
    ends = [at for ((_, at),) in outcome.marks_ns["job"]]
    alone = run(of(*[program(reduce(MB, 1), wait(), mark())] * 4))
    (first,) = outcome.marks_ns["job"][0]
    assert first[1] == pytest.approx(50_000 + alone.marks_ns["job"][0][0][1], rel=0.2)
    assert max(ends) - min(ends) < 30_000


@pytest.mark.parametrize("transport", ["ring", "halving-doubling"])
def test_one_rank_has_its_sum_at_once(transport: str) -> None:
    assert run(summing(1, MB, times=3, transport=transport)).marks_ns == {"job": (((0, 0),) * 3,)}


@pytest.mark.slow
@pytest.mark.parametrize("order", ["ddp", "front-first"])
@pytest.mark.parametrize("transport", ["ring", "halving-doubling"])
def test_a_training_by_messages_is_the_same_training(transport: str, order: str) -> None:
    parts = [bucket(4000, 20_000, 30_000), bucket(2000, 10_000, 10_000)]
    given = {
        "workers": 5,
        "iterations": 5,
        "buckets": parts,
        "jitter": 0.2,
        "order": order,
        "window": 256,
        "rows": 1024,
    }
    ring, ina = (run(job(transport=each, **given), lanes=64) for each in (transport, "ina"))
    assert only_job(ring).compute_s == only_job(ina).compute_s
    assert only_job(ring).iterations == only_job(ina).iterations == 5
    assert (ring.checked, ina.checked) == (0, fragments(job(**given)))
    assert only_job(ring).jct_s > only_job(ina).jct_s


@pytest.mark.parametrize("transport", ["ring", "halving-doubling"])
def test_sums_by_messages_end_over_bad_links(transport: str) -> None:
    """Who is ahead, and by how much, is up to the losses."""
    fabric = Fabric(shapes.rack([FAST] * 8), faults=bad_links(8, 3, loss=0.02, duplicate=0.02))
    options = FlowOptions(rto_initial_ns=1_000_000, rto_floor_ns=200_000, ack_delay_ns=0)
    outcome = run(summing(6, MB, times=5, transport=transport), fabric=fabric, flow=options)
    assert only_job(outcome).resends > 0
    assert only_job(outcome).iterations == 5


def test_rings_cross_racks_and_share_hosts_links_with_sums_in_the_network() -> None:
    fabric = leaf_spine((3, 3, 2), spines=2, link=LINK)
    ina = job("ina", hosts=(0, 1, 3, 6), workers=3, buckets=[bucket(500)], window=64, rows=256)
    ring = replace(summing(3, MB), name="ring", hosts=(2, 4, 5))
    both = run(ina, ring, fabric=fabric, lanes=64)
    alone = run(ina, fabric=fabric, lanes=64)
    assert both.checked == alone.checked == fragments(ina)
    assert both.jobs[0].jct_s >= alone.jobs[0].jct_s
    assert both.switch_counters["ring"]["gradients"] == 0


def test_a_transport_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="job job: transport: tcp; allowed: ina, ring, halving-doubling"):
        plan(job(transport="tcp"))


def test_a_job_whose_messages_are_under_way_is_not_stopped() -> None:
    def decide(
        now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
    ) -> Decision:
        if len(waiting) == 1 and running:
            return Decision(stops=(Stop(running[0].job.number),))
        return fifo.decide(now_ns, cluster, waiting, running, times)

    first, later = summing(4, MB, times=5), replace(summing(2, MB), name="later", submit_ns=100_000)
    with pytest.raises(BadInput, match="job job: stop: messages of it are under way; allowed: to let it end"):
        run(first, later, decide=decide)
