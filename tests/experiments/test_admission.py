"""`admission` in a scenario: who may be left without rows, how that is said, and where it is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.report.tables import comparison_table, jct_table
from experiments.specs.scenario import Scenario
from experiments.specs.toml_files import ScenarioError
from experiments.virtual.check import check_virtual
from experiments.virtual.run import evaluate
from experiments.virtual.translate import plan_of

pytestmark = pytest.mark.timeout(600)  # on a cold machine the first test compiles the simulator

SCARCE = """
name = "scarce"
aggregators = 16
virtual.alone = false
[network]
hosts = 20
rate = "100 Gb/s"
[job_defaults]
workers = 4
iterations = 2
window = 64
scale = 0.002
jitter = 0.1
model = "communication-heavy"
[[jobs]]
name = "light"
model = "computation-heavy"
[[jobs]]
name = "a"
[[jobs]]
name = "b"
[[jobs]]
name = "c"
"""
HOST_FAILS = '[[failures]]\nwhat = "host"\nname = "host-0"\nat_s = 1.0\n'


def load(text: str, **overrides: object) -> Scenario:
    path = Path("scenario.toml")
    path.write_text(text)
    return Scenario.load(path, check_virtual, **overrides)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("rows", "admission", "policy", "compares"),
    [
        (16, False, "esa", True),
        (16, True, "esa", False),  # two have their eighths, and two none
        (32, False, "esa", False),
        (16, False, "esa-formula", True),
        (32, False, "esa-formula", False),
    ],
)
def test_jobs_compare_where_they_have_less_than_their_shares(
    rows: int, admission: bool, policy: str, compares: bool
) -> None:
    scenario = load(SCARCE, aggregators=rows, admission=admission, policy=policy)
    assert scenario.compares == compares
    differ = [len(set(job.priority.ravel().tolist())) > 1 for job in plan_of(scenario).jobs]
    assert differ == [compares or policy == "esa-formula"] * 4


def test_where_rows_are_scarce_some_jobs_are_named_that_have_none_and_all_are_faster() -> None:
    summary, _ = evaluate(load(SCARCE))
    every, _ = evaluate(load(SCARCE, admission=False))
    assert summary.unseated == 2
    assert [job.name for job in summary.jobs if job.unseated] == ["light", "c"]
    assert every.unseated is None
    assert "unseated" not in every.as_dict()
    assert summary.mean_jct_s is not None
    assert every.mean_jct_s is not None
    assert summary.mean_jct_s < every.mean_jct_s
    table = jct_table(summary)
    assert "sums by" in table.head
    assert [row[table.head.index("sums by")] for row in table.rows] == ["ring", "esa", "esa", "ring"]
    assert "2 of 4 jobs found no rows" in table.caption
    assert "sums by" not in jct_table(every).head
    assert ["jobs without rows", "2", "-"] in comparison_table([summary, every]).rows


def test_a_share_is_of_the_window_asked_for_and_who_says_its_pool_has_it() -> None:
    assert [job.needs for job in plan_of(load(SCARCE)).jobs] == [8, 8, 8, 8]
    own = SCARCE.replace('name = "b"', 'name = "b"\npool = { base = 0, size = 16 }')
    assert [job.needs for job in plan_of(load(own)).jobs] == [8, 8, 0, 8]
    mixed = SCARCE.replace('name = "b"', 'name = "b"\npolicy = "atp"')
    assert [job.needs for job in plan_of(load(mixed)).jobs] == [8, 8, 0, 8]
    for policy in ("esa-paper", "atp", "switchml", "ps"):
        assert [job.needs for job in plan_of(load(SCARCE, policy=policy)).jobs] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("", 'policy = "atp"\n', "the control plane places no rows of 'atp'; allowed: with 'esa', or false"),
        ("", 'policy = "esa-paper"\n', "the control plane places no rows of 'esa-paper'"),
        ("", 'transport = "gloo"\n', "the control plane places no rows of 'gloo'"),
        ("hosts = 20", "racks = [10, 10]", "rows lie on several switches; allowed: with one switch, or false"),
        ("", 'virtual.scheduler = "shortest-remaining"\n', "'shortest-remaining' stops jobs"),
        ("", "virtual.carry_gradients = true\n", "messages carry no gradients"),
        ("[job_defaults]", f"{HOST_FAILS}[job_defaults]", "what fails stops jobs, of which a ring cannot go on"),
    ],
)
def test_admission_is_refused_where_a_ring_cannot_be_and_off_unless_asked_for(old: str, new: str, problem: str) -> None:
    text = SCARCE.replace(old, new, 1) if old else new + SCARCE
    with pytest.raises(ScenarioError) as refused:
        load(f"admission = true\n{text}")
    assert f"admission: true, and {problem}" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [job.needs for job in plan_of(load(text)).jobs] == [0, 0, 0, 0]
    load(f"admission = false\n{text}")
