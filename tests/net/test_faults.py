"""The model of a bad network: rates, repeatability, order, bursts, bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from esa.net import message_batch, set_peer
from esa.net.faults import NEVER, FaultyPath, decide, delay_queue, fault_counters, impair, new_faults, next_due_ns
from esa.net.impairment import Impairment, LinkFaults, PortFaults
from tests.effort import tries

MS = 1_000_000
N = 50_000


def decisions(
    impairment: Impairment, seed: int = 1, count: int = N, step_ns: int = 100_000
) -> tuple[list[list[int]], dict]:
    """When each packet arrives, one entry per copy, packets being sent every `step_ns`; and the counters."""
    faults = new_faults([impairment], [seed])
    arrivals = []
    for i in range(count):
        copies = decide(faults, 0, i * step_ns)
        arrivals.append([int(due) for due in faults.due_ns[:copies]])
    return arrivals, fault_counters(faults, 0)


def within(count: int, rate: float, trials: int = N) -> bool:
    """Five standard deviations."""
    return abs(count - rate * trials) < 5 * (trials * rate * (1 - rate)) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.01, 0.2])
@pytest.mark.parametrize("kind", ["loss", "duplicate", "reorder"])
def test_rates_are_met(kind: str, rate: float) -> None:
    _, counted = decisions(Impairment(**{kind: rate}))
    name = {"loss": "lost", "duplicate": "duplicated", "reorder": "reordered"}[kind]
    assert within(counted[name], rate)
    assert counted["packets"] == N
    assert sum(counted.values()) == N + counted[name]


def test_rates_of_zero_and_one() -> None:
    arrivals, counted = decisions(Impairment(), count=1000)
    assert arrivals == [[i * 100_000] for i in range(1000)]
    assert sum(counted.values()) == counted["packets"] == 1000
    arrivals, _ = decisions(Impairment(loss=1.0), count=1000)
    assert not any(arrivals)
    arrivals, _ = decisions(Impairment(duplicate=1.0), count=1000)
    assert all(len(copies) == 2 for copies in arrivals)


def test_bursts_have_their_length_and_share() -> None:
    arrivals, counted = decisions(Impairment(burst_enter=0.01, burst_leave=0.2))
    lost = [not copies for copies in arrivals]
    bursts = sum(1 for before, now in zip([False, *lost], lost, strict=False) if now and not before)
    assert counted["lost"] == sum(lost)
    assert counted["lost"] / N == pytest.approx(0.01 / 0.21, rel=0.15)
    assert counted["lost"] / bursts == pytest.approx(1 / 0.2, rel=0.15)


def test_it_repeats_and_depends_on_the_seed() -> None:
    bad = Impairment(loss=0.1, duplicate=0.1, reorder=0.1, jitter_ms=3)
    assert decisions(bad, 5, 2000) == decisions(bad, 5, 2000)
    assert decisions(bad, 5, 2000) != decisions(bad, 6, 2000)
    assert LinkFaults(seed=3).line_seed(0) != LinkFaults(seed=3).line_seed(1)


def test_neighbouring_seeds_are_independent() -> None:
    lost = np.array([[not c for c in decisions(Impairment(loss=0.5), seed, 10_000)[0]] for seed in range(6)], float)
    correlation = np.corrcoef(lost) - np.eye(6)
    assert np.abs(correlation).max() < 0.05


def test_what_else_is_asked_for_does_not_change_which_packets_are_lost() -> None:
    plain, _ = decisions(Impairment(loss=0.1), count=2000)
    more, _ = decisions(Impairment(loss=0.1, duplicate=0.3, reorder=0.2, delay_ms=5, jitter_ms=5), count=2000)
    assert [bool(copies) for copies in plain] == [bool(copies) for copies in more]


def test_delay_and_jitter_keep_the_order_and_their_bounds() -> None:
    arrivals, counted = decisions(Impairment(delay_ms=10, jitter_ms=5))
    dues = [due for copies in arrivals for due in copies]
    assert dues == sorted(dues)
    late = np.array(dues) - np.arange(N) * 100_000
    assert late.min() >= 10 * MS
    assert late.max() <= 15 * MS
    assert counted["delayed"] == N


def test_a_reordered_packet_is_overtaken_and_nothing_else_is() -> None:
    arrivals, counted = decisions(Impairment(reorder=0.1, reorder_ms=1))
    late = np.array([copies[0] for copies in arrivals]) - np.arange(N) * 100_000
    assert (late > 0).sum() == counted["reordered"]
    assert late.max() <= 1 * MS


class Wire:
    """One batch, one path; messages are numbers."""

    def __init__(self, impairments: list[Impairment | None], capacity: int = 64, rows: int = 16) -> None:
        self.batch = message_batch(rows, 16)
        self.lines = np.zeros(rows, np.int32)
        self.path = FaultyPath(new_faults(impairments, range(len(impairments))), delay_queue(capacity, 16))

    def send(self, messages: list[tuple[int, int]], now_ns: int) -> list[tuple[int, int]]:
        """(line, number) in, the same out."""
        for i, (line, number) in enumerate(messages):
            self.batch.data[i, :8] = np.frombuffer(number.to_bytes(8, "big"), np.uint8)
            self.batch.length[i] = 8
            self.lines[i] = line
            set_peer(self.batch, i, number, line)
        count = impair(self.path, self.batch, self.lines, len(messages), now_ns)
        got = []
        for i in range(count):
            number = int.from_bytes(self.batch.data[i, : self.batch.length[i]].tobytes(), "big")
            assert self.batch.peer[i, 1] == int.from_bytes(number.to_bytes(4, "big"), "little")
            got.append((int(self.lines[i]), number))
        return got

    def drain(self) -> list[tuple[int, int]]:
        got: list[tuple[int, int]] = []
        while next_due_ns(self.path.queue) < NEVER:
            got += self.send([], next_due_ns(self.path.queue))
        return got


def test_bytes_come_out_when_they_are_due_with_their_peer() -> None:
    wire = Wire([Impairment(delay_ms=1)])
    assert wire.send([(0, 1), (0, 2)], 0) == []
    assert wire.send([(0, 3)], MS // 2) == []
    assert next_due_ns(wire.path.queue) == MS
    assert wire.send([], MS) == [(0, 1), (0, 2)]
    assert wire.send([], MS) == []
    assert wire.drain() == [(0, 3)]
    assert next_due_ns(wire.path.queue) == NEVER


def test_lines_without_faults_pass_at_once_and_in_order() -> None:
    wire = Wire([None, Impairment(loss=1.0), Impairment(delay_ms=1)])
    assert wire.send([(0, 1), (1, 2), (2, 3), (7, 4), (-1, 5), (0, 6)], 0) == [(0, 1), (7, 4), (-1, 5), (0, 6)]
    assert wire.drain() == [(2, 3)]


def test_a_full_queue_loses_and_counts() -> None:
    wire = Wire([Impairment(delay_ms=1)], capacity=10)
    wire.send([(0, i) for i in range(16)], 0)
    assert fault_counters(wire.path.faults, 0)["overflowed"] == 6
    assert wire.drain() == [(0, i) for i in range(10)]
    assert wire.send([(0, 99)], 2 * MS) == []
    assert wire.drain() == [(0, 99)]


def test_what_finds_no_row_stays_due() -> None:
    wire = Wire([Impairment(duplicate=1.0)], rows=4)
    assert wire.send([(0, i) for i in range(4)], 0) == [(0, 0), (0, 0), (0, 1), (0, 1)]
    assert next_due_ns(wire.path.queue) == 0
    assert wire.send([], 0) == [(0, 2), (0, 2), (0, 3), (0, 3)]


RATES = st.floats(0, 1)
IMPAIRMENTS = st.builds(
    Impairment,
    loss=RATES,
    duplicate=RATES,
    reorder=RATES,
    delay_ms=st.floats(0, 3),
    jitter_ms=st.floats(0, 3),
    burst_enter=RATES,
)


@settings(max_examples=tries(60), deadline=None)
@given(st.lists(IMPAIRMENTS, min_size=1, max_size=3), st.lists(st.integers(0, 16), max_size=30), st.integers(1, 64))
def test_every_packet_is_accounted_for(impairments: list[Impairment], sizes: list[int], capacity: int) -> None:
    wire = Wire([*impairments], capacity)
    sent = 0
    got: list[tuple[int, int]] = []
    for step, size in enumerate(sizes):
        got += wire.send([((sent + i) % len(impairments), sent + i) for i in range(size)], step * MS)
        sent += size
        assert wire.path.queue.fill[0] <= capacity
    got += wire.drain()
    assert sorted(wire.path.queue.free) == list(range(capacity))
    for line, impairment in enumerate(impairments):
        arrived = [number for where, number in got if where == line]
        count = fault_counters(wire.path.faults, line)
        assert len(arrived) == count["packets"] - count["lost"] + count["duplicated"] - count["overflowed"]
        assert all(number % len(impairments) == line for number in arrived)
        if impairment.reorder == 0:
            assert arrived == sorted(arrived)
    assert sum(fault_counters(wire.path.faults, line)["packets"] for line in range(len(impairments))) == sent


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"loss": 1.5}, "loss"),
        ({"loss": float("nan")}, "loss"),
        ({"duplicate": -0.1}, "duplicate"),
        ({"delay_ms": -1}, "delay_ms"),
        ({"jitter_ms": float("inf")}, "jitter_ms"),
        ({"burst_leave": 0}, "burst_leave"),
        ({"lose": 0.1}, "lose"),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        Impairment(**wrong)
    with pytest.raises(ValidationError, match=key):
        PortFaults.model_validate({"ports": {"1": {"to_switch": wrong}}})


def test_a_link_that_retries_delays_what_it_would_lose_and_keeps_the_order() -> None:
    plain, _ = decisions(Impairment(loss=0.2))
    retrying, counted = decisions(Impairment(loss=0.2, retry_us=500))
    dues = [due for copies in retrying for due in copies]
    assert len(dues) == N
    assert dues == sorted(dues)
    assert counted["lost"] == 0
    late = np.array(dues) - np.arange(N) * 100_000
    lost = np.array([not copies for copies in plain])
    assert (late[lost] >= 500_000).all()  # the same packets, each by a whole number of retries or behind another
    assert counted["retried"] == pytest.approx(0.25 * N, rel=0.1)  # 0.2 + 0.04 + ...


def test_a_retry_meets_the_burst_that_the_packet_met() -> None:
    bursts = Impairment(burst_enter=0.01, burst_leave=0.4, retry_us=10)
    _, counted = decisions(bursts)
    assert counted["lost"] == 0
    assert counted["retried"] / counted["packets"] == pytest.approx(
        0.01 / 0.4, rel=0.2
    )  # each burst meets one packet, again and again


def test_what_is_lost_every_time_is_lost() -> None:
    arrivals, counted = decisions(Impairment(loss=1.0, retry_us=10), count=50)
    assert not any(arrivals)
    assert (counted["lost"], counted["retried"]) == (50, 0)
