"""A scenario that cannot be run live is refused with one line that names the key and what is allowed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from esa.job import Pool
from esa.net.impairment import Impairment
from experiments.live.check import check_live
from experiments.live.faults import host_faults
from experiments.live.links import link_rates_mbps, queue_bytes
from experiments.live.places import places
from experiments.live.timers import RESEND_FLOOR_NS, server_timers, worker_timers
from experiments.specs.backends import Live, Virtual
from experiments.specs.former_keys import REPLACED
from experiments.specs.jobs import JobSettings
from experiments.specs.network import Network
from experiments.specs.rows import side_by_side
from experiments.specs.scenario import Scenario, sums_by
from experiments.specs.timers import TimerSpec
from experiments.specs.toml_files import ScenarioError
from experiments.virtual.check import check_virtual
from experiments.virtual.translate import plan_of
from tests.experiments.texts import FAULT, LIVE

SCENARIOS = Path(__file__).parents[2] / "experiments" / "scenarios"


def load(tmp_path: Path, text: str, **overrides: object) -> Scenario:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return Scenario.load(path, check_live, **overrides)


def test_the_scenarios_here_are_good() -> None:
    files = [*SCENARIOS.glob("*.toml"), *SCENARIOS.glob("reality/*.toml")]
    assert {file.stem for file in files} >= {"default", "contention", "lossy", "lossy-short", "roomy", "contended"}
    for file in files:
        for policy in ("esa", "atp", "switchml", "ps"):
            Scenario.load(file, check_live, policy=policy)
            plan_of(Scenario.load(file, check_virtual, policy=policy))
        if file.stem not in ("contended", "failures"):  # delayed links are not gloo's, and it has no PS that could die
            Scenario.load(file, check_live, **sums_by("gloo"))


def test_bmv2_has_no_faults_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/true")
    bmv2 = {"switch": "bmv2"}
    load(tmp_path, LIVE + FAULT, live=bmv2)
    with pytest.raises(ScenarioError, match=r"faults\[0\]\.where: 'bmv2' has no faults; allowed: 'hosts'"):
        load(tmp_path, LIVE + FAULT + 'where = "switch"\n', live=bmv2)


def test_later_faults_replace_the_keys_they_set(tmp_path: Path) -> None:
    text = LIVE + '[[faults]]\nlink = "all"\nduplicate = 0.2\n' + FAULT
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
    text = LIVE.replace("window = 48", "pool = { base = 0, size = 64 }")
    text = text.replace("window = 16", "pool = { base = 32, size = 32 }")
    load(tmp_path, text, policy="esa")  # shared pools may
    with pytest.raises(ScenarioError, match=r"jobs\[1\]\.pool: .*rows 32\.\.63 overlap .*rows 0\.\.63 of job a"):
        load(tmp_path, text, policy="switchml")


def test_missing_file_and_broken_toml_are_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"cannot read .*absent\.toml: No such file"):
        Scenario.load(tmp_path / "absent.toml")
    with pytest.raises(ScenarioError, match=r"scenario\.toml: not TOML: .*line 1"):
        load(tmp_path, "name = \n")


@pytest.mark.parametrize(
    ("key", "refused"),
    [
        ("span = 47", "jobs[0].span: 47; allowed: from the window, 48"),
        ("least_window = 49", "jobs[0].least_window: 49; allowed: up to the window, 48"),
    ],
)
def test_how_far_ahead_and_how_few_go_by_the_window(tmp_path: Path, key: str, refused: str) -> None:
    text = LIVE.replace("window = 48", f"window = 48\n{key}").replace("aggregators = 64", "aggregators = 1024")
    with pytest.raises(ScenarioError, match=re.escape(refused)):
        load(tmp_path, text, policy="esa")


def test_bmv2_that_is_not_installed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ScenarioError, match=r"live.switch: 'bmv2' needs simple_switch_grpc on the PATH"):
        load(tmp_path, LIVE, live={"switch": "bmv2"})


def test_command_line_overrides_the_file(tmp_path: Path) -> None:
    scenario = load(tmp_path, LIVE, policy="atp", seed=7, live=None)
    assert (scenario.policy, scenario.seed, scenario.live.switch) == ("atp", 7, "embedded")


def test_the_resolved_file_gives_the_same_scenario(tmp_path: Path) -> None:
    text = LIVE.replace('rate = "20 Mb/s"', 'rate = "20 Mb/s"\nrates = { a-0 = "5 Mb/s" }')
    scenario = load(tmp_path, text.replace("window = 48", "pool = { base = 64, size = 64 }"))
    assert load(tmp_path, scenario.to_toml()) == scenario


def test_shared_pools_are_one_and_slices_share_its_rows(tmp_path: Path) -> None:
    atp = load(tmp_path, LIVE, policy="atp")
    assert atp.pools == {"a": Pool(base=0, size=64), "b": Pool(base=0, size=64)}
    switchml = load(tmp_path, LIVE, policy="switchml")
    assert switchml.pools == {"a": Pool(base=0, size=32), "b": Pool(base=32, size=32)}


def test_placed_pools_are_side_by_side_while_there_is_room_for_their_windows(tmp_path: Path) -> None:
    # Windows of 48 and 16, and 64 rows. In a round trip a link sends 5 fragments.
    cut = load(tmp_path, LIVE, policy="esa")
    assert [cut.window(job) for job in cut.jobs] == [32, 16]
    assert cut.pools == {"a": Pool(base=0, size=32), "b": Pool(base=32, size=32)}
    far = load(tmp_path, LIVE.replace('rate = "20 Mb/s"', 'rate = "20 Mb/s"\ndelay_us = 1000.0'), policy="esa")
    assert [far.window(job) for job in far.jobs] == [48, 16]  # half of either would leave links idle
    assert far.pools == {"a": Pool(base=0, size=64), "b": Pool(base=0, size=16)}
    ample = load(tmp_path, LIVE.replace("aggregators = 64", "aggregators = 1024"), policy="esa")
    assert ample.pools == {"a": Pool(base=0, size=512), "b": Pool(base=512, size=128)}


@pytest.mark.parametrize(
    ("windows", "rows", "least", "cut"),
    [
        ([32, 32], 64, 1, [32, 32]),
        ([48, 16], 64, 8, [32, 16]),
        ([128, 64, 64], 128, 8, [32, 32, 64]),
        ([128] * 8, 512, 332, [128] * 8),
        ([48, 16], 32, 17, [32, 16]),
        ([3, 3], 1, 1, [1, 1]),
    ],
)
def test_windows_are_cut_until_each_has_rows_of_its_own_or_not_at_all(
    windows: list[int], rows: int, least: int, cut: list[int]
) -> None:
    assert side_by_side(windows, rows, least) == cut


def test_a_window_fits_its_pool(tmp_path: Path) -> None:
    # A slice holds two versions of each fragment in flight.
    windows = {
        policy: [scenario.window(job) for job in scenario.jobs]
        for policy in ("atp", "switchml", "ps")
        for scenario in [load(tmp_path, LIVE.replace("aggregators = 64", "aggregators = 32"), policy=policy)]
    }
    assert windows == {"atp": [32, 16], "switchml": [8, 8], "ps": [48, 16]}


def test_gloo_takes_no_rows(tmp_path: Path) -> None:
    scenario = load(tmp_path, LIVE, **sums_by("gloo"))
    assert scenario.method == "gloo"
    assert [scenario.window(job) for job in scenario.jobs] == [48, 16]
    assert load(tmp_path, LIVE, **sums_by("atp")).method == "atp"
    one = load(tmp_path, LIVE.replace("window = 48", 'transport = "gloo"'))
    assert [scenario.pool_kind(job) for scenario in [one] for job in one.jobs] == ["none", "placed"]


def test_links_have_the_rates_that_are_asked_of_them(tmp_path: Path) -> None:
    text = LIVE.replace("[network]", '[network]\nserver_rate = "40 Mb/s"\nrates = { a-0 = "5 Mb/s", b-ps = "6 Mb/s" }')
    scenario = load(tmp_path, text)
    assert scenario.host_names() == ["a-0", "a-1", "a-ps", "b-0", "b-1", "b-ps"]
    assert link_rates_mbps(scenario) == [5.0, 20.0, 40.0, 20.0, 20.0, 6.0]
    assert queue_bytes(scenario) == 512 * 1024
    assert queue_bytes(load(tmp_path, LIVE.replace("[network]", "[network]\nqueue_packets = 10"))) == 3220


def test_jobs_on_hosts_that_are_counted_take_what_is_free(tmp_path: Path) -> None:
    text = LIVE.replace("[network]", "[network]\nhosts = 8").replace("window = 16", "hosts = [5, 1, 2]")
    assert places(load(tmp_path, text)) == {"a": (0, 3, 4), "b": (5, 1, 2)}
    assert load(tmp_path, text).host_names()[-1] == "host-7"
    with pytest.raises(ScenarioError, match=r"jobs\[1\]\.hosts: 8; allowed: 0 to 7"):
        load(tmp_path, text.replace("[5, 1, 2]", "[8, 1, 2]"))
    shared = text.replace("window = 48", "hosts = [0, 1, 3]")
    assert places(load(tmp_path, shared)) == {"a": (0, 1, 3), "b": (5, 1, 2)}  # and the link of host 1
    with pytest.raises(ScenarioError, match=r"jobs\[1\]\.hosts: 2 has another job's PS"):
        load(tmp_path, text.replace("window = 48", "hosts = [0, 1, 2]"))


def test_gloo_needs_no_host_for_a_ps(tmp_path: Path) -> None:
    gloo = LIVE.replace('name = "two"', 'name = "two"\ntransport = "gloo"')
    shared = gloo.replace('rate = "20 Mb/s"', 'rate = "20 Mb/s"\nhosts = 4\nserver_rate = "40 Mb/s"')
    scenario = load(tmp_path, shared)
    assert places(scenario) == {"a": (0, 1), "b": (2, 3)}
    assert link_rates_mbps(scenario) == [20.0] * 4
    named = shared.replace("window = 16", "hosts = [0, 3, 1]")  # 1 would be its PS's
    assert places(load(tmp_path, named)) == {"a": (1, 2), "b": (0, 3)}
    own = load(tmp_path, gloo)
    assert places(own) == {"a": (0, 1), "b": (3, 4)}
    assert own.host_names()[3] == "b-0"
    mixed = load(tmp_path, LIVE.replace("window = 48", 'transport = "gloo"'))
    assert places(mixed) == {"a": (0, 1), "b": (3, 4, 5)}


def test_a_delay_of_cables_is_the_hosts_faults_and_its_own(tmp_path: Path) -> None:
    scenario = load(tmp_path, LIVE.replace("[network]", "[network]\ndelay_us = 5000.0") + FAULT + "delay_ms = 2.0\n")
    a0, a1 = host_faults(scenario, "a-0"), host_faults(scenario, "a-1")
    assert a0 is not None
    assert a1 is not None
    assert a0.to_switch == Impairment(loss=0.1, delay_ms=7.0)
    assert a0.from_switch == a1.to_switch == a1.from_switch == Impairment(delay_ms=5.0)
    assert a0.seed != a1.seed
    assert host_faults(load(tmp_path, LIVE), "a-0") is None


def test_timers_are_the_real_endpoints_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    text = LIVE.replace(
        "[network]", "[timers]\nrto_ceiling_us = 5e6\npatience_floor_us = 3000.0\nask_ahead = 2\n[network]"
    )
    spec = load(tmp_path, text).timers
    workers, server = worker_timers(spec), server_timers(spec)
    assert (workers.rto_floor_ns, workers.rto_initial_ns, workers.rto_ceiling_ns) == (
        RESEND_FLOOR_NS, RESEND_FLOOR_NS, 5_000_000_000,
    )  # fmt: skip
    assert (server.patience_floor_ns, server.ask_ahead) == (3_000_000, 2)


def test_large_scenarios_are_refused_live_with_the_reason() -> None:
    refused = {
        "contention": "network.rate: 100 Gb/s; allowed: at most 1 Gb/s live",
        "leaf-spine": "network.rate: 100 Gb/s; allowed: at most 1 Gb/s live",
    }
    for name, reason in refused.items():
        path = SCENARIOS / "sim" / f"{name}.toml"
        with pytest.raises(ScenarioError) as found:
            Scenario.load(path, check_live)
        assert str(found.value) == f"{path}: {reason}"


# Every key that scenarios once had, and the one that its refusal names.
FORMER = {
    "switch": "live.switch",
    "topology": "network.racks",
    "give_up_s": "timers.give_up_s",
    "links": "network",
    "links.worker_mbps": "network.rate",
    "links.server_mbps": "network.server_rate",
    "links.hosts": "network.rates",
    "wire_lanes": "lanes",
    "sample_us": "virtual.sample_us",
    "limit_s": "virtual.limit_s",
    "hosts": "virtual",
    "hosts.send_ns": "virtual.send_ns",
    "hosts.receive_ns": "virtual.receive_ns",
    "hosts.server_ns": "virtual.server_ns",
    "network.gbps": "network.rate",
    "network.spine_gbps": "network.spine_rate",
    "network.switch_ns": "virtual.switch_ns",
    "jobs.overlap": "order",
    "job_defaults.overlap": "order",
}
JOB = {"name": "a", "model": "mlp"}


def former(key: str) -> dict[str, Any]:
    """A scenario with that key."""
    scenario: dict[str, Any] = {"name": "x", "jobs": [JOB]}
    table, _, name = key.rpartition(".")
    if table == "jobs":
        return scenario | {"jobs": [JOB | {name: 1}]}
    if table:
        return scenario | {table: {name: 1}}
    return scenario | {name: {} if key in ("links", "hosts") else 1}


def refusal(tmp_path: Path, scenario: dict[str, Any]) -> str:
    with pytest.raises(ScenarioError) as found:
        load(tmp_path, tomli_w.dumps(scenario))
    assert "\n" not in str(found.value)
    return str(found.value).partition("scenario.toml: ")[2]


def test_every_former_key_is_tried() -> None:
    assert set(FORMER) == set(REPLACED)


@pytest.mark.parametrize("key", FORMER)
def test_former_keys_are_refused_with_what_replaced_them(tmp_path: Path, key: str) -> None:
    told = refusal(tmp_path, former(key))
    where = key.replace("jobs.", "jobs[0].")
    assert re.match(rf"{re.escape(where)}: is no key any more; replaced by {re.escape(FORMER[key])}\b", told)


@pytest.mark.parametrize("key", FORMER)
def test_what_replaced_a_former_key_is_one(key: str) -> None:
    fields = Scenario.model_fields | JobSettings.model_fields
    section, _, name = FORMER[key].partition(".")
    assert section in fields
    if name:
        parts = {"network": Network, "timers": TimerSpec, "live": Live, "virtual": Virtual}
        assert name in parts[section].model_fields


def test_a_former_keys_own_successor_comes_before_its_tables(tmp_path: Path) -> None:
    told = refusal(tmp_path, former("links.worker_mbps") | {"give_up_s": 30.0})
    assert told.startswith("links.worker_mbps: is no key any more; replaced by network.rate")


def test_no_lanes_are_refused_with_what_replaced_them(tmp_path: Path) -> None:
    told = refusal(tmp_path, {"name": "x", "lanes": 0, "jobs": [JOB]})
    assert told.startswith("lanes: 0; replaced by virtual.carry_gradients")
