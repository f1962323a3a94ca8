"""`esa levels` and `esa schedulers`: what they ask, what they make of answers, and what they refuse."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.laboratory import error_map, picture
from experiments.laboratory.error_map import Found, Place, error_table, errors, find, places, verdict

SCENARIO = """name = "small"
[cluster]
hosts = 4
gpus = 1
racks = 2
placement = "spread"
[network]
models = ["computation-heavy"]
most_jobs = 1
[synthetic]
jobs = 2
mean_interval_s = 100
least_gpus = 2
most_gpus = 4
"""


def test_the_map_has_every_place_once_and_the_same_jobs_under_every_policy() -> None:
    asked = [*places([1, 2])]
    assert len(asked) == len({*asked}) == 2 * 3 * 2 * (3 * 3 + 2)
    by_jobs = {(place.seed, place.jobs): place.running for place in asked}
    assert all(place.running == by_jobs[place.seed, place.jobs] for place in asked)
    assert all(len({*dict(one.hosts)}) > 1 for running in by_jobs.values() for one in running)


def test_errors_are_those_of_a_level_beside_packets() -> None:
    found = [
        Found(Place("esa", 2, 128, 1, 1), ((1.1, 2.0), (1.0, 1.8), (1.0, 2.0)), (0.0, 0.0)),
        Found(Place("ring", 2, 128, 8, 1), ((3.0,), (1.0,), (2.0,)), (0.0,)),
    ]
    assert errors(found, 1).tolist() == pytest.approx([0.1, 0.0, 0.5])
    assert errors(found, 2).tolist() == pytest.approx([0.0, 0.1, 0.5])
    table = error_table(found)
    assert [*table.columns[0].cells] == [
        "everywhere", "policy esa", "policy ring", "jobs 2", "rows 128", "oversubscription 1", "oversubscription 8",
    ]  # fmt: skip
    assert [*table.columns[2].cells][:3] == ["10.0%", "5.0%", "50.0%"]
    assert verdict(found).count("does not hold") == 2
    assert "holds" in verdict(found[:1])


def test_a_place_is_asked_at_all_three_levels(tmp_path: Path) -> None:
    found = find(Place("ring", 2, 128, 1, 1), tmp_path)
    assert [len(seconds) for seconds in found.seconds] == [2, 2, 2]
    assert errors([found], 2).max() < 0.25


@pytest.mark.slow
def test_the_picture_is_drawn_of_every_place_and_checked_by_packets(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    asked = ["--scheduler", "fifo", "--policy", "ring", "--rows", "128,1024", "--seeds", "1", "--jobs", "1"]
    done = CliRunner().invoke(app, ["schedulers", str(path), *asked, "--results", str(tmp_path / "results")])
    assert done.exit_code == 0, done.output
    assert "check: fifo, ring, 1024 rows, seed 1: mean JCT " in done.output
    folder = tmp_path / "results" / "schedulers"
    assert (folder / picture.PICTURE).stat().st_size > 5000
    with (folder / picture.FILE).open() as file:
        rows = [*csv.DictReader(file)]
    assert [(row["policy"], row["rows"], row["level"]) for row in rows] == [
        ("ring", "1024", "flows"),
        ("ring", "1024", "packets"),
    ]
    flows, packets = (float(row["mean_jct_s"]) for row in rows)
    assert flows == pytest.approx(packets, rel=0.1)
    assert (rows[0]["by_packets"], float(rows[1]["by_packets"]) > 0) == ("0.0", True)


def test_the_pictures_places_are_all_and_those_without_rows_once() -> None:
    asked = picture.places(["fifo", "tiresias"], ["esa", "ps"], [128, 512, 2048], 2)
    assert len(asked) == len({*asked}) == 2 * 2 * (3 + 1) + 2
    assert {place.rows for place in asked if place.policy == "ps"} == {512}
    assert [place for place in asked if place.level == "packets"] == [
        picture.Place("fifo", policy, 512, 1, "packets") for policy in ("esa", "ps")
    ]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (["--policy", "gloo"], "policy: unknown policy 'gloo'; allowed: esa, atp, switchml, ps, ring"),
        (["--scheduler", "srtf"], "scheduler: unknown scheduler 'srtf'; allowed: fifo, "),
        (["--rows", "100"], "rows: 100; allowed: powers of two, 2 to 65536"),
    ],
)
def test_what_cannot_be_drawn_is_refused(asked: list[str], problem: str, tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    done = CliRunner().invoke(app, ["schedulers", str(path), *asked, "--results", str(tmp_path)])
    assert done.exit_code == 2, done.output
    assert problem in " ".join(done.output.split())
    path.write_text(SCENARIO.split("[network]")[0] + "[synthetic]" + SCENARIO.split("[synthetic]")[1])
    done = CliRunner().invoke(app, ["schedulers", str(path), "--results", str(tmp_path)])
    assert "network: none; allowed: a scenario with [network]" in " ".join(done.output.split())


def test_seeds_of_the_map_are_counted(tmp_path: Path) -> None:
    assert error_map.JOBS == (2, 4, 8)
    done = CliRunner().invoke(app, ["levels", "--seeds", "0", "--results", str(tmp_path)])
    assert done.exit_code == 2
