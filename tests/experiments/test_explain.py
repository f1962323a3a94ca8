"""`esa explain`: what happened to one fragment, in virtual time by running it again, live by what was captured."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from esa.report import life as words
from esa.report.life import Life
from esa.report.reading import ReadRun, read_run
from experiments import cli
from experiments.specs.scenario import Scenario
from experiments.virtual.check import check_virtual
from experiments.virtual.fragment import fragment_life
from experiments.virtual.memory import virtual_memory
from experiments.virtual.row_verdicts import FREE, Came, Row, verdict
from experiments.virtual.run import run_virtual
from experiments.virtual.trace import scenario_of
from tests.report.test_trace import SCENARIO

pytestmark = pytest.mark.timeout(240)  # the first run compiles

MINE, OTHER = (1, 1, 7), (2, 1, 3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ReadRun:
    scenario = Scenario.parse(SCENARIO, check_virtual)
    return read_run(run_virtual(scenario, tmp_path_factory.mktemp("results"), Console(quiet=True))[1])


def check(life: Life) -> None:
    """Whatever happens, a fragment is sent by every worker, and its sum comes to every worker."""
    ranks = Counter((event.at, event.what) for event in life.events if event.at.startswith("rank"))
    for rank in range(2):
        assert ranks[f"rank {rank}", words.SENT] == ranks[f"rank {rank}", words.RECEIVED] == 1
    times = [event.t_s for event in life.in_order()]
    assert times == sorted(times)
    assert life.in_order()[0].what == words.SENT
    for flight in life.packets:
        assert flight.until_s > flight.from_s
    for span in life.spans:
        assert span.until_s >= span.from_s
    whats = [event.what for event in life.events]
    assert words.COMPLETED in whats or words.RESULT in whats  # by the switch, or by the PS


def test_a_fragment_that_is_not_disturbed(run: ReadRun) -> None:
    life = fragment_life(run, scenario_of(run), "a", 0)
    check(life)
    assert life.lanes == ["rank 0", "rank 1", "switch-0", "PS"]
    data = json.loads(json.dumps(life.as_data(), allow_nan=False))
    assert data["events"][0]["lane"] in (0, 1)
    assert data["from_s"] == data["events"][0]["t_s"]


def test_fragments_whose_rows_others_take(run: ReadRun) -> None:
    """Those in a row that is another's at the next look: in 16 rows two jobs take each other's."""
    memory, same = virtual_memory(run, scenario_of(run))
    assert same
    assert memory.rows == 16
    assert sum(map(sum, memory.rows_by_job().values())) == sum(int(np.count_nonzero(frame)) for frame in memory.owner)
    assert memory.series["preemptions"]["a"][-1] <= run.summary.switch_counters["a"]["preemptions"]
    seen: Counter[str] = Counter()
    chosen = {
        (int(owner[row]), int(seq[row]))
        for owner, later, seq in zip(memory.owner, memory.owner[1:], memory.seq, strict=False)
        for row in np.flatnonzero((owner != later) & (owner > 0) & (later > 0))[:1]
    }
    for owner, seq in sorted(chosen)[:4]:
        life = fragment_life(run, scenario_of(run), memory.jobs[owner - 1], seq)
        check(life)
        seen.update(event.what for event in life.events)
    assert seen[words.PREEMPTED] + seen[words.PREEMPTS] + seen[words.COLLIDES] > 0
    assert seen[words.RESULT] > 0


@pytest.mark.parametrize("policy", ["atp", "switchml", "ps"])
def test_other_policies(tmp_path: Path, policy: str) -> None:
    text = SCENARIO.replace('policy = "esa"', f'policy = "{policy}"')
    other = read_run(run_virtual(Scenario.parse(text, check_virtual), tmp_path, Console(quiet=True))[1])
    life = fragment_life(other, scenario_of(other), "b", 40)
    check(life)
    assert (words.PASSES in {event.what for event in life.events}) == (policy == "ps")


@pytest.mark.parametrize(
    ("came", "before", "after", "what"),
    [
        (0b01, FREE, Row(MINE, 0b01, 9), words.SEATED),
        (0b01, FREE, FREE, words.PASSES),
        (0b11, FREE, FREE, words.COMPLETED),
        (0b10, Row(MINE, 0b01, 9), FREE, words.COMPLETED),
        (0b10, Row(MINE, 0b01, 9), Row(MINE, 0b11, 9), words.COMPLETED),
        (0b01, Row(MINE, 0b01, 9), Row(MINE, 0b01, 9), words.DUPLICATE),
        (0b01, Row(OTHER, 0b01, 5), Row(MINE, 0b01, 9), words.PREEMPTS),
        (0b11, Row(OTHER, 0b01, 5), Row(MINE, 0b11, 9), words.COMPLETED),
        (0b01, Row(OTHER, 0b01, 9), Row(OTHER, 0b01, 4), words.COLLIDES),
    ],
)
def test_a_row_says_what_was_done(came: int, before: Row, after: Row, what: str) -> None:
    told = Came("rank 0", came, 9, again=False, full=2)
    assert verdict(told, 17, MINE, before, after, lambda owner: f"job {owner[0]}")[0] == what


def test_the_command(run: ReadRun) -> None:
    done = CliRunner().invoke(cli.app, ["explain", str(run.folder), "5", "--job", "b"], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    assert "fragment 5 of job b" in done.stdout
    assert "the sum is here" in done.stdout
    for arguments, said in (
        (["5"], "job: ''; allowed: a, b"),
        (["5", "--job", "c"], "job: 'c'; allowed: a, b"),
        (["99999999", "--job", "a"], "seq: job a has no fragment 99999999; allowed: 0 to "),
    ):
        done = CliRunner().invoke(cli.app, ["explain", str(run.folder), *arguments])
        assert done.exit_code == 2
        assert said in done.stderr.splitlines()[-1]
