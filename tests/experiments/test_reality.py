"""Mininet next to virtual time: what a twin takes over from a run, what is measured for it, and when the two agree."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from esa.sim.plan import Plan
from esa.switch.process.pcap import PcapWriter
from esa.wire import ENCAPSULATION_BYTES, ESA_PORT, packet_dtype
from experiments import cli
from experiments.live.check import check_live
from experiments.live.places import places
from experiments.live.timers import RESEND_FLOOR_NS
from experiments.specs.scenario import Scenario
from experiments.specs.toml_files import ScenarioError
from experiments.studies import reality
from experiments.studies.calibrated import calibrated, calibrated_plan
from experiments.studies.calibration import CAPTURES, CalibrationError, Measured, calibration, read_capture
from experiments.studies.reality import BURST_BYTES, disagreements, misordered, shallow_buckets

TWO = """
name = "two"
aggregators = 32
[network]
rate = "5 Mb/s"
[[jobs]]
name = "a"
model = "mlp"
quantisation = "fixed"
iterations = 3
window = 32
[[jobs]]
name = "b"
model = "cnn"
quantisation = "fixed"
workers = 3
iterations = 4
window = 16
submit_s = 0.5
"""
DELAY = 'rate = "5 Mb/s"\ndelay_us = 5000.0'
MEASURED = {"a": Measured(0.012, 0.5, (1, 2, 3)), "b": Measured(0.03, 0.25, (9, 8, 7, 6))}


def load(tmp_path: Path, text: str = TWO, **overrides: object) -> Scenario:
    path = tmp_path / "two.toml"
    path.write_text(text)
    return Scenario.load(path, check_live, **overrides)


# Verdict


def test_policies_are_misordered_where_the_worlds_disagree_by_more_than_a_tie() -> None:
    mininet = {"esa": 10.0, "atp": 12.0, "ps": 12.2}
    assert misordered(mininet, {"esa": 11.0, "atp": 13.0, "ps": 12.9}) == []
    assert misordered(mininet, {"esa": 13.0, "atp": 12.0, "ps": 14.0}) == [("esa", "atp")]
    assert misordered(mininet, {"esa": 9.0, "atp": 12.0, "ps": 11.0}) == [("atp", "ps")]


def test_what_is_too_far_off_or_misordered_is_said_in_a_line_each() -> None:
    mininet = {"esa": 10.0, "ps": 20.0}
    assert disagreements(mininet, {"esa": 11.4, "ps": 17.1}, 0.15) == []
    assert disagreements(mininet, {"esa": 11.6, "ps": 11.0}, 0.15) == [
        "esa: virtual time is +16.0% off; allowed: 15%",
        "ps: virtual time is -45.0% off; allowed: 15%",
        "esa and ps come in another order",
    ]


# Calibrated


def twin(scenario: Scenario, measured: dict[str, Measured] = MEASURED) -> Plan:
    return calibrated_plan(calibrated(scenario, measured), measured)


def test_a_twin_has_the_jobs_the_network_and_the_timers_of_its_run(tmp_path: Path) -> None:
    scenario = load(tmp_path, TWO.replace('rate = "5 Mb/s"', DELAY), policy="switchml")
    plan = twin(scenario)
    a, b = plan.jobs
    assert [job.hosts for job in plan.jobs] == list(places(scenario).values()) == [(0, 1, 2), (3, 4, 5, 6)]
    assert [job.window for job in plan.jobs] == [scenario.window(spec) for spec in scenario.jobs] == [8, 8]
    assert [job.pool for job in plan.jobs] == list(scenario.pools.values())
    assert [bucket.bytes for bucket in a.buckets] == [4 * 167_178]
    assert (b.iterations, b.submit_ns) == (4, 500_000_000)
    # A frame of 322 bytes takes 8 * 322 / 5e6 s.
    wire_bits = 8 * (322 + 24)
    assert wire_bits / plan.fabric.graph.cables[0].link.rate_bps == pytest.approx(8 * 322 / 5e6)
    assert plan.fabric.graph.cables[0].link.delay_ns == 5_000_000
    assert plan.timers.rto_floor_ns == plan.timers.rto_initial_ns == RESEND_FLOOR_NS


def test_a_twin_computes_as_long_and_is_as_urgent_as_was_measured(tmp_path: Path) -> None:
    a, b = twin(load(tmp_path)).jobs
    assert a.buckets[0].forward_ns + a.buckets[0].backward_ns == pytest.approx(12e6, abs=10)
    assert a.buckets[0].backward_ns == pytest.approx(2 * a.buckets[0].forward_ns, rel=0.01)
    assert (a.jitter, b.jitter) == (0.5, 0.25)
    assert a.priority.tolist() == [[1], [2], [3]]
    assert b.priority.tolist() == [[9], [8], [7], [6]]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            'model = "cnn"\nquantisation = "fixed"',
            'model = "cnn"',
            "job b: quantisation: 'adaptive'; allowed: fixed",
        ),
        ('model = "cnn"', 'model = "cnn"\ntransport = "gloo"', "job b: transport: 'gloo'; allowed: ina"),
        ("iterations = 3", "iterations = 1", "job a: iterations: 1; allowed: 2 and more"),
        ('model = "mlp"', 'model = "mlp"\nbucket_cap_mb = 0.1', "job a: 2 buckets; allowed: one"),
        ("[[jobs]]", '[[faults]]\nlink = "all"\nwhere = "switch"\nloss = 0.1\n[[jobs]]', "faults[0].where: 'switch'"),
    ],
)
def test_what_has_no_counterpart_in_virtual_time_is_refused(tmp_path: Path, before: str, after: str, said: str) -> None:
    scenario = load(tmp_path, TWO.replace(before, after, 1))
    with pytest.raises(ScenarioError, match=r"two(: | in virtual time: |-virtual: )") as refused:
        twin(scenario)
    assert said in str(refused.value)


def test_the_experiments_own_scenarios_have_twins() -> None:
    paths = sorted(reality.SCENARIOS.glob("*.toml"))
    assert [path.stem for path in paths] == ["contended", "crowded", "roomy"]
    for path in paths:
        scenario = Scenario.load(path, check_live)
        assert scenario.name == path.stem
        twin(scenario, {job.name: Measured(0.01, 0.1, (1,) * job.iterations) for job in scenario.jobs})


# Calibration

FRAGMENTS = 4
ITERATION_NS = 100_000_000


def frame(seq: int, priority: int = 0) -> bytes:
    packet = np.zeros(1, packet_dtype(64))
    packet["seq"], packet["priority"] = seq, priority
    ports = ESA_PORT.to_bytes(2, "big") * 2
    return bytes(ENCAPSULATION_BYTES - 8) + ports + bytes(4) + packet.tobytes()


def capture(folder: Path, rank: int, pauses_ns: list[int], iterations: int) -> None:
    """One warm-up iteration and `iterations` more; the pause before iteration i is pauses_ns[i]."""
    (folder / CAPTURES).mkdir(parents=True, exist_ok=True)
    port = 1 + rank
    with (
        PcapWriter(folder / CAPTURES / f"esa7p{port}_in.pcap") as sent,
        PcapWriter(folder / CAPTURES / f"esa7p{port}_out.pcap") as results,
    ):
        sent.write(0, b"something else")
        for i in range(iterations + 1):
            start_ns = 1_000_000_000 + i * ITERATION_NS
            for k in range(FRAGMENTS):
                seq = i * FRAGMENTS + k
                sent.write(start_ns + k, frame(seq, priority=10 * i + rank))
                results.write(start_ns + ITERATION_NS - (pauses_ns[i] if i < len(pauses_ns) else 1) - 3 + k, frame(seq))


def test_pauses_and_priorities_are_read_from_captures(tmp_path: Path) -> None:
    scenario = load(tmp_path)
    # Warming up takes 9 ms and does not count; the training's pauses are 2 and 4 ms, and 2 and 6 ms.
    capture(tmp_path, 0, [9_000_000, 2_000_000, 4_000_000], 3)
    capture(tmp_path, 1, [9_000_000, 2_000_000, 6_000_000], 3)
    measured = calibration(tmp_path, scenario, 0, FRAGMENTS)
    each_ms = np.array([2, 4, 2, 6])
    assert measured.computing_s == pytest.approx(each_ms.mean() / 1e3)
    assert measured.jitter == pytest.approx(np.sqrt(3) * each_ms.std() / each_ms.mean())
    assert measured.priority == (11, 21, 31)
    times, packets = read_capture(tmp_path / CAPTURES / "esa7p1_in.pcap", 64)
    assert packets["seq"].tolist() == list(range(4 * FRAGMENTS)), "what is no ESA packet is left out"
    assert times[0] == 1_000_000_000


def test_captures_that_lack_something_are_refused(tmp_path: Path) -> None:
    scenario = load(tmp_path)
    with pytest.raises(CalibrationError, match="0 captures of port 1, in"):
        calibration(tmp_path, scenario, 0, FRAGMENTS)
    capture(tmp_path, 0, [], 1)
    with pytest.raises(CalibrationError, match="port 1 has not seen 3 iterations of job a"):
        calibration(tmp_path, scenario, 0, FRAGMENTS)


# Mininet


def test_links_save_two_frames_in_the_block_and_mininets_own_burst_after_it() -> None:
    from mininet.link import TCIntf

    def commands() -> str:
        interface = TCIntf.__new__(TCIntf)  # as it is before it has a cable
        return "; ".join(interface.bwCmds(bw=5, use_tbf=True, latency_ms=100)[0])

    with shallow_buckets():
        assert f"burst {BURST_BYTES} " in commands()
    assert f"burst {BURST_BYTES}" not in commands()
    assert reality.MININETS_BURST in commands()


def esa_reality(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["reality", *map(str, arguments)])


def test_bad_input_is_refused_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    path.write_text(TWO.replace("[[jobs]]", '[[faults]]\nlink = "all"\nwhere = "switch"\nloss = 0.1\n[[jobs]]', 1))
    results = tmp_path / "results"
    refused = esa_reality(path, "--results", results)
    assert (refused.exit_code, refused.stderr) == (
        2,
        "esa: two in virtual time: faults[0].where: 'switch' is for real switches; allowed: 'hosts'\n",
    )
    path.write_text(TWO)
    refused = esa_reality(path, "--results", results, "--policy", "esa,fast")
    assert refused.exit_code == 2
    assert "unknown policy 'fast'" in refused.stderr
    assert not results.exists()


@pytest.mark.timeout(600)  # on a cold machine it compiles the simulator
def test_a_scenario_in_both_worlds(root: None, tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(
        'name = "small"\n[network]\nrate = "50 Mb/s"\n'
        '[[jobs]]\nname = "mlp"\nmodel = "mlp"\niterations = 3\nwindow = 64\nquantisation = "fixed"\n'
    )
    # So wide that only what was not computed at all fails: how fast this machine is, is not the question.
    done = esa_reality(path, "--policy", "esa", "--within", "0.99", "--results", tmp_path / "results")
    (folder,) = (tmp_path / "results").iterdir()
    (figures,) = json.loads((folder / "reality.json").read_text())
    (esa,) = figures["policies"]
    assert [esa[world]["jobs"][0]["fragments"] for world in reality.WORLDS] == [2 * 3 * 2613] * 2
    assert len(figures["measured"]["mlp"]["priority"]) == 3
    assert 0 < figures["measured"]["mlp"]["computing_s"] < esa["mininet"]["mean_jct_s"]
    assert (done.exit_code == 0) == (figures["disagreements"] == [])
    assert "| esa | " in (folder / "reality.md").read_text()
    assert not list(folder.rglob("*.pcap"))
