"""`esa laboratory`: which runs there are, what they are held against, what is kept, and what is refused."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure as Canvas

from esa.cluster.times import COMPUTING, Answer, Asked
from esa.errors import BadInput
from esa.gpu_network.filled_times import FilledTimes
from experiments.laboratory.stack import points
from experiments.laboratory.stack.command import rows_of, runs_text, summary_text, tables
from experiments.laboratory.stack.picture import picture
from experiments.laboratory.stack.points import check, find, lines_in, points_of, run_all
from experiments.laboratory.stack.settings import SETTINGS, settings_of
from experiments.specs.stack import StackScenario

FILE = Path("experiments/scenarios/laboratory/stack.toml")
SCENARIO = StackScenario.load(FILE)
QUICK = settings_of(SCENARIO, FILE.parent, quick=True)


class Here(Executor):
    """Runs what it is given at once."""

    def __init__(self) -> None:
        self.ran = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.ran += 1
        future.set_result(fn(*args, **kwargs))
        return future


def test_a_setting_has_lines_for_its_own_layers_alone() -> None:
    for name, setting in SETTINGS.items():
        lines = lines_in(SCENARIO, name)
        assert {line.off for line in lines} - {"nothing", "all"} == set(setting.layers)
        assert lines[0].stack == SCENARIO.whole
        for line in lines[1:-1]:  # one layer differs
            differ = [layer for layer in setting.layers if getattr(line.stack, layer) != getattr(lines[0].stack, layer)]
            assert differ == [line.off]
    assert "ring" not in {line.instead for line in lines_in(SCENARIO, "rack")}


def test_equal_runs_have_one_key_and_others_others() -> None:
    asked = points_of(SCENARIO, 2)
    keys = [point.key(QUICK) for point in asked]
    assert len(set(keys)) == len(keys) == len(asked)
    full = settings_of(SCENARIO, FILE.parent)
    assert not set(keys) & {point.key(full) for point in asked}


def test_what_is_over_is_kept_and_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "find", lambda setting, stack, seed, settings: (seed + 1.0, 2.0 * stack.rows, 0.5))
    asked = points_of(SCENARIO, 2)
    parts: list[float] = []

    def interrupted(part: float) -> None:
        parts.append(part)
        if len(parts) > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all(asked, QUICK, Here(), tmp_path, interrupted)
    kept = len([*tmp_path.iterdir()])
    assert kept == 5
    second = Here()
    found = run_all(asked, QUICK, second, tmp_path)
    assert second.ran == len(asked) - kept
    again = Here()
    assert run_all(asked, QUICK, again, tmp_path) == found
    assert again.ran == 0

    rows = rows_of(SCENARIO, found, 2)
    few = [row for row in rows if row.line.off == "rows" and row.figure == SETTINGS[row.setting].figures[1]]
    assert [row.ratio.centre for row in few if row.ratio] == pytest.approx([128 / 1024] * len(SETTINGS))
    assert all(row.ratio is None for row in rows if row.line.off == "nothing")
    assert summary_text(rows).count("\n") == len(rows) + 1
    assert runs_text(asked, found).count("\n") == 3 * len(asked) + 1
    assert len([*tables(rows)]) == len(SETTINGS)
    canvas = Canvas()
    picture(canvas, rows, "title")
    labels = [label.get_text() for label in canvas.axes[0].get_yticklabels()]
    assert labels[0] == "scheduler: FIFO"
    assert labels[-1] == "all of them off"


def test_the_settings_can_run_and_equal_seeds_give_equal_figures() -> None:
    check(SCENARIO, QUICK)
    small = QUICK._replace(
        cluster=QUICK.cluster.model_copy(
            update={"synthetic": QUICK.cluster.synthetic.model_copy(update={"jobs": 3})}  # type: ignore[union-attr]
        )
    )
    one = find("cluster", SCENARIO.whole, 1, small)
    assert one == find("cluster", SCENARIO.whole, 1, small)
    assert one[0] > 0
    unfilled = find("cluster", SCENARIO.whole.model_copy(update={"sharing": "none"}), 1, small)
    assert unfilled[0] < one[0] < 1.1 * unfilled[0]


def test_filled_gaps_are_late_by_at_most_the_longest_kernel_and_unfilled_ones_are_not() -> None:
    def waits(running: Any, /) -> list[Answer]:
        return [Answer(0.02, exposed_s=0.005, level=2) for _ in running]

    asked = [Asked(1, "bert", 10**7, 1, 0, ((0, 2), (1, 2)))]
    kernels = [300_000, 500_000, 200_000]
    none, learned, endless = (
        FilledTimes(waits, name, kernels)(asked)[0].iteration_s  # type: ignore[arg-type]
        for name in ("none", "learned", "endless")
    )
    assert none == 0.02
    assert 0.02 <= learned <= endless <= 0.02 + 500_000 / 1e9
    assert endless > 0.02


def test_by_turns_computing_takes_longer_and_waits_end_when_the_others_turn_is_over() -> None:
    def waits(running: Any, /) -> list[Answer]:
        return [Answer(each.gpu_ns / each.workers / 1e9 + 0.005, exposed_s=0.005, level=2) for each in running]

    asked = [Asked(1, "bert", 2 * 10**7, 1, 0, ((0, 2),))]  # 10 ms on each
    # Computing: twenty turns of 0.5 ms, nineteen of the others' in between and two changes to each of these. After a
    # wait of 5 ms, rounded to 4.975, the others are in their tenth turn, which is over at 5.05, and the change at 5.1.
    (found,) = FilledTimes(waits, "time-slice", [500_000])(asked)  # type: ignore[arg-type]
    assert found.iteration_s == pytest.approx(0.010 + 19 * 0.0006 + 0.005 + 0.0051 - 4.97532e-3, abs=1e-8)
    # Without waits nobody gives up his turn: there is one of the others' behind each but the last.
    (found,) = FilledTimes(COMPUTING, "time-slice", [500_000])(asked)
    assert found.iteration_s == pytest.approx(0.010 + (8 * 20 - 1) * 0.0006 / 8)
    with pytest.raises(BadInput, match="slice_ns: 0, switch_ns: 50000; allowed: from 1"):
        FilledTimes(COMPUTING, "time-slice", [1], slice_ns=0)


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ('scheduler = ["fifo"]', 'scheduler = ["best"]', "instead.scheduler: unknown scheduler 'best'; allowed: fifo"),
        ("slice_us = 500", "slice_us = 0", "rack.slice_us"),
        ("rows = [128]", "rows = [100]", "instead.rows: 100; allowed: powers of two"),
        ('cache = ["fp16"]', 'cache = ["hack"]', "instead.cache: hack; allowed: others, each once"),
        ('switch = "esa"', 'switch = "p4"', "whole.switch: unknown switch 'p4'; allowed: esa"),
        ('"chat.toml"', '"prompts.toml"', "unknown key"),
        ('"cluster.toml"', '"absent.toml"', "cannot read"),
    ],
)
def test_what_cannot_be_run_is_one_line(tmp_path: Path, was: str, becomes: str, says: str) -> None:
    for file in FILE.parent.iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    text = FILE.read_text()
    assert was in text
    (tmp_path / "stack.toml").write_text(text.replace(was, becomes, 1))
    with pytest.raises(BadInput) as refused:
        settings_of(StackScenario.load(tmp_path / "stack.toml"), tmp_path)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
