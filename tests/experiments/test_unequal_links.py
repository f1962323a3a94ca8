"""Links that are not alike: rates and delays of single hosts, delays drawn for every cable; sums stay exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from experiments.specs.scenario import Scenario
from experiments.specs.toml_files import parse_toml
from experiments.virtual.check import check_virtual
from experiments.virtual.run import evaluate
from experiments.virtual.translate import plan_of

pytestmark = pytest.mark.timeout(600)  # on a cold machine the first test compiles the simulator

TEXT = """
name = "unequal"
aggregators = 256
[virtual]
carry_gradients = true
sample_us = 10000.0
[network]
rate = "10 Gb/s"
hosts = 5
[job_defaults]
iterations = 2
window = 64
[[models]]
name = "odd"
bytes = [4, 0, 100000, 4]
forward_ms = [0.001, 0.001, 0.001, 0.0]
backward_ms = [0.001, 0.0, 0.001, 0.0]
[[jobs]]
name = "a"
model = "odd"
workers = 4
"""


def load(*changes: tuple[str, str], text: str = TEXT, **overrides: Any) -> Scenario:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return Scenario.of_table(parse_toml(text, "test") | overrides, None, "test", check_virtual)


def run(scenario: Scenario) -> Any:
    summary, _ = evaluate(scenario)
    assert summary.incomplete is None
    (job,) = summary.jobs
    # A first bucket of 1 MiB holds all: 100,008 bytes.
    assert summary.checked == job.fragments == 4 * 2 * 391
    return job


@pytest.mark.parametrize("policy", ["esa", "atp", "switchml", "ps"])
def test_a_worker_at_a_tenth_of_the_rate_slows_all_down_and_nothing_is_sent_twice(policy: str) -> None:
    slow = load(("hosts = 5", 'hosts = 5\nrates = { host-2 = "1 Gb/s" }'), policy=policy)
    usual, job = run(load(policy=policy)), run(slow)
    assert job.resends == usual.resends == 0
    sending_s = 2 * 391 * 346 * 8 / 1e9
    assert sending_s < job.bound_s <= job.jct_s
    assert job.jct_s < 1.1 * sending_s or policy in ("ps", "switchml", "atp")
    assert job.jct_s > 2 * usual.jct_s


@pytest.mark.parametrize("policy", ["esa", "atp", "switchml", "ps"])
def test_a_cable_of_ten_milliseconds_is_waited_for(policy: str) -> None:
    far = load(("hosts = 5", "hosts = 5\ndelays_us = { host-1 = 10000.0 }"), policy=policy)
    job = run(far)
    assert job.resends == 0
    round_trips = -(-2 * 391 // 64)  # a window is less than a round trip holds
    assert job.bound_s > 2 * 0.02
    assert 2 * 0.02 < job.jct_s < 2 * (round_trips + 2) * 0.04


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["esa", "atp", "switchml", "ps"])
def test_delays_are_drawn_for_every_cable_of_two_tiers(policy: str) -> None:
    racks = load(
        ("hosts = 5", "racks = [8, 8, 8, 8, 1]\nspines = 2\ndelay_spread_us = 50.0"),
        ("workers = 4", "workers = 32"),
        policy=policy,
    )
    cables = plan_of(racks).fabric.graph.cables
    delays = np.array([cable.link.delay_ns for cable in cables])
    assert len(np.unique(delays)) > 0.9 * len(cables)
    assert 1000 <= delays.min() < 6_000
    assert 46_000 < delays.max() <= 51_000
    again = plan_of(racks).fabric.graph.cables
    assert again == cables
    other = plan_of(Scenario.of_table(parse_toml(racks.to_toml(), "x") | {"seed": 2}, None, "x")).fabric.graph.cables
    assert other != cables
    summary, _ = evaluate(racks)
    assert summary.incomplete is None
    assert summary.checked == 32 * 2 * 391


def test_rates_and_delays_are_those_of_their_hosts() -> None:
    links = 'rates = { a-1 = "1 Gb/s" }\nserver_rate = "40 Gb/s"\ndelays_us = { a-ps = 5 }'
    own = load(("hosts = 5", links))
    graph = plan_of(own).fabric.graph
    found = [(round(cable.link.rate_bps / 1e9), cable.link.delay_ns) for cable in sorted(graph.cables)]
    assert found == [(10, 1000), (1, 1000), (10, 1000), (10, 1000), (40, 5000)]
    named = load(("hosts = 5", 'hosts = 5\nserver_rate = "40 Gb/s"'), ("workers = 4", "workers = 2\nhosts = [0, 1, 3]"))
    rates = [round(cable.link.rate_bps / 1e9) for cable in sorted(plan_of(named).fabric.graph.cables)]
    assert rates == [10, 10, 10, 40, 10]
    assert Scenario.parse(own.to_toml(), check_virtual) == own


def test_timers_follow_the_longest_way() -> None:
    usual, far = plan_of(load()), plan_of(load(("hosts = 5", "hosts = 5\ndelays_us = { host-1 = 10000.0 }")))
    assert far.timers.rto_floor_ns > 40_000_000 > usual.timers.rto_floor_ns
