"""Data frames: every column is documented, and holds what the folder says."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest

from esa.report import ReportError, load
from esa.report.frames import COLUMNS, Frames
from tests.report.folders import figure_folder, run_folder, summary, sweep_folder


def test_a_live_run(tmp_path: Path) -> None:
    frames = load(run_folder(tmp_path / "a"), run_folder(tmp_path / "b", summary("atp", 12.5)))
    assert frames.jobs.groupby("policy").jct_s.mean().to_dict() == {"esa": 10.0, "atp": 12.5}
    assert frames.runs.set_index("run").mean_per_bound.to_dict() == {"a": 1.25, "b": 1.5625}
    mine = frames.iterations[frames.iterations.run == "a"]
    assert mine[["rank", "iteration", "t_s", "loss"]].values.tolist() == [
        [0, 0, 2.0, 2.5], [1, 0, 2.0, 2.5], [0, 1, 3.0, 1.5], [1, 1, 3.0, 1.5],
    ]  # fmt: skip
    assert frames.occupancy.query("run == 'a' and job == 'mlp'")["rows"].tolist() == list(range(8))
    assert frames.samples.query("run == 'a'").taken.tolist() == list(range(1, 9))
    assert frames.counters.query("run == 'a' and counter == 'evicted'")["count"].tolist() == [5]
    assert frames.settings.query("run == 'b' and key == 'seed'").value.tolist() == ["1"]
    assert frames.notes == ()


def test_a_run_in_virtual_time(tmp_path: Path) -> None:
    frames = load(run_folder(tmp_path / "a", summary(switch="virtual")))
    assert frames.samples[["t_s", "taken", "ps_bytes"]].values.tolist() == [[t / 10, 2 * t, 1000 * t] for t in range(4)]
    assert frames.samples.ps_bytes.dtype == "int64"
    assert frames.iterations.empty


def test_a_sweep_and_a_figure(tmp_path: Path) -> None:
    frames = load(sweep_folder(tmp_path / "sweep"), figure_folder(tmp_path / "figures"))
    points = frames.points
    assert list(points)[:5] == ["sweep", "point", "seed", "aggregators", "policy"]
    table = points.pivot_table(index="aggregators", columns="policy", values="mean_jct_s")
    assert table.loc[64, "atp"] == pytest.approx(1.8)
    assert table.loc[128, "esa"] == pytest.approx(0.6)
    assert len(frames.jobs) == 2 * len(points)
    assert frames.figures["memory"].jct_ms_low.isna().tolist() == [False, True]


def test_every_column_is_documented_and_every_documented_one_there(tmp_path: Path) -> None:
    frames = load(run_folder(tmp_path / "a"), run_folder(tmp_path / "b", summary(switch="virtual")))
    for name, columns in COLUMNS.items():
        assert list(getattr(frames, name)) == list(columns)
    assert {one.name for one in fields(Frames)} == {*COLUMNS, "figures", "notes"}
    for columns in COLUMNS.values():
        for column, meaning in columns.items():
            assert meaning
            if column.endswith("_s"):
                assert "second" in meaning or "over" in meaning


def test_what_is_incomplete_is_loaded_as_far_as_it_goes(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a")
    (folder / "summary.json").write_text("{")
    frames = load(folder, tmp_path / "nowhere")
    assert len(frames.iterations) == 4
    assert isinstance(frames.jobs, pd.DataFrame)
    assert frames.notes[0].endswith("summary.json is no JSON")
    assert "nowhere: not the folder of a run" in frames.notes[-1]


def test_nothing_at_all_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        ReportError, match=r"^\S+: not the folder of a run, a sweep or figures: there is no such folder$"
    ):
        load(tmp_path / "nowhere")


def test_without_pandas_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "esa.report.frames", raising=False)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ReportError, match=r"pip install 'esa\[report\]'"):
        load("anywhere")
