"""Two racks of two under a spine train on Mininet, and their weights are those of one rack, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest
from rich.console import Console

from esa.report import Summary, load_run
from experiments.live.check import check_live
from experiments.live.run import run
from experiments.specs.scenario import Scenario
from tests.experiments.test_run import leftovers, one

pytestmark = pytest.mark.timeout(480)  # a first run compiles

SHORT = """
name = "short"
[network]
racks = [2, 2, 1]
rate = "50 Mb/s"
[[jobs]]
name = "cnn"
model = "cnn"
workers = 4
iterations = 5
batch_size = 8
window = 32
"""
RACKS = "racks = [2, 2, 1]"
PACKETS = ("gradients", "resends", "evicted", "reminders", "collisions", "denied")


def load(tmp_path: Path, text: str = SHORT, **overrides: object) -> Scenario:
    path = tmp_path / "short.toml"
    path.write_text(text)
    return Scenario.load(path, check_live, **overrides)


def train(scenario: Scenario, results: Path) -> tuple[Summary, Path]:
    summary, folder = run(scenario, results, Console(quiet=True))
    assert summary.incomplete is None
    assert leftovers(os.getpid(), results) == []
    return summary, folder


def weights(folder: Path) -> str:
    """A digest of the final weights, the same of every rank."""
    (digest,) = {record["weights_sha256"] for record in load_run(folder).of("end")}
    return str(digest)


@pytest.fixture(scope="module")
def of_one_rack(root: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights that the same workers in one rack end with, under a policy that adds nowhere but at the PS."""
    folder = tmp_path_factory.mktemp("one")
    _, results = train(load(folder, SHORT.replace(RACKS, "hosts = 5"), policy="ps"), folder)
    return weights(results)


def check_reduction(summary: Summary) -> None:
    """Two workers' packets become one of their rack's; what was sent again goes past the rows, and perhaps its sum."""
    assert summary.tiers is not None
    (job,), tier = summary.jobs, summary.tiers["cnn"]
    assert job.fragments <= tier.from_workers <= job.fragments + job.resends
    assert job.fragments // 2 - job.resends <= tier.to_root <= job.fragments // 2 + 2 * job.resends
    assert tier.reduction == tier.from_workers / tier.to_root
    if job.resends < job.fragments / 50:
        assert tier.reduction > 1.8


def test_two_racks_train_as_one_and_send_the_root_a_half(root: None, tmp_path: Path, of_one_rack: str) -> None:
    two, folder = train(load(tmp_path), tmp_path)
    assert weights(folder) == of_one_rack
    assert two.topology == "leaf-spine"
    assert two.tiers is not None
    assert two.counters_by_switch is not None
    check_reduction(two)
    racks = {name: counted["cnn"] for name, counted in two.counters_by_switch.items()}
    assert set(racks) == {"rack-0", "rack-1", "rack-2", "spine-0"}
    assert racks["rack-0"]["completed"] > 0 < racks["spine-0"]["completed"]
    assert racks["rack-2"]["seated"] == 0, "the PS's switch adds nothing"
    for name in PACKETS:
        assert two.switch_counters["cnn"][name] == sum(counted[name] for counted in racks.values())
    written = json.loads((folder / "summary.json").read_text())["tiers"]["cnn"]
    assert written == two.tiers["cnn"].model_dump()


def test_killed_switches_come_back_and_the_weights_are_the_same(root: None, tmp_path: Path, of_one_rack: str) -> None:
    over = threading.Event()

    def said(*words: str) -> bool:
        return any(all(word in path.read_text() for word in words) for path in tmp_path.glob("*-esa-*/records.jsonl"))

    def wait_for(*words: str) -> bool:
        while not said(*words):
            if over.wait(0.02):
                return False
        return True

    def kill(port: str) -> None:
        os.kill(one(f"0@esa{os.getpid()}{port}\0", "esa.switch"), signal.SIGKILL)

    def kill_both() -> None:
        if not wait_for('"iteration"'):
            return
        rank = one(str(tmp_path), "experiments.live.train:begin")
        os.kill(rank, signal.SIGSTOP)  # so that the run is not over when the second switch is killed
        try:
            kill("p0")  # what is behind port 0 of rack-0; interfaces are numbered switch by switch
            if wait_for('"restored"'):
                kill("p8")  # of the spine
        finally:
            os.kill(rank, signal.SIGCONT)

    killer = threading.Thread(target=kill_both)
    killer.start()
    try:
        two, folder = train(load(tmp_path), tmp_path)
    finally:
        over.set()
        killer.join()
    assert weights(folder) == of_one_rack
    assert [record["what"] for record in load_run(folder).of("restart")] == ["switch rack-0", "switch spine-0"]
    assert [record["switch"] for record in load_run(folder).of("restored")] == ["rack-0", "spine-0"]
    assert two.total("completed") > 0


@pytest.mark.bmv2
def test_two_racks_train_on_bmv2(root: None, tmp_path: Path, of_one_rack: str) -> None:
    two, folder = train(load(tmp_path, live={"switch": "bmv2"}), tmp_path)
    assert weights(folder) == of_one_rack
    check_reduction(two)
