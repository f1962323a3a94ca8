"""Runs in virtual time are reported like others, with what only virtual time can tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from esa.report import (
    FlowSummary,
    JobSummary,
    Summary,
    comparison_table,
    counter_table,
    flow_table,
    jct_table,
    load_run,
)
from esa.report.plots import plot_runs


def summary(policy: str = "esa", jobs: int = 1) -> Summary:
    return Summary(
        scenario="contention", policy=policy, switch="virtual", topology="single-rack", seed=1, mean_jct_s=0.0123456,
        jobs=[JobSummary(name=f"job-{n}", workers=2, jct_s=0.01 * (n + 1), iterations=3) for n in range(jobs)],
        switch_counters={f"job-{n}": {"collisions": 1000} for n in range(jobs)}, occupancy_mean=0.5, useful_mean=0.25,
        dropped=7, packet_hops=1234,
    )  # fmt: skip


def text_of(table: object) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def row(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.strip().startswith(name)).split()


def test_what_virtual_time_tells_is_kept(tmp_path: Path) -> None:
    summary().save(tmp_path)
    assert load_run(tmp_path).summary == summary()
    assert "checked" not in json.loads((tmp_path / "summary.json").read_text())


def test_seconds_are_shown_to_the_microsecond_and_unknown_figures_as_dashes() -> None:
    text = text_of(jct_table(summary()))
    assert row(text, "job-0") == ["job-0", "0.010000"]
    one = summary()
    one.jobs[0].bound_s, one.jobs[0].wait_s, one.jobs[0].inflation = 0.004, 0.001, 2.25
    one.jobs.append(JobSummary(name="job-1", workers=2))
    text = text_of(jct_table(one))
    assert row(text, "job-0") == ["job-0", "0.010000", "0.001000", "0.004000", "2.50", "2.25"]
    assert row(text, "job-1") == ["job-1", "-", "-", "-", "-", "-"]
    assert "mean JCT 0.012346 s" in text


def test_comparison_leaves_out_what_no_run_knows() -> None:
    text = text_of(comparison_table([summary("esa"), summary("atp")]))
    assert row(text, "mean useful")[-2:] == ["25.0%", "25.0%"]
    assert row(text, "dropped") == ["dropped", "7", "7"]
    assert "accuracy" not in text
    assert "loss" not in text


def test_columns_of_one_policy_on_different_switches_say_which() -> None:
    live = summary().model_copy(update={"switch": "embedded"})
    assert "contention: esa (embedded), esa (virtual)" in text_of(comparison_table([live, summary()]))


def test_many_jobs_are_summed_up() -> None:
    assert row(text_of(counter_table(summary(jobs=20))), "collisions") == ["collisions", "20000"]
    assert "job-0" not in text_of(comparison_table([summary(jobs=20), summary(jobs=20)]))
    assert "job-19" in text_of(jct_table(summary(jobs=20)))


@pytest.mark.parametrize("jobs", [2, 20])
def test_taken_and_useful_rows_are_drawn_over_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    for policy in ("esa", "atp"):
        (tmp_path / policy).mkdir()
        summary(policy, jobs).save(tmp_path / policy)
        samples = [{"event": "sample", "t_s": t / 10, "taken": 2 * t, "useful": t} for t in range(4)]
        (tmp_path / policy / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in samples))
    plot_runs([load_run(tmp_path / policy) for policy in ("esa", "atp")], tmp_path / "report.png")
    (figure,) = drawn
    right = figure.axes[1]
    lines = {line.get_label(): [list(map(float, data)) for data in line.get_data()] for line in right.lines}
    assert set(lines) == {"esa", "esa, useful", "atp", "atp, useful"}
    assert lines["esa"] == [[0.0, 0.1, 0.2, 0.3], [0.0, 2.0, 4.0, 6.0]]
    assert lines["esa, useful"][1] == [0.0, 1.0, 2.0, 3.0]


def test_flows_have_a_table_and_are_compared(tmp_path: Path) -> None:
    beside = summary()
    beside.flows = [
        FlowSummary.of("bulk", "tcp", 5_000_000, 2.0, lost=None, resends=3),
        FlowSummary.of("steady", "constant", 250_000, 2.0, lost=7, resends=None),
        FlowSummary.of("late", "tcp", 0, -1.0, lost=None, resends=0),
    ]
    text = text_of(flow_table(beside))
    assert row(text, "bulk") == ["bulk", "tcp", "2.000000", "5.000", "20.0", "-", "3"]
    assert row(text, "steady") == ["steady", "constant", "2.000000", "0.250", "1.0", "7", "-"]
    assert row(text, "late") == ["late", "tcp", "-", "0.000", "-", "-", "-"]
    compared = text_of(comparison_table([beside, summary("atp")]))
    assert row(compared, "bulk: Mb/s") == ["bulk:", "Mb/s", "20.0", "-"]
    assert "late" not in compared
    beside.save(tmp_path)
    assert load_run(tmp_path).summary == beside
