"""`esa study aryl`: its runs, kept and shown, and `esa cluster --draw`."""

from __future__ import annotations

import json
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from esa.cluster.policies.aryl import Aryl
from esa.cluster.times import COMPUTING
from esa.errors import BadInput
from esa.laboratory import simulate_cluster
from esa.laboratory.offers import Offers
from esa.report.records import ClusterSummary, Summary
from experiments.cli import app
from experiments.laboratory.pictures import COLUMNS, capacity, gantt, usage
from experiments.specs.cluster import ClusterScenario
from experiments.studies.laboratory import aryl, make
from experiments.studies.laboratory.points import run_all
from tests.laboratory.jobs import SECOND, job
from tests.laboratory.test_loans import lending

JCT_S = {"fifo": 3000.0, "aryl-neither": 2500.0, "aryl-loaning": 2400.0, "aryl-scaling": 2200.0, "aryl": 2000.0}


class Made(Executor):
    """Instead of simulating, makes figures up from scheduler and seed."""

    runs = 0

    def submit(self, _function: Any, /, *arguments: Any, **_keywords: Any) -> Future[Any]:
        self.runs += 1
        given = json.loads(arguments[0])
        jct_s = JCT_S[given["scheduler"]] * (1 + 0.01 * given["seed"])
        summary = Summary(
            scenario="aryl",
            policy=given["scheduler"],
            switch="none",
            topology="cluster",
            seed=given["seed"],
            jobs=[],
            mean_jct_s=jct_s,
            mean_wait_s=jct_s / 2,
            cluster=ClusterSummary(gpus=128, usage=0.8),
        )
        future: Future[Any] = Future()
        future.set_result(summary.model_dump_json())
        return future


def test_a_study_is_kept_and_shown_beside_what_was_published(tmp_path: Path) -> None:
    points = aryl.points(range(1, 4), quick=True)
    assert {point.scenario.synthetic.jobs for point in points if point.scenario.synthetic} == {14418}
    first, again = Made(), Made()
    found, run = run_all(points, first, tmp_path)
    assert (run, first.runs) == (15, 15)
    assert run_all(points, again, tmp_path)[1] == again.runs == 0
    shown = aryl.show(found)
    by_scheduler = {line[1]: line for line in shown.lines}
    assert by_scheduler["both"][5] == "1.50 [1.50, 1.50]"
    assert "both before scaling only in 3 by JCT and 3 by queuing" in shown.notes[0]
    assert shown.notes[2].startswith("FIFO's mean queuing at load 0.93 is 1530 s, outside the 2500 to 3500 s")
    assert "1.53 for mean queuing and 1.50 for mean JCT" in shown.notes[1]


@pytest.mark.slow
def test_each_seed_offers_the_load_exactly() -> None:
    count, interval_s = aryl.interval_s(3, 0.95)
    assert count == 14728
    assert 86_400 * aryl.DAYS * 0.9 < count * interval_s < 86_400 * aryl.DAYS * 1.1


def test_an_unknown_study_and_a_document_without_a_place_are_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("nothing\n")
    with pytest.raises(BadInput, match="unknown study 'tiresias'; allowed: aryl"):
        make.make_study("tiresias", True, tmp_path, 1)
    with pytest.raises(BadInput, match=r"document: .*: no place for the table; allowed: '<!-- study aryl -->' to "):
        make.make_study("aryl", True, tmp_path, 1, tmp_path / "page.md")


def test_a_picture_shows_who_was_where_and_what_was_lent() -> None:
    cluster = lending((2,), (1,))
    jobs = [job("a", 0, 1, 40), job("b", 0, 2, 10)]
    offers = Offers(20 * SECOND, (1, 0))
    outcome = simulate_cluster(cluster, jobs, Aryl(), COMPUTING, offers=offers, spells=True)
    # "b", the shorter, has the own server for 10 s, "a" the lent one for 20, and an own GPU when it is asked again.
    lanes = gantt(cluster, outcome, 0, 60 * SECOND)
    middles = [(2 * k + 1) * COLUMNS // 12 for k in range(6)]
    assert lanes[:, middles].tolist() == [[3, 1, 1, 1, 2, 2], [3, 1, 1, 1, 1, 1], [2, 2, 0, 0, 1, 1]]
    times, used = usage(outcome, 0)
    assert np.all(np.diff(times) > 0)
    assert used[-1] == 0
    assert [int(there) for there in capacity(cluster, outcome, 0)[1]][:3] == [2, 3, 2]


@pytest.mark.slow
def test_it_is_drawn_by_one_option(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "experiments/scenarios/cluster/aryl.toml").read_text()
    path = tmp_path / "aryl.toml"
    path.write_text(text.replace("jobs = 2000", "jobs = 60"))
    done = CliRunner().invoke(app, ["cluster", str(path), "--draw", "--results", str(tmp_path / "results")])
    assert done.exit_code == 0, done.output
    (folder,) = (tmp_path / "results").iterdir()
    assert (folder / "cluster.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "summary.json").read_text())["cluster"]["lent_gpu_h"] > 0


def test_turns_in_which_nobody_gets_on_are_refused(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "experiments/scenarios/cluster/philly-like.toml").read_text()
    path = tmp_path / "philly.toml"
    path.write_text(text.replace('scheduler = "fifo"', 'scheduler = "least-attained"\ntick_s = 60'))
    done = CliRunner().invoke(app, ["cluster", str(path), "--results", str(tmp_path / "results")])
    assert done.exit_code == 2
    problem = "a turn of one tick, 60 s, is over before it got on: 60 s to start and 60 s to a checkpoint"
    assert f"{problem}; allowed: a tick of 120 s" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            ('"preemption_cost"', '"random"'),
            "aryl.victims: unknown victims 'random'; allowed: preemption_cost, count, ",
        ),
        (("hosts = 16\ngpus = 8\n\n[aryl]", "hosts = 0\n\n[aryl]"), "inference.hosts: 0: "),
        (('"aryl"  #', '"aryl-loaning"  #'), ""),
    ],
)
def test_wrong_rules_are_refused(change: tuple[str, str], problem: str, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "experiments/scenarios/cluster/aryl.toml").read_text()
    path = tmp_path / "aryl.toml"
    path.write_text(text.replace(*change))
    if not problem:
        path.write_text(text.replace(*change).replace("[inference]\nhosts = 16\ngpus = 8\n", ""))
        problem = "scheduler: aryl-loaning without \\[inference\\]; allowed: with servers that can be lent"
    with pytest.raises(BadInput, match=problem):
        ClusterScenario.load(path)
