"""Vidur's schedulers: to arithmetic, to each other where they must agree, and to what each of them promises."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.errors import BadInput
from esa.serving.batches import Batch, decode_shape, prompt_shape
from esa.serving.core import Outcome, Replica, simulate_serving
from esa.serving.costs.stages import StageTimes, stage_times
from esa.serving.kv_memory import Blocks
from esa.serving.metrics import figures
from esa.serving.requests import Life, Request
from esa.serving.routers import Deferred, LeastOutstanding, Random, RoundRobin
from esa.serving.vidur.base import Limits
from esa.serving.vidur.capacity import capacity
from esa.serving.vidur.names import SCHEDULERS, replica_scheduler
from tests.effort import tries

MS = 1_000_000
LLAMA = stage_times("llama-2-7b", "a100", 1, 1)


def replica(
    name: str, blocks: int = 4000, times: StageTimes = LLAMA, seen: list[Batch] | None = None, **limits: Any
) -> Replica:
    """seen: its batches are noted there."""
    size = 1 if name == "lightllm" else 16
    rules = Limits(**limits)
    found = replica_scheduler(name, Blocks(blocks * 16 // size, size), rules)
    if seen is not None:
        noted, chosen = seen, found.next_batch

        def watched(now_ns: int) -> Batch | None:
            batch = chosen(now_ns)
            if batch is not None:
                noted.append(batch)
            return batch

        found.next_batch = watched  # type: ignore[method-assign]
    return Replica(found, times, rules.pp)


def serve(requests: list[Request], name: str, **asked: Any) -> Outcome:
    return simulate_serving(requests, [replica(name, **asked)], RoundRobin(), check=True)


def ends(outcome: Outcome) -> list[int | None]:
    return [life.end_ns for life in outcome.lives]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_one_request_alone_takes_what_arithmetic_says(name: str) -> None:
    prompt, output = 300, 20
    took = [LLAMA.stage_ns(prompt_shape(prompt))]
    took += [LLAMA.stage_ns(decode_shape(1, prompt + k)) for k in range(1, output)]
    outcome = serve([Request(7, prompt, output)], name)
    (one,) = outcome.lives
    assert (one.first_token_ns, one.end_ns) == (7 + took[0], 7 + sum(took))
    found = figures(outcome)
    assert found.ttft is not None
    assert found.latency is not None
    assert found.ttft.mean == pytest.approx(took[0] / 1e9)
    assert found.latency.mean == pytest.approx(sum(took) / output / 1e9)
    assert found.busy == 1


def test_stages_add_up_and_all_but_the_last_send() -> None:
    times = stage_times("llama-2-70b", "a100", 2, 4)
    shapes = [prompt_shape(300), decode_shape(1, 301)]
    took = sum(4 * times.stage_ns(shape) + 3 * times.send_ns(shape) for shape in shapes)
    for name in ("orca", "vllm", "sarathi", "faster-transformer"):
        assert ends(serve([Request(0, 300, 2)], name, times=times, pp=4)) == [took]


def test_the_engines_own_time_is_spent_once_an_iteration() -> None:
    slow = stage_times("llama-2-7b", "a100", 1, 1, overhead_ms=5)
    fast, later = (ends(serve([Request(0, 100, 10)], "vllm", times=times))[0] for times in (LLAMA, slow))
    assert fast is not None
    assert later == fast + 10 * 5 * MS


def test_equal_requests_that_fit_end_alike_under_every_scheduler() -> None:
    requests = [Request(0, 200, 12)] * 6
    found = {tuple(ends(serve(requests, name, chunk=2048))) for name in SCHEDULERS}
    assert len(found) == 1
    assert len({*found.pop()}) == 1


def test_with_a_chunk_for_all_sarathi_is_orca_but_for_what_is_reserved() -> None:
    requests = [Request(at * 30 * MS, 50 + 90 * (at % 4), 5 + 7 * (at % 3)) for at in range(20)]
    assert ends(serve(requests, "sarathi", chunk=10**6)) == ends(serve(requests, "orca", blocks=256 * 128))


LOADED = [Request(at * 40 * MS, 100 + 300 * (at % 5), 10 + 30 * (at % 4)) for at in range(40)]


def test_vllm_never_mixes_prompts_and_decodes_and_sarathi_keeps_to_its_chunk() -> None:
    apart: list[Batch] = []
    serve(LOADED, "vllm", seen=apart)
    assert {bool(batch.shape.prefills) + 2 * bool(batch.shape.decodes) for batch in apart} == {1, 2}
    chunked: list[Batch] = []
    serve(LOADED, "sarathi", seen=chunked, chunk=64)
    assert all(batch.shape.tokens <= max(64, batch.shape.decodes) for batch in chunked)
    assert any(batch.shape.prefills and batch.shape.decodes for batch in chunked)


def test_orca_has_no_more_requests_than_it_has_reserved_for() -> None:
    seen: list[Batch] = []
    serve(LOADED, "orca", seen=seen, blocks=700)  # 256 for each
    assert max(len(batch.lives) for batch in seen) == 2


def test_orcas_reservation_makes_requests_wait_that_vllm_serves() -> None:
    waits = [figures(serve(LOADED, name, blocks=700)).wait for name in ("orca", "vllm")]
    assert waits[0] is not None
    assert waits[1] is not None
    assert waits[0].p99 > 2 * waits[1].p99


def test_sarathis_gaps_between_tokens_are_shorter_than_vllms_at_equal_load() -> None:
    requests = [Request(at * 150 * MS, 1500, 40) for at in range(30)]
    gaps = [figures(serve(requests, name, chunk=256)).tbt for name in ("sarathi", "vllm")]
    assert gaps[0] is not None
    assert gaps[1] is not None
    assert gaps[0].p99 < gaps[1].p99


def test_out_of_blocks_the_latest_begins_again_and_all_come_to_their_end() -> None:
    requests = [Request(at, 60, 60) for at in range(8)]
    outcome = serve(requests, "vllm", blocks=40)
    restarts = [life.restarts for life in outcome.lives]
    assert sum(restarts) > 0
    assert restarts[0] == 0
    assert all(life.done == 120 for life in outcome.lives)


def test_faster_transformers_batch_runs_to_its_end_and_in_vidur_loses_blocks() -> None:
    requests = [Request(0, 100, 4), Request(0, 100, 9), Request(1, 100, 2)]
    outcome = serve(requests, "faster-transformer")
    one, other, late = outcome.lives
    assert other.end_ns is not None
    assert late.first_ns == other.end_ns
    assert one.end_ns is not None
    assert one.end_ns < other.end_ns
    more = [*requests, Request(1, 100, 2)]  # with blocks for two of them
    starts = []
    for compat in (False, True):
        *_, third, fourth = serve(more, "faster-transformer", blocks=512, compat=compat, watermark=0.0).lives
        starts.append((third.first_ns, fourth.first_ns))
    assert starts[0][0] == starts[0][1] == starts[1][0]
    assert starts[1][1] > starts[1][0]


def test_lightllm_admits_nobody_whom_it_would_have_to_stop() -> None:
    outcome = serve(LOADED, "lightllm", blocks=150)
    assert not any(life.restarts for life in outcome.lives)


REQUESTS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 150), st.integers(1, 25)).map(
        lambda each: Request(each[0] * MS, each[1], each[2])
    ),
    min_size=1,
    max_size=15,
)


@settings(max_examples=tries(25), deadline=None)
@given(REQUESTS, st.sampled_from([*SCHEDULERS]), st.integers(13, 60), st.sampled_from((1, 2)), st.booleans())
def test_requests_blocks_and_tokens_are_conserved(
    requests: list[Request], name: str, blocks: int, pp: int, compat: bool
) -> None:
    compat = compat and name != "faster-transformer"  # which loses blocks then
    times = stage_times("llama-2-7b", "a100", 1, 1 if name == "lightllm" else pp)
    limits = {"pp": 1 if name == "lightllm" else pp, "chunk": 40, "cap": 8, "request_tokens": 176, "compat": compat}
    one = replica(name, blocks=blocks, times=times, **limits)
    outcome = simulate_serving(requests, [one], RoundRobin(), check=True)
    assert all(life.done == life.prompt + life.output for life in outcome.lives)
    assert one.scheduler.unfinished == 0
    assert outcome.tokens >= sum(each.prompt + each.output - 1 for each in requests)
    if not any(life.restarts for life in outcome.lives):
        assert outcome.tokens == sum(each.prompt + each.output - 1 for each in requests)
        assert sum(outcome.gaps.values()) == sum(each.output - 1 for each in requests)


class Waiting:
    """A scheduler by its loads alone."""

    def __init__(self, queued: int, running: int) -> None:
        self.queued, self.unfinished = queued, queued + running


def routed(router: Any, loads: list[tuple[int, int]], count: int) -> list[int]:
    lives = deque(Life(number, Request(0, 1, 1)) for number in range(count))
    return [number for _, number in router.assign(lives, [Waiting(*each) for each in loads])]


def test_routers_go_by_turn_by_load_or_by_chance_or_hold_back() -> None:
    assert routed(RoundRobin(), [(0, 0)] * 3, 5) == [0, 1, 2, 0, 1]
    loads = [(0, 3), (2, 0), (1, 0)]
    assert routed(LeastOutstanding(), loads, 2) == [2, 1]
    assert routed(LeastOutstanding(compat=True), loads, 2) == [0, 0]
    assert routed(Deferred(3), loads, 9) == [2, 1, 2]
    chosen = routed(Random(1), [(0, 0)] * 4, 4000)
    assert routed(Random(1), [(0, 0)] * 4, 4000) == chosen
    assert min(chosen.count(number) for number in range(4)) > 900


def test_what_is_held_back_is_served_in_the_end() -> None:
    requests = [Request(0, 50, 5)] * 9
    replicas = [replica("vllm"), replica("vllm")]
    outcome = simulate_serving(requests, replicas, Deferred(2), check=True)
    assert sorted(life.replica for life in outcome.lives) == [0] * 5 + [1] * 4


@settings(max_examples=tries(40), deadline=None)
@given(st.floats(0.5, 200), st.floats(0.5, 64), st.booleans())
def test_bisection_finds_the_capacity_of_a_delay_that_grows(limit: float, start: float, steep: bool) -> None:
    found = capacity(lambda rate: 5.0 * (rate / limit) ** (12 if steep else 3), start)
    assert found.rate <= limit * (1 + 1e-9)
    assert found.rate >= limit * (1 - 0.026)
    assert len(found.probes) <= 20


def test_as_in_vidur_a_bad_failure_may_lose_what_was_found() -> None:
    def delay(rate: float) -> float:
        return 0.3 if rate <= 10 else 1e6

    assert capacity(delay, 8.0).rate == pytest.approx(10, rel=0.026)
    later = [[rate for rate, _ in capacity(delay, 8.0, compat=compat).probes[1:]] for compat in (False, True)]
    assert min(later[0]) > 8.0
    assert min(later[1]) < 8.0


@pytest.mark.parametrize(
    ("name", "asked", "request_", "problem"),
    [
        ("fifo", {}, (10, 1), "scheduler: unknown scheduler 'fifo'; allowed: faster-transformer, orca, vllm"),
        ("vllm", {}, (4000, 97), "request 0: 4097 tokens; allowed: up to 4096"),
        ("vllm", {"blocks": 10}, (150, 20), "request 0: 170 tokens in 10 blocks of 16, 0 of them left free"),
        ("lightllm", {"pp": 2}, (10, 1), "lightllm: blocks of 1 tokens, pp 2; allowed: 1 and 1"),
        ("orca", {"cap": 1, "pp": 2}, (10, 1), "cap: 1; allowed: at least the 2 stages"),
        ("orca", {}, (0, 1), "request 0: prompt: 0; allowed: from 1"),
    ],
)
def test_what_cannot_be_is_refused(name: str, asked: dict[str, Any], request_: tuple[int, int], problem: str) -> None:
    with pytest.raises(BadInput) as refused:
        serve([Request(0, *request_)], name, **asked)
    assert problem in str(refused.value)
