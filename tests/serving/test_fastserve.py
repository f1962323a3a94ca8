"""FastServe: queues to their rules by hand, every order to arithmetic, keys and values to where they may be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.errors import BadInput
from esa.serving.batches import Batch, Shape, decode_shape, prompt_shape
from esa.serving.core import Outcome, Replica, simulate_serving
from esa.serving.costs.stages import stage_times
from esa.serving.fastserve.engine import SWAPS, Engine, Rules
from esa.serving.fastserve.instance import instance
from esa.serving.fastserve.orders import POLICIES, FeedbackQueues, Levels, artefact_levels, order_of
from esa.serving.fastserve.store import Store
from esa.serving.kv_memory import Blocks
from esa.serving.requests import Life, Request
from esa.serving.routers import RoundRobin
from tests.effort import tries

MS = 1_000_000
OPT = stage_times("opt-13b", "a100", 1, 1)


class Simple:
    """A millisecond for each token of a prompt, and one for an iteration that decodes, whoever is in it."""

    overhead_ns = 0

    def stage_ns(self, shape: Shape) -> int:
        return MS * max(shape.prompts, 1 if shape.decodes else 0)

    def send_ns(self, shape: Shape) -> int:
        return 0


def serve(requests: list[Request], policy: str, *, check: bool = True, **asked: Any) -> Outcome:
    return simulate_serving(
        requests, [instance("opt-13b", "a100-40", policy=policy, **asked)], RoundRobin(), check=check
    )


def ends(outcome: Outcome) -> list[int | None]:
    return [life.end_ns for life in outcome.lives]


def queues(**rules: Any) -> FeedbackQueues:
    return FeedbackQueues(Levels(**{"base_ns": 10 * MS, **rules}), lambda tokens: OPT.stage_ns(prompt_shape(tokens)))


def life(number: int, prompt: int = 100, output: int = 10, at: int = 0) -> Life:
    return Life(number, Request(at, prompt, output))


def test_a_request_joins_the_first_queue_that_its_first_iteration_fits_in() -> None:
    found = queues()
    for number, (prompt, level) in enumerate(((128, 2), (512, 3), (1024, 4), (2048, 5))):
        one = life(number, prompt)
        found.add(one, 0)
        assert found.level(one) == level


@settings(max_examples=tries(30), deadline=None)
@given(st.lists(st.integers(1, 4000), min_size=2))
def test_longer_prompts_do_not_join_higher(prompts: list[int]) -> None:
    levels = Levels(base_ns=10 * MS)
    joined = [levels.joins(OPT.stage_ns(prompt_shape(tokens))) for tokens in sorted(prompts)]
    assert joined == sorted(joined)


def test_with_a_profile_below_the_quantum_joining_is_plain_feedback() -> None:
    assert {Levels(base_ns=10 * MS).joins(took) for took in (1_500_000, 2_500_000, 10 * MS)} == {0}


def test_who_has_used_up_a_quantum_goes_down_and_to_the_end() -> None:
    found = FeedbackQueues(Levels(base_ns=10 * MS), lambda tokens: 0)
    one, other = life(0), life(1)
    found.add(one, 0)
    found.add(other, 0)
    found.ran([one], 9 * MS, 9 * MS)
    assert [*found] == [one, other]
    found.ran([one], MS, 10 * MS)
    assert (found.level(one), found.level(other)) == (1, 0)
    assert [*found] == [other, one]
    found.ran([one], 25 * MS, 35 * MS)  # one level at a time, however long the iteration was
    assert found.level(one) == 2


def test_who_has_waited_alpha_goes_to_the_first_queue_and_has_a_whole_quantum_there() -> None:
    found = FeedbackQueues(Levels(base_ns=10 * MS, alpha_ns=300 * MS), lambda tokens: 15 * MS)
    one = life(0)
    found.add(one, 0)
    found.ran([one], 15 * MS, 15 * MS)
    one.ran_ns = 15 * MS
    found.look(315 * MS - 1)
    assert found.level(one) == 1
    found.look(315 * MS)
    assert found.level(one) == 0
    found.ran([one], 9 * MS, 324 * MS)
    assert found.level(one) == 0


def test_the_artefact_looks_every_thousand_iterations_and_who_ran_returns_to_the_front() -> None:
    found = FeedbackQueues(artefact_levels(), lambda tokens: 15 * MS)
    lives = [life(number) for number in range(3)]
    for one in lives:
        found.add(one, 0)
    found.ran(lives, 5 * MS, 5 * MS)
    assert [*found] == lives[::-1]
    for _ in range(999):
        found.look(3001 * MS)
    assert {found.level(one) for one in lives} == {1}
    found.look(3001 * MS)
    assert {found.level(one) for one in lives} == {0}


def test_the_estimated_time_is_the_quanta_of_those_above_or_what_is_left_to_alpha() -> None:
    found = queues(alpha_ns=None)
    at = {prompt: life(number, prompt) for number, prompt in enumerate((128, 512, 1024))}  # levels 2, 3 and 4
    for one in at.values():
        found.add(one, 0)
    waits = found.enst(batch=1, now_ns=0)
    assert [waits[one.number] for one in at.values()] == [0, 40 * MS + 1, (40 + 80 + 80) * MS + 2]
    assert found.enst(batch=2, now_ns=0)[2] == 100 * MS + 2
    timed = queues(alpha_ns=150 * MS)
    for one in at.values():
        timed.add(one, 0)
    assert timed.enst(batch=1, now_ns=60 * MS)[2] == 90 * MS + 2


def test_one_request_alone_takes_what_arithmetic_says_under_every_policy() -> None:
    prompt, output = 300, 40
    took = OPT.stage_ns(prompt_shape(prompt))
    took += sum(OPT.stage_ns(decode_shape(1, prompt + k)) for k in range(1, output))
    for policy in POLICIES:
        for swap in SWAPS:
            outcome = serve([Request(5 * MS, prompt, output)], policy, rules=Rules(swap=swap))
            assert ends(outcome) == [5 * MS + took]


def test_equal_requests_that_fit_in_one_batch_end_alike_under_every_policy() -> None:
    requests = [Request(0, 200, 30)] * 8
    found = {tuple(ends(serve(requests, policy))) for policy in POLICIES}
    assert len(found) == 1
    assert len({*found.pop()}) == 1


MIXED = [
    Request(at * 20 * MS, prompt, output) for at, (prompt, output) in enumerate([(900, 60), (30, 5), (500, 80)] * 6)
]


def test_one_queue_or_an_endless_quantum_is_first_come_first_served() -> None:
    def with_levels(**rules: Any) -> list[int | None]:
        replica = instance("opt-13b", "a100-40", rules=Rules(batch=4))
        assert isinstance(replica.scheduler, Engine)
        replica.scheduler.order = queues(alpha_ns=None, **rules)
        return ends(simulate_serving(MIXED, [replica], RoundRobin(), check=True))

    first_come = ends(serve(MIXED, "fcfs", rules=Rules(batch=4)))
    assert with_levels(levels=1) == first_come
    assert with_levels(base_ns=10**15) == first_come
    assert with_levels(base_ns=20 * MS) != first_come


def test_with_one_place_shortest_remaining_time_has_the_least_mean_of_all() -> None:
    requests = [
        Request(at * MS, prompt, output) for at, (prompt, output) in enumerate([(9, 30), (2, 3), (5, 12), (1, 1)] * 4)
    ]
    means = {}
    for policy in POLICIES:
        replica = instance("opt-13b", "a100-40", policy=policy, rules=Rules(batch=1), times=Simple())
        outcome = simulate_serving(requests, [replica], RoundRobin(), check=True)
        means[policy] = sum((one.end_ns or 0) - one.arrival_ns for one in outcome.lives)
    assert min(means, key=means.__getitem__) == "srpt"
    assert means["srpt"] < means["fastserve"] < means["fcfs"]


def test_nobody_waits_longer_than_alpha_and_an_iteration_unless_the_batch_is_full_of_the_first_queue() -> None:
    alpha_ns = 200 * MS
    replica = instance("opt-13b", "a100-40", alpha_ns=alpha_ns, rules=Rules(batch=2), blocks=4000)
    engine = replica.scheduler
    assert isinstance(engine, Engine)
    order = engine.order
    assert isinstance(order, FeedbackQueues)
    longest, waits = 0, list[int]()
    chosen = engine.next_batch

    def watched(now_ns: int) -> Batch | None:
        batch = chosen(now_ns)
        if batch is not None:
            inside = {one.number for one in batch.lives}
            full = len(inside) == 2 and all(order.level(one) == 0 for one in batch.lives)
            waits.extend(now_ns - one.ran_ns for one in order if one.number not in inside and not full)
        return batch

    engine.next_batch = watched  # type: ignore[method-assign]
    outcome = simulate_serving(MIXED, [replica], RoundRobin(), check=True)
    longest = max(outcome.iterations)
    assert max(waits) < alpha_ns + longest
    assert max(waits) > alpha_ns / 2  # it had to


def test_without_promotion_a_long_request_starves_under_overload() -> None:
    requests = [Request(0, 1500, 5)] + [Request(at * 38 * MS, 20, 2) for at in range(150)]
    starved, saved = (
        serve(requests, "fastserve", alpha_ns=alpha, rules=Rules(batch=1), check=False) for alpha in (None, 300 * MS)
    )
    last = [one.end_ns for one in (starved.lives[0], saved.lives[0])]
    assert last[0] is not None
    assert last[1] is not None
    assert last[0] > 2 * last[1]


REQUESTS = st.lists(
    st.tuples(st.integers(0, 200), st.integers(1, 120), st.integers(1, 60)).map(
        lambda each: Request(each[0] * MS, each[1], each[2])
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=tries(25), deadline=None)
@given(
    REQUESTS, st.sampled_from(POLICIES), st.sampled_from(SWAPS), st.sampled_from((0.0, 1.0, 32.0)), st.integers(12, 40)
)
def test_requests_and_blocks_are_conserved_and_only_what_is_there_runs(
    requests: list[Request], policy: str, swap: str, pcie: float, blocks: int
) -> None:
    replica = instance(
        "opt-13b",
        "a100-40",
        policy=policy,
        rules=Rules(batch=4, idle=2, swap=swap),
        blocks=blocks,
        host_gb=0.3,  # 22 blocks: it fills up, too
        pcie_gbs=pcie,
        times=Simple(),
    )
    engine = replica.scheduler
    assert isinstance(engine, Engine)
    chosen, order = engine.next_batch, engine.order

    def watched(now_ns: int) -> Batch | None:
        before = {one.number: order.level(one) for one in order} if isinstance(order, FeedbackQueues) else {}
        batch = chosen(now_ns)
        assert batch is not None or not engine.unfinished or not engine.store.idle  # somebody can run, or comes
        for one in order if isinstance(order, FeedbackQueues) and order.levels.alpha_ns is not None else ():
            if (up := order.level(one)) < before[one.number]:  # nobody rises but to the first queue, after alpha
                assert up == 0
                assert now_ns - one.ran_ns >= order.levels.alpha_ns
        for one in batch.lives if batch is not None else ():
            assert engine.store.resident(one.number)
            assert engine.store.gpu.held(one.number) * 16 >= max(one.done, one.prefill)
        return batch

    engine.next_batch = watched  # type: ignore[method-assign]
    outcome = simulate_serving(requests, [replica], RoundRobin(), check=True)
    assert all(one.done == one.prompt + one.output for one in outcome.lives)
    assert engine.store.gpu.free == engine.store.gpu.total
    assert engine.store.host.free == engine.store.host.total
    again = sum(one.prefill - one.prompt for one in outcome.lives if one.restarts)
    assert outcome.tokens >= sum(one.prompt + one.output - 1 for one in requests) + again


def pressed(swap: str, pcie: float = 32.0) -> float:
    """Mean time of requests that do not all fit on the GPU."""
    requests = [Request(number * 100 * MS, 400, 60 if number % 3 else 250) for number in range(24)]
    outcome = serve(requests, "fastserve", rules=Rules(batch=8, swap=swap), blocks=260, pcie_gbs=pcie)
    return sum((one.end_ns or 0) - one.arrival_ns for one in outcome.lives) / len(requests) / 1e9


def test_beforehand_is_better_than_when_asked_is_better_than_again() -> None:
    assert pressed("proactive") < pressed("reactive") < pressed("recompute")


def test_without_links_everything_is_made_again() -> None:
    assert pressed("reactive", pcie=0.0) == pressed("recompute")
    assert pressed("reactive", pcie=1e5) < pressed("reactive", pcie=4.0)


def test_over_endless_links_beforehand_and_when_asked_are_one() -> None:
    assert pressed("proactive", pcie=1e5) == pytest.approx(pressed("reactive", pcie=1e5), rel=0.01)


def test_a_copy_takes_bytes_over_the_rate_and_each_way_has_its_own_link() -> None:
    store = Store(Blocks(10), Blocks(10), 2.0, 1000)
    store.gpu.take(3, 2)
    store.offload(3, 0)
    store.settle(1000)
    store.gpu.take(1, 3)
    store.gpu.take(2, 4)
    store.offload(1, 1000)
    store.offload(2, 1000)
    store.upload(3, 1100)
    assert store.next_ns() == 1100 + 1000
    store.settle(2499)
    assert (store.resident(3), store.away(1), store.gpu.free) == (True, False, 1)
    store.settle(2500)
    assert (store.away(1), store.away(2), store.gpu.free) == (True, False, 4)
    store.settle(4500)
    assert (store.away(2), store.idle) == (True, True)
    store.check()


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"policy": "lifo"}, "policy: unknown policy 'lifo'; allowed: fastserve, fastserve-artefact, "),
        ({"blocks": 20}, "request 0: 330 tokens in 20 blocks of 16; allowed: what fits"),
        ({"model": "opt-66b"}, "its weights leave no room"),
        ({"pcie_gbs": -1.0}, "pcie -1 GB/s"),
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, Any], problem: str) -> None:
    def ask() -> None:
        arguments = {"model": "opt-13b", "gpu": "a100-40", **asked}
        simulate_serving([Request(0, 300, 30)], [instance(**arguments)], RoundRobin())

    with pytest.raises(BadInput) as refused:
        ask()
    assert problem in str(refused.value)


def test_a_way_to_swap_that_is_not_known_is_refused() -> None:
    with pytest.raises(BadInput, match="swap: unknown way 'lazy'; allowed: proactive, reactive, recompute"):
        Rules(swap="lazy")
    assert order_of("srpt", lambda tokens: 1, lambda: 1).overtakes
    assert isinstance(instance("opt-13b", "a100-40"), Replica)
