"""What one worker does when, reckoned by hand: computing, sending, waiting. Alone on its links, so it is exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.sim import Bucket, Link, simulate
from esa.sim.build import build
from esa.workloads.program import ORDERS
from tests.effort import tries
from tests.sim.plans import DELAY_NS, FRAGMENT_BYTES, PACKET_NS, TIMERS, bucket, job, ns, only_job, plan, rack

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

ANSWER_NS = 2 * DELAY_NS + PACKET_NS  # from a packet's leaving its worker to its result
TWO = (bucket(10, forward_ns=3_000, backward_ns=5_000), bucket(20, forward_ns=7_000, backward_ns=11_000))


def alone(buckets: Sequence[Bucket], **settings) -> dict[str, int]:
    """The figures of one worker's job, in ns."""
    result = only_job(simulate(plan(job(workers=1, buckets=buckets, **settings))))
    return {name: ns(getattr(result, f"{name}_s")) for name in ("jct", "compute", "comm")}


def test_an_iteration_computes_forward_and_backward_then_waits_for_the_sums() -> None:
    # Forward 10 us; the first bucket is ready after 5 us more, the second after another 11 us; its 20 packets go out.
    expected = {"jct": 26_000 + 20 * PACKET_NS + ANSWER_NS, "compute": 26_000}
    # Of the communication the first bucket's 10 packets are through before the second bucket is ready.
    expected["comm"] = (10 * PACKET_NS + ANSWER_NS) + (20 * PACKET_NS + ANSWER_NS)
    assert alone(TWO, window=64) == expected


def test_buckets_under_way_together_count_once_as_communication() -> None:
    both = (bucket(100, backward_ns=1_000), bucket(20, backward_ns=2_000))
    after_ns = 1_000 + 120 * PACKET_NS + ANSWER_NS  # the line is never idle
    assert alone(both, window=256) == {"jct": after_ns, "compute": 3_000, "comm": after_ns - 1_000}


def test_a_window_that_is_too_small_waits_for_results() -> None:
    round_trip_ns = PACKET_NS + ANSWER_NS
    assert alone([bucket(40)], window=1)["jct"] == 40 * round_trip_ns
    assert alone([bucket(40)], window=4)["jct"] == 9 * round_trip_ns + (PACKET_NS * 3 + round_trip_ns)


def test_iterations_follow_one_another() -> None:
    once = alone(TWO, window=64)
    assert alone(TWO, window=64, iterations=7) == {name: 7 * value for name, value in once.items()}


def test_with_front_layers_first_these_are_sent_first_and_computed_next() -> None:
    back, front = bucket(200, forward_ns=9_000, backward_ns=1_000), bucket(10, forward_ns=8_000, backward_ns=2_000)
    both_ns = alone((back, front), window=256, iterations=2, order="front-first")["jct"]
    second_ns = both_ns - 20_000 - 210 * PACKET_NS - ANSWER_NS
    # The forward pass of the front layers, 8 us, is over before the back layers' sums are there.
    assert second_ns == 9_000 + 3_000 + 210 * PACKET_NS + ANSWER_NS


def test_a_switch_takes_its_time() -> None:
    settings = {"workers": 1, "window": 64, "buckets": TWO}
    slow = plan(job(**settings), fabric=rack(8, switch_ns=400))
    assert ns(only_job(simulate(slow)).jct_s) == alone(TWO, window=64)["jct"] + 400


def test_a_million_packets_do_not_drift() -> None:
    fragments, packet_ns = 1_000_000, 27.68  # 100 Gb/s
    fabric = rack(2, Link(100e9, 1000, 4096))
    result = only_job(simulate(plan(job(workers=1, buckets=[bucket(fragments)], window=512), fabric=fabric)))
    assert ns(result.jct_s) == pytest.approx((fragments + 1) * packet_ns + 2 * 1000, abs=packet_ns)
    assert result.resends == 0


def by_hand(buckets: Sequence[Bucket], iterations: int, window: int, order: str) -> dict[str, int]:
    """The same once more, fragment by fragment. Results come in the order of the fragments, each ANSWER_NS later."""
    now_ns = compute_ns = comm_ns = left_ns = 0
    results: list[int] = []
    counts = [part.bytes // FRAGMENT_BYTES for part in buckets]
    for iteration in range(iterations):
        earlier = iteration * sum(counts)
        for number in reversed(range(len(buckets))):
            needed = earlier - sum(counts[:number]) if order == "front-first" else earlier
            now_ns = max([now_ns, *results[:needed]]) + buckets[number].forward_ns
            compute_ns += buckets[number].forward_ns
        sent = [(part.backward_ns, count) for part, count in zip(buckets, counts, strict=True)]
        if order == "front-first":  # all at once, front layers first
            sent = [(sum(part.backward_ns for part in buckets), counts[-1]), *((0, n) for n in counts[-2::-1])]
        for backward_ns, count in sent:
            now_ns += backward_ns
            compute_ns += backward_ns
            comm_ns -= max([now_ns, *results])
            for _ in range(count):
                allowed_ns = results[-window] if len(results) >= window else 0
                left_ns = max(left_ns, now_ns, allowed_ns) + PACKET_NS
                results.append(left_ns + ANSWER_NS)
            comm_ns += results[-1]
    return {"jct": results[-1], "compute": compute_ns, "comm": comm_ns}


parts = st.builds(bucket, st.integers(1, 30), st.integers(0, 5_000), st.integers(0, 5_000))


@settings(max_examples=tries(60), deadline=None)
@given(
    buckets=st.lists(parts, min_size=1, max_size=5),
    iterations=st.integers(1, 4),
    window=st.sampled_from([1, 3, 16, 64]),
    order=st.sampled_from(ORDERS),
)
def test_any_job_of_one_worker_takes_as_long_as_reckoned(
    buckets: list[Bucket], iterations: int, window: int, order: str
) -> None:
    expected = by_hand(buckets, iterations, window, order)
    assert alone(buckets, iterations=iterations, window=window, order=order) == expected


# Jitter and stragglers

SLOW = job(workers=4, iterations=50, jitter=0.25, straggle=0.1, slowdown=8.0)


def factors(of, seed: int = 1) -> np.ndarray:
    return build(plan(of, seed=seed)).sim.ranks.pace.reshape(of.workers, of.iterations)


def test_jitter_stays_within_its_bounds_and_stragglers_within_theirs() -> None:
    jitter = factors(replace(SLOW, straggle=0.0))
    assert (np.abs(jitter - 1.0) <= 0.25).all()
    assert jitter.std() == pytest.approx(0.25 / 3**0.5, rel=0.2)
    slowed = factors(SLOW) / jitter
    assert set(np.round(slowed.ravel(), 12)) == {1.0, 8.0}
    assert 5 <= (slowed > 1).sum() <= 40  # of 200, one in ten


def test_each_worker_and_iteration_has_a_factor_of_its_own_that_repeats() -> None:
    assert len(np.unique(factors(replace(SLOW, straggle=0.0)))) == 200
    assert (factors(SLOW) == factors(SLOW)).all()
    assert (factors(SLOW) == factors(replace(SLOW, policy="atp", order="front-first"))).all()
    assert not (factors(SLOW) == factors(SLOW, seed=2)).any()


def test_everybody_waits_for_the_slowest() -> None:
    slow = replace(
        SLOW, buckets=(bucket(16, forward_ns=5_000, backward_ns=10_000),), iterations=5, priority=SLOW.priority[:5]
    )
    patient = replace(TIMERS, rto_floor_ns=10**6, overtaken_floor_ns=10**6)  # nobody asks what keeps the slow one
    result = only_job(simulate(plan(slow, timers=patient)))
    computing_ns = (factors(slow) * 5_000).astype(int) + (factors(slow) * 10_000).astype(int)
    assert ns(result.compute_s) == round(computing_ns.sum(axis=1).mean())
    # A fragment's last gradient completes it; the window holds all 16.
    assert ns(result.jct_s) == computing_ns.max(axis=0).sum() + 5 * (16 * PACKET_NS + ANSWER_NS)
    assert result.resends == 0
