"""A scenario that cannot be run is refused with one line that names the key and what is allowed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from esa.job import Pool
from esa.net.impairment import Impairment
from experiments.specs.scenario import Scenario, ScenarioError

SCENARIOS = Path(__file__).parents[2] / "experiments" / "scenarios"

GOOD = """
name = "two"
aggregators = 64
[links]
worker_mbps = 20.0
[[jobs]]
name = "a"
model = "mlp"
iterations = 10
window = 48
[[jobs]]
name = "b"
model = "cnn"
iterations = 10
window = 16
"""


def load(tmp_path: Path, text: str, **overrides: object) -> Scenario:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return Scenario.load(path, **overrides)


def test_the_scenarios_here_are_good() -> None:
    files = sorted(SCENARIOS.glob("*.toml"))
    assert {file.stem for file in files} >= {"default", "contention"}
    for file in files:
        for policy in ("esa", "atp", "switchml", "ps", "gloo"):
            Scenario.load(file, policy=policy)


@pytest.mark.parametrize(
    ("old", "new", "key", "allowed"),
    [
        ('name = "two"', 'name = "two"\ncolour = 1', "colour", "policy, switch"),
        ("window = 48", "windows = 48", "jobs[0].windows", "window"),
        ("worker_mbps = 20.0", "worker_mpbs = 20.0", "links.worker_mpbs", "worker_mbps"),
        ("worker_mbps = 20.0", "worker_mbps = 2000.0", "links.worker_mbps", "1000"),
        ("worker_mbps = 20.0", "hosts = { a-9 = 5.0 }", "links.hosts.a-9", "a-0, a-1, a-ps"),
        ('name = "two"', 'name = "two"\npolicy = "best"', "policy", "esa, atp, switchml, ps"),
        ('name = "two"', 'name = "two"\nswitch = "tofino"', "switch", "embedded, bmv2"),
        ('name = "two"', 'name = "two"\nlanes = 128', "lanes", "64, 256"),
        ('name = "two"', 'name = "two"\nlanes = 0', "lanes", "64, 256"),
        ('name = "two"', 'name = "two"\ntopology = "ring"', "topology", "single-rack"),
        ('model = "mlp"', 'model = "gpt"', "jobs[0].model", "mlp, cnn"),
        ("window = 48", 'policy = "best"', "jobs[0].policy", "esa, atp, switchml, ps"),
        ("window = 48", "workers = 33", "jobs[0].workers", "32"),
        ("window = 48", "workers = 0", "jobs[0].workers", "1"),
        ("window = 48", "batch_size = 1000", "jobs[0].batch_size", "1347"),
        ("window = 48", 'quantisation = "float"', "jobs[0].quantisation", "fixed"),
        ("window = 48", "pool = { base = 0, size = 24 }", "jobs[0].pool.size", "power of two"),
        ("window = 48", "pool = { base = 8192, size = 64 }", "jobs[0].pool", "8192 rows"),
        ("aggregators = 64", "aggregators = 100", "aggregators", "powers of two"),
        ("aggregators = 64", "aggregators = 16384", "aggregators", "1 to 8192"),
        ('name = "b"', 'name = "a"', "jobs", "once"),
        ('name = "two"', "", "name", "missing"),
    ],
)
def test_bad_keys_are_named_with_what_is_allowed(tmp_path: Path, old: str, new: str, key: str, allowed: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        load(tmp_path, GOOD.replace(old, new, 1))
    message = str(refused.value)
    assert "\n" not in message
    assert f"scenario.toml: {key}:" in message
    assert allowed in message


FAULT = """
[[faults]]
link = "a-0"
direction = "to_switch"
loss = 0.1
"""


@pytest.mark.parametrize(
    ("old", "new", "key", "allowed"),
    [
        ("loss = 0.1", "loss = 1.5", "faults[0].loss", "1"),
        ("loss = 0.1", "loss = -0.5", "faults[0].loss", "0"),
        ("loss = 0.1", "duplicate = nan", "faults[0].duplicate", "finite"),
        ("loss = 0.1", "delay_ms = -1", "faults[0].delay_ms", "0"),
        ("loss = 0.1", "jitter_ms = -1", "faults[0].jitter_ms", "0"),
        ("loss = 0.1", "burst_leave = 0", "faults[0].burst_leave", "0"),
        ("loss = 0.1", "lose = 0.1", "faults[0].lose", "loss, duplicate, reorder"),
        ('link = "a-0"', 'link = "c-0"', "faults[0].link", "all, a-0, a-1, a-ps"),
        ('link = "a-0"', "", "faults[0].link", "missing"),
        ('"to_switch"', '"up"', "faults[0].direction", "to_switch"),
        ("loss = 0.1", 'where = "cable"', "faults[0].where", "hosts"),
    ],
)
def test_faults_that_cannot_be_are_refused(tmp_path: Path, old: str, new: str, key: str, allowed: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        load(tmp_path, GOOD + FAULT.replace(old, new, 1))
    assert "\n" not in str(refused.value)
    assert f"scenario.toml: {key}:" in str(refused.value)
    assert allowed in str(refused.value)


def test_bmv2_has_no_faults_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/true")
    load(tmp_path, GOOD + FAULT, switch="bmv2")
    with pytest.raises(ScenarioError, match=r"faults\[0\]\.where: 'bmv2' has no faults; allowed: 'hosts'"):
        load(tmp_path, GOOD + FAULT + 'where = "switch"\n', switch="bmv2")


def test_later_faults_replace_the_keys_they_set(tmp_path: Path) -> None:
    text = GOOD + '[[faults]]\nlink = "all"\nduplicate = 0.2\n' + FAULT
    scenario = load(tmp_path, text, loss=None)
    a0, a1 = scenario.link_faults("a-0", "hosts"), scenario.link_faults("a-1", "hosts")
    assert a0 is not None
    assert a1 is not None
    assert a0.to_switch == Impairment(duplicate=0.2, loss=0.1)
    assert a0.from_switch == a1.to_switch == Impairment(duplicate=0.2)
    assert a0.seed != a1.seed
    assert scenario.link_faults("a-0", "switch") is None
    assert load(tmp_path, scenario.to_toml()) == scenario
    lossy = load(tmp_path, text, loss=0.3).link_faults("a-0", "hosts")
    assert lossy is not None
    assert lossy.to_switch == Impairment(duplicate=0.2, loss=0.3)
    with pytest.raises(ScenarioError, match="loss: 2; allowed: 0 to 1"):
        load(tmp_path, text, loss=2.0)


def test_slices_that_overlap_are_refused(tmp_path: Path) -> None:
    text = GOOD.replace("window = 48", "pool = { base = 0, size = 64 }")
    text = text.replace("window = 16", "pool = { base = 32, size = 32 }")
    load(tmp_path, text, policy="esa")  # shared pools may
    with pytest.raises(ScenarioError, match=r"jobs\[1\]\.pool: .*rows 32\.\.63 overlap .*rows 0\.\.63 of job a"):
        load(tmp_path, text, policy="switchml")


def test_missing_file_and_broken_toml_are_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"cannot read .*absent\.toml: No such file"):
        Scenario.load(tmp_path / "absent.toml")
    with pytest.raises(ScenarioError, match=r"scenario\.toml: not TOML: .*line 1"):
        load(tmp_path, "name = \n")


def test_bmv2_that_is_not_installed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ScenarioError, match=r"switch: 'bmv2' needs simple_switch_grpc on the PATH"):
        load(tmp_path, GOOD, switch="bmv2")


def test_command_line_overrides_the_file(tmp_path: Path) -> None:
    scenario = load(tmp_path, GOOD, policy="atp", seed=7, switch=None)
    assert (scenario.policy, scenario.seed, scenario.switch) == ("atp", 7, "embedded")


def test_the_resolved_file_gives_the_same_scenario(tmp_path: Path) -> None:
    text = GOOD.replace("worker_mbps = 20.0", "hosts = { a-0 = 5.0 }")
    scenario = load(tmp_path, text.replace("window = 48", "pool = { base = 64, size = 64 }"))
    assert load(tmp_path, scenario.to_toml()) == scenario


def test_shared_pools_are_one_and_slices_share_its_rows(tmp_path: Path) -> None:
    esa = load(tmp_path, GOOD, policy="esa")
    assert esa.pools() == {"a": Pool(base=0, size=64), "b": Pool(base=0, size=64)}
    switchml = load(tmp_path, GOOD, policy="switchml")
    assert switchml.pools() == {"a": Pool(base=0, size=32), "b": Pool(base=32, size=32)}


def test_a_window_fits_its_pool(tmp_path: Path) -> None:
    # A slice holds two versions of each fragment in flight.
    windows = {
        policy: [scenario.window(job) for job in scenario.jobs]
        for policy in ("esa", "switchml", "ps")
        for scenario in [load(tmp_path, GOOD.replace("aggregators = 64", "aggregators = 32"), policy=policy)]
    }
    assert windows == {"esa": [32, 16], "switchml": [8, 8], "ps": [48, 16]}
