"""A run's folder is read back as written, tables name every job and run, the picture is a PNG."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from esa.report import (
    JobSummary,
    ReportError,
    Summary,
    comparison_table,
    counter_table,
    fragment_table,
    jct_table,
    load_run,
)
from esa.report.plots import plot_runs

# shared with every consumer of results/: exactly these keys
SUMMARY_KEYS = {
    "scenario", "policy", "switch", "topology", "seed", "jobs", "mean_jct_s", "makespan_s", "switch_counters",
    "occupancy_mean", "mean_wait_s", "mean_bound_s", "mean_per_bound", "mean_inflation",
}  # fmt: skip
JOB_KEYS = {
    "name", "workers", "jct_s", "wait_s", "bound_s", "alone_s", "inflation", "iterations", "compute_s", "comm_s",
    "final_loss", "accuracy", "fragments", "resends",
    "via_ps",
}  # fmt: skip


def summary(policy: str = "esa", mean_jct_s: float = 10.0) -> Summary:
    job = JobSummary(
        name="mlp", workers=2, jct_s=mean_jct_s, wait_s=0.0, bound_s=8.0, iterations=60, compute_s=1.5,
        comm_s=8.25, final_loss=0.2805,
        accuracy=0.9133, fragments=313560, resends=3, via_ps=1234,
    )  # fmt: skip
    return Summary(
        scenario="default", policy=policy, switch="embedded", topology="single-rack", seed=1, jobs=[job],
        makespan_s=mean_jct_s, switch_counters={"mlp": {"collisions": 17, "evicted": 5}},
        occupancy_mean=0.125,
    ).with_means()  # fmt: skip


def text_of(table: object) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def write_run(folder: Path, policy: str = "esa") -> Path:
    folder.mkdir()
    summary(policy).save(folder)
    records = [{"event": "occupancy", "t": t / 4, "rows": {"mlp": t}} for t in range(8)]
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_summary_has_exactly_the_agreed_keys(tmp_path: Path) -> None:
    summary().save(tmp_path)
    written = json.loads((tmp_path / "summary.json").read_text())
    assert set(written) == SUMMARY_KEYS
    assert set(written["jobs"][0]) == JOB_KEYS


def test_an_incomplete_run_says_why(tmp_path: Path) -> None:
    whole = summary()
    whole.incomplete = "interrupted"
    whole.save(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["incomplete"] == "interrupted"
    assert "incomplete" in text_of(jct_table(whole))


def test_a_run_is_read_back_as_written(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "a"))
    assert run.summary == summary()
    assert [record["rows"]["mlp"] for record in run.of("occupancy")] == list(range(8))


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"cannot read summary\.json"):
        load_run(tmp_path)
    (tmp_path / "summary.json").write_text('{"scenario": "x", "jobs": []}')
    with pytest.raises(ReportError, match="policy: Field required"):
        load_run(tmp_path)
    summary().save(tmp_path)
    (tmp_path / "records.jsonl").write_text('{"event": "end"}\n{"event"\n')
    with pytest.raises(ReportError, match="line 2 is not JSON"):
        load_run(tmp_path)


def test_tables_show_every_figure_in_80_columns() -> None:
    text = text_of(jct_table(summary()))
    for figure in ("mlp", "10.00", "0.00", "8.00", "1.25", "1.50", "8.25", "0.2805", "0.913", "12.5%"):
        assert figure in text
    assert "/ alone" not in text  # of what no job knows there is no column
    for figure in ("mlp", "313560", "3", "1234"):
        assert figure in text_of(fragment_table(summary()))
    assert "…" not in text + text_of(fragment_table(summary()))
    assert "17" in text_of(counter_table(summary()))


def test_means_are_over_jobs_that_all_know_them() -> None:
    one = summary()
    assert (one.mean_jct_s, one.mean_wait_s, one.mean_bound_s, one.mean_per_bound) == (10.0, 0.0, 8.0, 1.25)
    assert one.mean_inflation is None
    one.jobs.append(JobSummary(name="cnn", workers=2, jct_s=4.0))
    two = one.with_means()
    assert (two.mean_jct_s, two.mean_wait_s, two.mean_per_bound) == (7.0, None, None)


def test_comparison_is_relative_to_the_first_run() -> None:
    text = text_of(comparison_table([summary("esa", 10.0), summary("atp", 12.5), summary("gloo", 8.0)]))
    ratios = next(line for line in text.splitlines() if "mean JCT / esa" in line)
    assert ratios.split()[-3:] == ["1.00", "1.25", "0.80"]


def test_comparison_of_five_runs_fits_80_columns() -> None:
    text = text_of(comparison_table([summary(policy) for policy in ("esa", "atp", "switchml", "ps", "gloo")]))
    assert "…" not in text


def test_picture_is_a_png(tmp_path: Path) -> None:
    runs = [load_run(write_run(tmp_path / policy, policy)) for policy in ("esa", "gloo")]
    plot_runs(runs, tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
