"""Scenarios over several racks, live: who is where, which cables there are, what switches are told; refusals."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from esa.cluster.times import COMPUTING
from esa.entries.tiers import LeafSpine, job_items
from esa.net.impairment import Impairment
from esa.report import Summary, tier_table
from esa.report.records import TierSummary
from esa.sim.jobs_on_hosts import cluster_of, job_info
from experiments.live.check import check_live
from experiments.live.counters import Counters, SwitchCounters
from experiments.live.faults import host_faults, injected, write_port_faults
from experiments.live.links import links_of_ports, network_graph
from experiments.live.measured import Measured, tiers_of
from experiments.live.places import places
from experiments.live.plan import plan
from experiments.specs.scenario import Scenario, sums_by
from experiments.specs.toml_files import ScenarioError
from experiments.virtual.check import check_virtual
from experiments.virtual.run import evaluate
from experiments.virtual.translate import plan_of
from tests.report.test_report import text_of
from topologies.network import Network

TEXT = """
name = "racks"
[network]
racks = [4, 4, 3]
spines = 2
rate = "20 Mb/s"
[[jobs]]
name = "a"
model = "cnn"
workers = 5
iterations = 4
[[jobs]]
name = "b"
model = "cnn"
iterations = 4
"""


def load(tmp_path: Path, text: str = TEXT, **overrides: object) -> Scenario:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return Scenario.load(path, check_live, **overrides)


# Who is where


@pytest.mark.parametrize("by", ["esa", "switchml", "ps", "gloo"])
@pytest.mark.parametrize(
    "asked",
    ["", "hosts = [4, 5, 0, 1, 2, 8]\n", "hosts = [0, 1, 2, 3, 4, 9]\n", "hosts = [8, 9, 4, 5, 6, 0]\n"],
)
def test_jobs_go_where_virtual_time_puts_them(tmp_path: Path, by: str, asked: str) -> None:
    text = TEXT.replace("workers = 5\n", f"workers = 5\n{asked}")
    scenario = load(tmp_path, text, **sums_by(by))
    check_virtual(scenario)
    planned = plan_of(scenario)
    waiting = [job_info(number, job) for number, job in enumerate(planned.jobs)]
    decided = planned.decide(0, cluster_of(planned.fabric), waiting, [], COMPUTING)
    theirs = {planned.jobs[start.job].name: tuple(gpu.host for gpu in start.gpus) for start in decided.starts}
    ours = places(scenario)
    assert {name: ours[name] for name in theirs} == theirs
    assert "a" in theirs
    assert len({host for hosts in ours.values() for host in hosts}) == sum(map(len, ours.values()))


def test_a_job_over_racks_is_described_as_its_switches_take_it(root: None, tmp_path: Path) -> None:
    scenario = load(tmp_path)
    net = Network(network_graph(scenario))
    a, b = plan(scenario, net, tmp_path / "jobs", "unix:/nowhere")
    assert a.job is not None
    assert b.job is not None
    network = LeafSpine(net.graph)
    assert [(rack.workers, rack.switch_ip) for rack in a.job.racks] == [
        (4, network.racks[0].ip),
        (1, network.racks[1].ip),
    ]
    assert a.job.switch_ip == network.spines[0].ip  # frames to host 8, the PS's, take it
    assert (b.job.racks, b.job.switch_ip) == ((), network.racks[1].ip)
    for number, one in enumerate((a.job, b.job), start=1):
        assert all(job_items(network, one.run(1), number).values())


# Cables


def test_cables_have_the_rates_that_are_asked_of_them(tmp_path: Path) -> None:
    asked = 'rate = "20 Mb/s"\nspine_rate = "100 Mb/s"\nserver_rate = "40 Mb/s"\nrates = { host-1 = "5 Mb/s" }'
    graph = network_graph(load(tmp_path, TEXT.replace('rate = "20 Mb/s"', asked)))
    rates = {cable.lower.node: cable.link.rate_bps for cable in graph.cables if cable.lower.node < graph.hosts}
    assert [rates[host] for host in (0, 1, 8, 7)] == [20e6, 5e6, 40e6, 40e6]
    assert {cable.link.rate_bps for cable in graph.cables if cable.lower.node >= graph.hosts} == {100e6}
    assert not any(cable.link.delay_ns for cable in graph.cables)
    assert not any(math.isinf(cable.link.rate_bps) for cable in graph.cables)


FAULTS = """
[[faults]]
link = "all"
where = "switch"
loss = 0.01
[[faults]]
link = "rack-1-spine-0"
where = "switch"
direction = "to_switch"
loss = 0.5
"""


def test_faults_of_cables_are_told_to_one_switch_each(tmp_path: Path) -> None:
    scenario = load(tmp_path, TEXT + FAULTS)
    graph = network_graph(scenario)
    files = write_port_faults(scenario, graph, tmp_path / "jobs")
    ports = {switch: json.loads(path.read_text())["ports"] for switch, path in files.items()}
    # Hosts and two spines at each rack's switch, nothing at the spines'.
    assert {switch: len(found) for switch, found in ports.items()} == {0: 6, 1: 6, 2: 5}
    named = links_of_ports(scenario, graph)
    assert named[1] == {
        0: "host-4", 1: "host-5", 2: "host-6", 3: "host-7", 4: "rack-1-spine-0", 5: "rack-1-spine-1",
    }  # fmt: skip
    assert (ports[1]["4"]["to_switch"]["loss"], ports[1]["4"]["from_switch"]["loss"]) == (0.5, 0.01)
    assert ports[1]["5"]["to_switch"]["loss"] == 0.01
    assert len({each["seed"] for found in ports.values() for each in found.values()}) == 17
    # What the switches count comes out under the links' names.
    report = Path(json.loads(files[1].read_text())["report"])
    report.write_text(json.dumps({"4": {"to_switch": {"packets": 7, "lost": 3}}}))
    assert injected(scenario, [], tmp_path / "jobs") == {"rack-1-spine-0": {"to_switch": {"packets": 7, "lost": 3}}}


def test_cables_between_switches_are_delayed_at_the_rack(tmp_path: Path) -> None:
    delayed = TEXT.replace("spines = 2", "spines = 1\ndelay_us = 2000.0\nspine_delay_us = 5000.0")
    scenario = load(tmp_path, delayed)
    files = write_port_faults(scenario, network_graph(scenario), tmp_path)
    late = {"to_switch": Impairment(delay_ms=5.0), "from_switch": Impairment(delay_ms=5.0)}
    for path in files.values():
        ((_, faults),) = json.loads(path.read_text())["ports"].items()
        assert {way: Impairment(**faults[way]) for way in late} == late
    host = host_faults(scenario, "host-0")
    assert host is not None
    assert host.to_switch == Impairment(delay_ms=2.0)
    none = load(tmp_path, delayed.replace("5000.0", "0.0"))
    assert write_port_faults(none, network_graph(none), tmp_path) == {}


# What is refused


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[4, 4, 3]", "[3, 3, 1]", "network.racks: 7 hosts for 9 workers and PSs; allowed: live, a host for each"),
        ("[4, 4, 3]", "[200, 60]", "network.racks: 260 hosts; allowed: live, 253 together"),
        (
            "workers = 5\n",
            "workers = 5\nhosts = [0, 1, 2, 3, 4, 5]\n",
            "jobs[0].hosts: the PS in rack 1; allowed: a rack",
        ),
        ("workers = 5\n", "workers = 5\nhosts = [0, 4, 1, 2, 3, 8]\n", "jobs[0].hosts: workers in racks 0, 1, 0, 0, 0"),
        ("workers = 5\n", "workers = 5\nhosts = [0, 1, 2, 3, 4, 11]\n", "jobs[0].hosts: 11; allowed: 0 to 10"),
        ("spines = 2", 'spines = 2\nspine_rate = "2 Gb/s"', "network.spine_rate: 2 Gb/s; allowed: at most 1 Gb/s live"),
        ("spines = 2", "spines = 33", "network.spines: "),
        (
            "[[jobs]]",
            '[[faults]]\nlink = "rack-0-spine-0"\nloss = 0.1\n[[jobs]]',
            "faults[0].link: 'rack-0-spine-0' joins switches; allowed: with where = 'switch'",
        ),
        (
            "[[jobs]]",
            '[[faults]]\nlink = "rack-3-spine-0"\nwhere = "switch"\n[[jobs]]',
            "no link 'rack-3-spine-0'; allowed: all, host-0 to host-10, rack-0-spine-0 to rack-2-spine-1",
        ),
    ],
)
def test_what_racks_cannot_be_is_refused_in_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TEXT
    with pytest.raises(ScenarioError) as refused:
        load(tmp_path, TEXT.replace(old, new, 1))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_job_that_leaves_no_rack_for_its_ps_has_no_place_unless_nobody_adds(tmp_path: Path) -> None:
    text = TEXT.replace("[4, 4, 3]", "[5, 5]").replace("workers = 5", "workers = 6")
    with pytest.raises(ScenarioError, match=r"jobs\[0\]\.workers: no place for 6 workers and a PS among 10 free hosts"):
        load(tmp_path, text)
    assert places(load(tmp_path, text, policy="ps"))["a"] == (0, 1, 2, 3, 4, 5, 6)


def test_more_workers_in_a_rack_than_a_bitmap_has_bits_are_refused(tmp_path: Path) -> None:
    text = TEXT.replace("[4, 4, 3]", "[40, 4, 3]").replace(
        "workers = 5", f"workers = 33\nbatch_size = 8\nhosts = {[*range(33), 44]}"
    )
    with pytest.raises(ScenarioError, match=r"jobs\[0\]\.hosts: 33 ranks in rack 0; allowed: 32"):
        load(tmp_path, text)
    spread = load(tmp_path, text.replace(f"hosts = {[*range(33), 44]}\n", ""))
    assert places(spread)["a"] == (*range(32), 40, 44)


def test_workers_in_more_racks_than_a_bitmap_has_bits_are_refused(tmp_path: Path) -> None:
    text = TEXT.replace("[4, 4, 3]", f"{[1] * 37}").replace("workers = 5", "workers = 33\nbatch_size = 8")
    with pytest.raises(ScenarioError, match=r"jobs\[0\]\.workers: ranks in 33 racks; allowed: 32"):
        load(tmp_path, text)
    with pytest.raises(ScenarioError, match=r"jobs\[0\]\.hosts: ranks in 33 racks; allowed: 32"):
        load(tmp_path, text.replace("batch_size = 8", f"batch_size = 8\nhosts = {[*range(34)]}"))


def test_bmv2_does_not_delay_cables_between_switches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/true")
    delayed = TEXT.replace("spines = 2", "spines = 2\ndelay_us = 2000.0")
    with pytest.raises(ScenarioError, match=r"network\.spine_delay_us: 2000, and 'bmv2' delays nothing; allowed: 0"):
        load(tmp_path, delayed, live={"switch": "bmv2"})
    load(
        tmp_path,
        delayed.replace("delay_us = 2000.0", "delay_us = 2000.0\nspine_delay_us = 0.0"),
        live={"switch": "bmv2"},
    )


# What is counted


class Switch:
    """A switch's counters, and who looks after it."""

    def __init__(self, gradients: int) -> None:
        self.gradients, self.restorations, self.whole = gradients, 0, True

    def read(self, indices: list[int]) -> list[dict[str, int]]:
        return [{"gradients": self.gradients * index, "seated": 3, "released": 1} for index in indices]


def test_counters_are_added_over_switches_and_their_restarts() -> None:
    rack, spine = Switch(10), Switch(0)
    measured = Measured()
    counters = Counters(
        [SwitchCounters(name, one.read, one, {"a": 1, "b": 2}) for name, one in (("rack-0", rack), ("spine-0", spine))],
        measured,
    )
    counters.begin()
    rack.gradients, spine.gradients = 14, 1
    assert counters.count() == {"a": 4, "b": 4}
    assert measured.counters["b"]["gradients"] == 8 + 2
    spine.restorations, spine.gradients = 1, 5  # it counts from zero again
    assert counters.count() == {}, "rows of a switch that is being restarted are not known"
    assert counters.restored() == ["spine-0"]
    assert counters.count() == {"a": 4, "b": 4}
    assert {name: counted["b"]["gradients"] for name, counted in measured.by_switch.items()} == {
        "rack-0": 8,
        "spine-0": 2 + 10,
    }
    assert counters.forget("a")
    assert not counters.forget("a")
    assert counters.count() == {"b": 4}


def test_what_goes_to_the_root_is_shown_beside_what_workers_sent() -> None:
    measured = Measured(racks={"a": ["rack-0", "rack-1"], "b": ["rack-0"]}, spines=["spine-0", "spine-1"])
    nothing = {"gradients": 0, "evicted": 0, "reminders": 0, "misses": 0}
    measured.by_switch = {
        "rack-0": {"a": {"gradients": 400, "evicted": 3, "reminders": 5, "misses": 1}},
        "rack-1": {"a": nothing | {"gradients": 404}},
        "rack-2": {"a": nothing | {"gradients": 17}},  # the PS's: what it lets pass has been counted below
        "spine-0": {"a": nothing | {"gradients": 194}},
        "spine-1": {"a": nothing},
    }
    summary = Summary(
        scenario="two",
        policy="esa",
        switch="embedded",
        topology="leaf-spine",
        seed=1,
        jobs=[],
        tiers=tiers_of(measured),
    )
    assert summary.tiers == {
        "a": TierSummary(from_workers=804, to_root=201, reduction=4.0),
        "b": TierSummary(from_workers=0, to_root=0, reduction=None),
    }
    assert ["a", "804", "201", "4.00"] in [line.split() for line in text_of(tier_table(summary)).splitlines()]
    assert "counters_by_switch" not in summary.as_dict()
    assert tiers_of(Measured()) is None


@pytest.mark.timeout(300)  # a first simulation compiles the event loop
@pytest.mark.parametrize(("by", "reduction"), [("esa", 4.0), ("atp", 4.0), ("switchml", 4.0), ("ps", 1.0)])
def test_virtual_time_tells_the_same_of_two_racks(by: str, reduction: float) -> None:
    two_racks = Path(__file__).parents[2] / "experiments" / "scenarios" / "two-racks.toml"
    scenario = Scenario.load(two_racks, check_virtual, policy=by)
    summary, _ = evaluate(scenario)
    assert summary.incomplete is None
    assert summary.tiers is not None
    fragments = summary.jobs[0].fragments
    assert summary.tiers["cnn"] == TierSummary(
        from_workers=fragments, to_root=round(fragments / reduction), reduction=reduction
    )
