"""`esa cluster`: a scenario's jobs, figures and files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from esa.errors import BadInput
from esa.report import load_run
from experiments.cli import app
from experiments.specs.cluster import ClusterScenario

SHIPPED = Path(__file__).parents[2] / "experiments" / "scenarios" / "cluster" / "philly-like.toml"
LIST = """timestamp,duration,num_gpus
2017-10-09 00:00:00,100,4
2017-10-09 00:00:10,50,4
2017-10-09 00:00:20,10,2
"""
SCENARIO = """name = "three"
scheduler = "shortest-remaining"
[cluster]
hosts = 2
gpus = 2
[costs]
start_s = 5
[list]
format = "philly"
path = "list.csv"
"""


def scenario(folder: Path, text: str = SCENARIO, jobs: str = LIST) -> Path:
    (folder / "list.csv").write_text(jobs)
    path = folder / "scenario.toml"
    path.write_text(text)
    return path


def test_a_list_is_run_and_its_figures_and_jobs_are_written(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["cluster", str(scenario(tmp_path)), "--results", str(tmp_path / "results")])
    assert done.exit_code == 0, done.output
    assert "3 jobs on 4 GPUs, offered load 7.750; 0 rows" in done.output  # (400 + 200 + 20) GPU s in 20 s of 4 GPUs
    (folder,) = (tmp_path / "results").iterdir()
    summary = load_run(folder).summary
    # The third stops the second, which had stopped the first: it ends at 35; 45 s of the second are left from 40 on,
    # and 95 s of the first from 90 on.
    assert [job.jct_s for job in summary.jobs] == [pytest.approx(185), pytest.approx(75), pytest.approx(15)]
    assert summary.cluster is not None
    assert (summary.cluster.preemptions, summary.cluster.by_level) == (2, {"table": 1.0})
    with (folder / "jobs.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert [row["stops"] for row in rows] == ["1", "1", "0"]
    again = ClusterScenario.load(folder / "scenario.toml")
    assert again == ClusterScenario.load(tmp_path / "scenario.toml")


def test_equal_scenarios_give_equal_bytes(tmp_path: Path) -> None:
    text = SHIPPED.read_text().replace("jobs = 1000", "jobs = 40")
    path = scenario(tmp_path, text)
    for results in ("one", "other"):
        done = CliRunner().invoke(app, ["cluster", str(path), "--results", str(tmp_path / results)])
        assert done.exit_code == 0, done.output
    for name in ("summary.json", "jobs.csv", "scenario.toml"):
        one, other = (next((tmp_path / results).iterdir()) / name for results in ("one", "other"))
        assert one.read_bytes() == other.read_bytes()
    assert json.loads((next((tmp_path / "one").iterdir()) / "summary.json").read_text())["cluster"]["occupancy"] > 0


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("hosts = 2", "hosts = 1"), "job philly-2: 4 GPUs; allowed: up to 2, all in the cluster"),
        (('"shortest-remaining"', '"srtf"'), "scheduler: unknown scheduler 'srtf'; allowed: fifo, first-fit, "),
        (("gpus = 2", "racks = 3"), "cluster.racks: 3 for 2 hosts; allowed: 1 to 2"),
        (('"philly"', '"azure"'), "list.format: unknown format 'azure'; allowed: philly, helios"),
        (("[list]", "[lists]"), "lists: unknown key; allowed: "),
        (("start_s = 5", "start_s = -5"), "costs.start_s: -5: "),
    ],
)
def test_what_cannot_be_run_is_refused_before_it_begins(change: tuple[str, str], problem: str, tmp_path: Path) -> None:
    path = scenario(tmp_path, SCENARIO.replace(*change))
    done = CliRunner().invoke(app, ["cluster", str(path), "--results", str(tmp_path / "results")])
    assert done.exit_code == 2, done.output
    assert problem in " ".join(done.output.split())


NETWORK = """[network]
policy = "atp"
rows = 256
oversubscription = 2
models = ["resnet50"]
pace = 0.1
"""


def test_with_a_network_iterations_wait_for_sums_and_the_summary_says_how_they_were_timed(tmp_path: Path) -> None:
    text = SCENARIO.replace("hosts = 2", 'hosts = 2\nplacement = "spread"') + NETWORK
    done = CliRunner().invoke(app, ["cluster", str(scenario(tmp_path, text)), "--results", str(tmp_path / "results")])
    assert done.exit_code == 0, done.output
    (folder,) = (tmp_path / "results").iterdir()
    summary = load_run(folder).summary
    assert summary.switch == "atp, 256 rows"
    assert summary.cluster is not None
    assert summary.cluster.by_level == {"flows": pytest.approx(1)}
    alone = dict(zip((job.name for job in summary.jobs), (105, 55, 15), strict=True))
    assert all(job.jct_s is not None and job.jct_s > alone[job.name] for job in summary.jobs)
    packed = SCENARIO.replace("gpus = 2", "gpus = 4") + NETWORK
    done = CliRunner().invoke(app, ["cluster", str(scenario(tmp_path, packed)), "--results", str(tmp_path / "packed")])
    (folder,) = (tmp_path / "packed").iterdir()
    assert load_run(folder).summary.cluster.by_level == {"table": pytest.approx(1)}  # a host each


def test_a_network_that_cannot_be_is_refused_before_it_begins(tmp_path: Path) -> None:
    wide = SCENARIO.replace("gpus = 2", "gpus = 40")
    for text, problem in (
        (SCENARIO + NETWORK.replace('"atp"', '"gloo"'), "network.policy: unknown policy 'gloo'; allowed: esa, atp, "),
        (SCENARIO + NETWORK.replace("256", "100"), "network.rows: 100; allowed: powers of two"),
        (SCENARIO + NETWORK.replace('"resnet50"', '"gpt"'), "network.models: unknown model 'gpt'; allowed: alexnet, "),
        (SCENARIO + NETWORK + 'level = "table"\n', "network.level: unknown level 'table'; allowed: formula, flows, pa"),
        (wide + NETWORK, "job philly-2: up to 40 ranks in a rack; allowed: 32 where switches add"),
    ):
        jobs = LIST.replace("100,4", "100,40")
        path = scenario(tmp_path, text, jobs)
        done = CliRunner().invoke(app, ["cluster", str(path), "--results", str(tmp_path / "results")])
        assert done.exit_code == 2, done.output
        assert problem in " ".join(done.output.split())


def test_jobs_come_from_one_place(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="jobs: none; allowed: one of synthetic, list, pollux"):
        ClusterScenario.load(scenario(tmp_path, SCENARIO.split("[list]")[0]))


def test_ones_is_refused_jobs_whose_batches_do_not_grow(tmp_path: Path) -> None:
    text = SCENARIO.replace("shortest-remaining", "ones")
    with pytest.raises(BadInput, match=r"scheduler: 'ones' wants growing = true in \[pollux\] or \[ones\]"):
        ClusterScenario.load(scenario(tmp_path, text))
