"""Folders that are whole, cut off, of another version, or none: what can be shown is, and one line says the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esa.report import load_run
from esa.report.reading import lenient, read, read_run
from esa.report.versions import FORMAT, versions, write_versions
from tests.effort import tries
from tests.report.folders import figure_folder, run_folder, summary, sweep_folder


def test_a_whole_run_is_read_as_it_is(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a")
    write_versions(folder)
    run = read_run(folder)
    strict = load_run(folder)
    assert (run.summary, run.records, run.notes) == (strict.summary, strict.records, ())
    assert run.settings == {"name": "small", "seed": 1, "jobs.0.name": "mlp"}
    assert run.versions == versions()
    assert {"esa", "python", "numba", "code"} <= run.versions.keys()


def test_every_kind_of_folder_is_known_and_what_holds_them(tmp_path: Path) -> None:
    run_folder(tmp_path / "results" / "a")
    sweep_folder(tmp_path / "results" / "sweep-memory")
    figure_folder(tmp_path / "results" / "figures")
    found = read([tmp_path / "results"])
    assert [run.name for run in found.runs] == ["a"]
    assert [(sweep.name, len(sweep.points)) for sweep in found.sweeps] == [("memory", 12)]
    assert [(figure.name, len(figure.rows)) for figure in found.figures] == [("memory", 2)]
    assert found.problems == []
    assert read([tmp_path / "results/figures/memory.csv"]).figures == found.figures


def test_what_is_none_is_named_and_the_others_are_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = read([tmp_path / "nowhere", run_folder(tmp_path / "a"), tmp_path / "empty"])
    assert len(found.runs) == 1
    assert found.problems == [
        f"{tmp_path}/nowhere: not the folder of a run, a sweep or figures: there is no such folder",
        f"{tmp_path}/empty: not the folder of a run, a sweep or figures: it has no summary.json",
    ]


def test_a_run_without_a_summary_shows_what_its_records_tell(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a")
    (folder / "summary.json").unlink()
    run = read_run(folder)
    assert [job.name for job in run.summary.jobs] == ["mlp"]
    assert (run.summary.scenario, run.summary.seed) == ("small", 1)
    assert run.notes == ("incomplete: there is no summary.json that can be read",)
    assert len(run.of("iteration")) == 4


def test_a_line_that_was_cut_off_costs_that_line(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a")
    whole = (folder / "records.jsonl").read_text()
    (folder / "records.jsonl").write_text(whole + '{"event": "iter')
    assert read_run(folder).records == load_run(run_folder(tmp_path / "b")).records
    assert read_run(folder).notes == ("records.jsonl: 1 lines are left out: they are no JSON objects",)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"new_figure": 3}, "summary.json: new_figure is left out: Extra inputs are not permitted"),
        ({"jobs": [{"name": "mlp", "gpus": 2, "workers": 2}]}, "summary.json: jobs.0.gpus is left out: Extra inputs"),
        ({"seed": None}, "summary.json: seed is left out: Input should be a valid integer"),
        ({"jobs": ["mlp"]}, "summary.json: jobs.0 is left out: Input should be"),
        ({"tiers": {"mlp": {}}}, "summary.json: tiers.mlp.from_workers is missing"),
    ],
)
def test_a_summary_of_another_version_is_shown_without_what_is_not_known(
    tmp_path: Path, change: dict[str, Any], note: str
) -> None:
    folder = run_folder(tmp_path / "a")
    (folder / "summary.json").write_text(json.dumps(summary().as_dict() | change))
    run = read_run(folder)
    assert run.notes[0].startswith(note)
    assert (run.summary.policy, run.summary.makespan_s) == ("esa", 10.0)


def test_a_newer_format_is_said(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a")
    (folder / "versions.json").write_text(json.dumps({"format": str(FORMAT + 1)}))
    assert read_run(folder).notes == (f"written by a newer version (format {FORMAT + 1}, this is {FORMAT})",)


def test_a_sweep_that_is_not_over_says_how_far_it_is(tmp_path: Path) -> None:
    (sweep,) = read([sweep_folder(tmp_path / "sweep", planned=20)]).sweeps
    assert sweep.notes == ("12 of 20 points are there: the others did not run",)


_KEYS = st.sampled_from([*summary().as_dict(), "x", "name", "workers", "kind", "from_workers", "mlp"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=tries(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(_KEYS, _JSON, max_size=8))
def test_nothing_in_a_summary_stops_the_reader(changes: dict[str, Any]) -> None:
    read_as, left_out = lenient(summary().as_dict() | changes)
    assert isinstance(left_out, list)
    assert lenient(read_as.as_dict()) == (read_as, []) or "nan" in repr(read_as)
