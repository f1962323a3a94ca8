"""`esa explain`: what happened to one fragment, in virtual time by running it again, live by what was captured."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
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


def lives(tmp_path: Path, text: str, seqs: range) -> Iterator[Life]:
    """Of fragments of job a, in a run of a scenario."""
    run = read_run(run_virtual(Scenario.parse(text, check_virtual), tmp_path, Console(quiet=True))[1])
    assert run.summary.incomplete is None
    for seq in seqs:
        yield fragment_life(run, scenario_of(run), "a", seq)


def held_at(tmp_path: Path, text: str, t_s: float) -> int:
    """The first fragment of job a that is in a row at the last look before a time."""
    run = read_run(run_virtual(Scenario.parse(text, check_virtual), tmp_path, Console(quiet=True))[1])
    memory, _ = virtual_memory(run, scenario_of(run))
    frame = int(np.searchsorted(memory.times_s, t_s)) - 1
    return int(memory.seq[frame][memory.owner[frame] == memory.jobs.index("a") + 1].min())


def told(life: Life) -> list[tuple[str, str]]:
    return [(event.at, event.what) for event in life.in_order()]


def test_two_racks_and_a_spine_say_whose_parts_meet_where(tmp_path: Path) -> None:
    text = SCENARIO.replace('rate = "10 Gb/s"', 'rate = "10 Gb/s"\nracks = [2, 2, 2]').replace(
        "workers = 2", "workers = 4"
    )
    text = text.replace('name = "a"', 'name = "a"\nhosts = [0, 1, 2, 3, 4]').replace(
        'name = "b"', 'name = "b"\nhosts = [0, 1, 2, 3, 5]'
    )
    (life,) = lives(tmp_path, text, range(1))
    assert life.lanes == ["rank 0", "rank 1", "rank 2", "rank 3", "rack-0", "rack-1", "rack-2", "spine-0", "PS"]
    at = {name: " ".join(e.text for e in life.in_order() if e.at == name) for name in life.lanes}
    assert ("rank 0" in at["rack-0"], "rank 1" in at["rack-0"], "rank 2" in at["rack-0"]) == (True, True, False)
    assert ("rank 2" in at["rack-1"], "rank 3" in at["rack-1"]) == (True, True)
    assert ("the sum of rack-0" in at["spine-0"], "the sum of rack-1" in at["spine-0"]) == (True, True)
    assert [where for where, what in told(life) if what == words.COMPLETED][-1] == "spine-0"
    assert [where for where, what in told(life) if what == words.RECEIVED] == [f"rank {rank}" for rank in range(4)]


def test_a_lost_packet_is_told_and_nobody_receives_it(tmp_path: Path) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for life in lives(tmp_path, SCENARIO + '\n[[faults]]\nlink = "all"\nloss = 0.1\n', range(0, 120, 4)):
        check(life)
        events = life.in_order()
        lost = [event for event in events if event.what == words.LOST]
        seen.update((event.at.split()[0], event.text.split(": ")[-1]) for event in lost)
        for event in lost:
            same = [one.what for one in events if (one.t_s, one.at) == (event.t_s, event.at)]
            assert words.RECEIVED not in same
    assert seen["rank", "on the cable to the switch"] > 0
    assert seen["rank", "on the last cable"] > 0
    assert seen["PS", "on the last cable"] > 0


def test_a_switch_that_is_down_loses_what_comes_and_what_it_had(tmp_path: Path) -> None:
    outage = '\n[[failures]]\nwhat = "switch"\nname = "switch-0"\nat_s = 1.5e-4\ndown_s = 5e-5\n'
    texts: list[str] = []
    first = held_at(tmp_path, SCENARIO + outage, 1.5e-4)
    for life in lives(tmp_path, SCENARIO + outage, range(first, first + 12)):
        check(life)
        for event in life.events:
            if event.what == words.LOST:
                assert (event.at, 1.5e-4 <= event.t_s <= 2.1e-4) == ("switch-0", True)
                texts.append(event.text)
    assert any(text.startswith("GRADIENT of rank") and text.endswith(": the switch is down") for text in texts)
    assert any(text.startswith("the switch is down, and with it row ") for text in texts)


def test_a_job_that_is_stopped_says_so_and_its_next_run_is_followed(tmp_path: Path) -> None:
    failures = '\n[[failures]]\nwhat = "host"\nname = "a-0"\nat_s = 1.5e-4\ndown_s = 5e-5\n'
    held = held_at(tmp_path, SCENARIO + failures, 1.5e-4)
    before, open_then, after = lives(tmp_path, SCENARIO + failures, range(held - 340, held + 341, 340))
    assert (words.STOPPED in dict(told(before)).values(), words.STOPPED in dict(told(after)).values()) == (False, False)
    whats = [what for at, what in told(open_then) if at.startswith("rank") or what == words.STOPPED]
    assert whats.count(words.STOPPED) == 1
    assert words.RECEIVED not in whats[: whats.index(words.STOPPED)]
    assert whats[whats.index(words.STOPPED) :].count(words.RECEIVED) == 2
    check(after)
    assert words.COMPLETED in dict(told(after)).values() or words.RESULT in dict(told(after)).values()
    assert all("went on in another run" in life.notes[0] for life in (before, open_then, after))


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
    came_in = Came("rank 0", came, 9, again=False, full=2)
    assert verdict(came_in, 17, MINE, before, after, lambda owner: f"job {owner[0]}")[0] == what


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
