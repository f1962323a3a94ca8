"""[[flows]] of a scenario: which are refused, and what the others come to in virtual time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from esa.sim import Flow
from experiments.live.check import check_live
from experiments.specs.scenario import Check, Scenario
from experiments.specs.toml_files import ScenarioError
from experiments.virtual.check import check_virtual
from experiments.virtual.run import evaluate, records_text
from experiments.virtual.translate import plan_of
from tests.experiments.texts import BESIDE

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

GOOD = (
    BESIDE
    + """
[[flows]]
name = "bulk"
from = "host-3"
to = "host-1"
size_bytes = 300_000
start_s = 0.01
[[flows]]
name = "steady"
from = "host-4"
to = "host-2"
kind = "constant"
rate = "2 Mb/s"
"""
)


def load(tmp_path: Path, text: str, check: Check = check_virtual, **overrides: Any) -> Scenario:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return Scenario.load(path, check, **overrides)


@pytest.mark.parametrize(
    ("old", "new", "key", "allowed"),
    [
        ('from = "host-3"', "", "flows[0].from", "missing"),
        ('from = "host-3"', 'form = "host-3"', "flows[0].form", "name, from, to, kind, rate, size_bytes, start_s"),
        ('from = "host-3"', 'source = "host-3"', "flows[0].source", "from, to"),
        ('from = "host-3"', 'from = "host-5"', "flows[0].from", "host-0 to host-4"),
        ('to = "host-1"', 'to = "a-ps"', "flows[0].to", "host-0 to host-4"),
        ('to = "host-1"', 'to = "host-3"', "flows[0].to", "another host"),
        ('to = "host-1"', 'to = "host-1"\nkind = "udp"', "flows[0].kind", "'tcp' or 'constant'"),
        ('to = "host-1"', 'to = "host-1"\nrate = "1 Mb/s"', "flows[0].rate", 'kind = "constant"'),
        ('rate = "2 Mb/s"', "", "flows[1].rate", 'as "5 Mb/s"'),
        ('rate = "2 Mb/s"', "rate = 2.0", "flows[1].rate", 'as "25 Mb/s"'),
        ('rate = "2 Mb/s"', 'rate = "10 b/s"', "flows[1].rate", "1 kb/s or more"),
        ("size_bytes = 300_000", "size_bytes = 0", "flows[0].size_bytes", "1"),
        ("size_bytes = 300_000", "size_bytes = 9\nduration_s = 1.0", "flows[0].duration_s", "one of them, or neither"),
        ("start_s = 0.01", "start_s = -1.0", "flows[0].start_s", "0"),
        ("start_s = 0.01", "duration_s = 0.0", "flows[0].duration_s", "greater than 0"),
        ('name = "steady"', 'name = "bulk"', "flows[1].name", "already"),
        ("sample_us = 10_000.0", "limit_s = 0.01", "flows[0].start_s", "less than virtual.limit_s, 0.01"),
        ("mtu_bytes = 1500", "mtu_bytes = 50", "virtual.mtu_bytes", "100"),
    ],
)
def test_flows_that_cannot_be_are_refused(tmp_path: Path, old: str, new: str, key: str, allowed: str) -> None:
    assert old in GOOD
    with pytest.raises(ScenarioError) as refused:
        load(tmp_path, GOOD.replace(old, new, 1))
    message = str(refused.value)
    assert "\n" not in message
    assert f"scenario.toml: {key}:" in message
    assert allowed in message


@pytest.mark.parametrize(
    ("old", "new", "key", "allowed"),
    [
        ('rate = "2 Mb/s"', 'rate = "2 Gb/s"', "flows[1].rate", "at most 1 Gb/s live"),
        ("hosts = 5", "hosts = 5\ndelay_us = 500.0", "network.delay_us", "without flows"),
    ],
)
def test_what_mininet_cannot_do_of_flows_is_refused(tmp_path: Path, old: str, new: str, key: str, allowed: str) -> None:
    load(tmp_path, GOOD, check_live)
    with pytest.raises(ScenarioError) as refused:
        load(tmp_path, GOOD.replace(old, new, 1), check_live)
    assert f"scenario.toml: {key}:" in str(refused.value)
    assert allowed in str(refused.value)


def test_hosts_may_be_called_after_who_is_on_them(tmp_path: Path) -> None:
    own = GOOD.replace("hosts = 5\n", "").replace("host-3", "a-0").replace("host-4", "a-ps").replace("host-2", "a-0")
    with pytest.raises(ScenarioError, match=r"flows\[0\]\.to: no host 'host-1'; allowed: a-0, a-1, a-ps"):
        load(tmp_path, own)
    plan = plan_of(load(tmp_path, own.replace("host-1", "a-1")))
    assert [(flow.source, flow.target) for flow in plan.flows] == [(0, 1), (2, 0)]


def test_the_resolved_text_gives_the_same_flows(tmp_path: Path) -> None:
    scenario = load(tmp_path, GOOD)
    assert Scenario.parse(scenario.to_toml()) == scenario
    assert 'from = "host-3"' in scenario.to_toml()
    without = load(tmp_path, GOOD[: GOOD.index("[[flows]]")])
    assert "flows" not in without.to_toml()


def test_flows_become_those_of_the_plan(tmp_path: Path) -> None:
    timed = GOOD.replace("size_bytes = 300_000", "duration_s = 0.5")
    plan = plan_of(load(tmp_path, timed))
    assert plan.flows == (
        Flow("bulk", 3, 1, start_ns=10_000_000, stop_ns=510_000_000),
        Flow("steady", 4, 2, rate_bps=2e6),
    )
    assert plan.flow.mtu_bytes == 1500


def test_a_run_in_virtual_time_says_what_became_of_them(tmp_path: Path) -> None:
    scenario = load(tmp_path, GOOD)
    summary, outcome = evaluate(scenario)
    assert summary.incomplete is None
    assert summary.flows is not None
    bulk, steady = summary.flows
    assert (bulk.kind, bulk.bytes, bulk.lost, bulk.resends) == ("tcp", 300_000, None, 0)
    # Nothing else is on its way to host-1 but the sums of one worker.
    assert bulk.goodput_bps == pytest.approx(8 * 300_000 / bulk.seconds)
    assert 0.3 * 20e6 < bulk.goodput_bps < 20e6
    assert (steady.kind, steady.lost, steady.resends) == ("constant", 0, None)
    assert steady.goodput_bps == pytest.approx(2e6, rel=0.05)
    assert steady.seconds == outcome.end_s
    events = [json.loads(line)["event"] for line in records_text(outcome).splitlines()]
    assert events.count("flow") == 2


def test_a_flow_that_has_not_begun_has_no_figures(tmp_path: Path) -> None:
    late = GOOD.replace("size_bytes = 300_000\nstart_s = 0.01", "start_s = 100.0")
    summary, _ = evaluate(load(tmp_path, late))
    assert summary.flows is not None
    assert (summary.flows[0].bytes, summary.flows[0].seconds, summary.flows[0].goodput_bps) == (0, None, None)
