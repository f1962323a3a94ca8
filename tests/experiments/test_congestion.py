"""Scenarios with marks: what becomes of the keys, the two that `esa congestion` runs, and one on Mininet."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from rich.console import Console

from experiments.common.machine_load import MachineLoad, runnable_tasks
from experiments.live.check import check_live
from experiments.live.run import run
from experiments.specs.scenario import Scenario
from experiments.specs.toml_files import ScenarioError
from experiments.studies.congestion import MOST_LOSS, SCENARIOS, Figure, figures, jain
from experiments.virtual.check import check_virtual
from experiments.virtual.run import evaluate
from experiments.virtual.translate import plan_of
from tests.experiments.texts import LIVE

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

MARKED = LIVE.replace("[network]", "[network]\necn_packets = 9")


def test_windows_follow_marks_where_a_scenario_has_them_unless_a_job_says_otherwise() -> None:
    plain, marked = Scenario.parse(LIVE), Scenario.parse(MARKED.replace("window = 16", 'congestion = "dctcp"'))
    assert [plain.congestion(job) for job in plain.job_specs] == ["none", "none"]
    assert [marked.congestion(job) for job in marked.job_specs] == ["aimd", "dctcp"]
    assert [job.congestion for job in plan_of(marked).jobs] == ["aimd", "dctcp"]


def test_a_flow_has_the_congestion_control_that_it_names() -> None:
    fair = (SCENARIOS / "fairness.toml").read_text()
    assert [flow.congestion for flow in plan_of(Scenario.parse(fair)).flows] == ["reno"]
    assert [flow.congestion for flow in plan_of(Scenario.parse(fair.replace('congestion = "reno"', ""))).flows] == [
        "dctcp"
    ]
    constant = fair.replace('to = "host-0"', 'to = "host-0"\nkind = "constant"\nrate = "1 Mb/s"')
    with pytest.raises(ScenarioError, match=r"flows\[0\]\.congestion: 'constant' has none; allowed: with kind"):
        Scenario.parse(constant)


@pytest.mark.slow
def test_both_scenarios_keep_their_limits_in_virtual_time() -> None:
    found = figures(lambda scenario: (evaluate(scenario)[0], None), check_virtual, ways=(True,))
    assert len(found) == 3
    assert all(one.limit is not None and one.holds for one in found), found


def test_a_figure_on_the_wrong_side_of_its_limit_does_not_hold() -> None:
    assert not Figure("lost", 0.002, MOST_LOSS).holds
    assert not Figure("Jain", 0.9, 0.95, at_least=True).holds
    assert Figure("to compare", 0.9).holds


@pytest.mark.slow
def test_a_live_run_s_load_stands_beside_its_figures_and_has_no_limit() -> None:
    found = figures(lambda scenario: (evaluate(scenario)[0], 1.5), check_virtual, ways=(True,))
    loads = [one for one in found if "load" in one.what]
    assert [(one.figure, one.limit) for one in loads] == [(1.5, None)] * 2


def test_the_load_is_of_tasks_that_want_a_core() -> None:
    assert runnable_tasks("cpu 1 2 3\nprocesses 12\nprocs_running 7\nprocs_blocked 1\n") == 7
    began = time.monotonic()
    with MachineLoad() as load:
        while time.monotonic() < began + 0.5:
            pass
    mean = load.mean(began, time.monotonic())
    assert mean is not None
    assert mean > 0, "this thread"
    assert load.mean(began - 2, began - 1) is None


def test_jains_index() -> None:
    assert jain([3.0, 3.0, 3.0]) == pytest.approx(1)
    assert jain([1.0, 0.0]) == pytest.approx(0.5)


def test_marks_and_drops_on_mininet(root: None, tmp_path: Path) -> None:
    """Two jobs, each into a PS of its own whose queue has room for a quarter of its windows; one follows marks."""
    text = """
name = "marks"
policy = "ps"
[network]
rate = "20 Mb/s"
queue_packets = 64
ecn_packets = 16
[job_defaults]
model = "cnn"
iterations = 6
batch_size = 4
window = 128
[[jobs]]
name = "follows"
[[jobs]]
name = "ignores"
congestion = "none"
"""
    path = tmp_path / "marks.toml"
    path.write_text(text)
    summary, _ = run(Scenario.load(path, check_live), tmp_path, Console(quiet=True))
    assert summary.incomplete is None
    assert summary.dropped
    follows, ignores = summary.jobs
    assert follows.marked
    assert ignores.marked
    assert follows.resends < ignores.resends / 2
