"""From a filler's kernel to the rows of a switch: a filled gap makes a holder late, and who is late holds rows."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from esa.errors import BadInput
from esa.gpu_network.holders import Filling, Held, run_holder
from esa.serving_network.jobs import Training
from esa.serving_network.network import SharedNetwork
from esa.serving_network.together import train_alone
from experiments.cli import app
from experiments.laboratory.gaps import network_of

pytestmark = pytest.mark.timeout(600)  # the first one compiles the simulator

SCALE = 0.02
HOLDER = Training("holder", "communication-heavy", (0, 1, 2, 3))
BESIDE = Training("beside", "communication-heavy", (4, 5, 6, 7))
KERNEL_NS = 150_000


@cache
def held(predictor: str, rows: int = 1024, *, ranks: int = 1, beside: bool = True) -> Held:
    network = SharedNetwork(hosts=8, rows=rows, window=128)
    filling = Filling(predictor, [[KERNEL_NS]], ranks)
    return run_holder(HOLDER, network, filling, [BESIDE] if beside else [], iterations=8, scale=SCALE)


def test_with_nothing_filled_it_is_a_training_like_any() -> None:
    found = held("none", beside=False)
    alone = train_alone(HOLDER, SharedNetwork(hosts=8, rows=1024, window=128), SCALE)
    mean = sum(alone.iterations_s) / len(alone.iterations_s) * SCALE
    assert found.iteration_s == pytest.approx(mean, rel=0.005)
    assert (found.filled_s, found.late_s) == (0, 0)


def test_a_late_rank_is_a_straggler_for_its_job_and_holds_rows() -> None:
    """A kernel of 150 us that runs when the sums come: as much later is the next iteration, and rows wait for it."""
    nothing, endless = held("none", beside=False), held("endless", beside=False)
    assert 0 < endless.late_s <= endless.late_most_s < KERNEL_NS / 1e9
    assert endless.filled_s == pytest.approx(endless.gap_s + endless.late_s, rel=0.01)
    assert endless.iteration_s - nothing.iteration_s == pytest.approx(endless.late_s, rel=0.1)
    assert endless.waited > 2 * nothing.waited + 0.01


def test_a_prediction_spares_the_holder() -> None:
    learned, endless = held("learned", beside=False), held("endless", beside=False)
    assert learned.late_s < 0.2 * endless.late_s
    assert 0 < learned.filled_s <= learned.gap_s
    assert held("least", beside=False).late_s <= learned.late_s


def test_a_rank_that_takes_turns_is_later_than_one_that_goes_first() -> None:
    """Turns of 0.5 ms, in which an iteration's computing is done: it waits for its turn behind each gap alone."""
    nothing, endless, turns = (held(each, beside=False) for each in ("none", "endless", "time-slice"))
    assert turns.filled_s > endless.filled_s
    assert turns.late_s > endless.late_s
    assert turns.iteration_s - nothing.iteration_s == pytest.approx(turns.late_s, rel=0.1)


def test_a_rank_that_computes_for_longer_than_its_turn_waits_in_between() -> None:
    """Turns of 0.1 ms, in which the other task has a kernel of 0.15 ms, to an iteration that computes for 0.24 ms."""
    network = SharedNetwork(hosts=8, rows=1024, window=128)
    short, long = (
        run_holder(
            HOLDER,
            network,
            Filling("time-slice", [[KERNEL_NS]], slice_ns=slice_ns, switch_ns=0),
            iterations=8,
            scale=SCALE,
        )
        for slice_ns in (100_000, 10**7)
    )
    assert short.late_s < long.late_s  # which ends the turn of the other, whose is as long
    kernels = short.filled_s * 1e9 / KERNEL_NS
    assert kernels == pytest.approx(round(kernels), abs=0.35)
    assert short.filled_s > short.gap_s


def test_two_ranks_that_are_late_together_are_late_once() -> None:
    one, two = held("endless", beside=False), held("endless", ranks=2, beside=False)
    assert two.iteration_s == pytest.approx(one.iteration_s, rel=0.02)


def test_neighbours_train_as_long_as_the_holder() -> None:
    found = held("endless")
    assert len(found.neighbours_s) == 1
    assert found.neighbours_s[0] == pytest.approx(held("none").neighbours_s[0], rel=0.2)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"predictor": "oracle"}, "predictor: unknown predictor 'oracle'; allowed: none, learned"),
        ({"kernels_ns": ()}, "fillers: none; allowed: at least one"),
        ({"predictor": "time-slice", "kernels_ns": [[1], [1]]}, "fillers: 2 in turns with a rank; allowed: one"),
        ({"predictor": "time-slice", "slice_ns": 0}, "slice_ns: 0, switch_ns: 50000; allowed: from 1"),
        ({"ranks": 0}, "ranks: 0"),
        ({"ranks": 5}, "ranks: 5 of 4 that share"),
    ],
)
def test_what_cannot_be_filled_is_refused(change: dict[str, object], error: str) -> None:
    with pytest.raises(BadInput, match=error):
        run_holder(HOLDER, SharedNetwork(), replace(Filling("learned", [[1]]), **change))  # type: ignore[arg-type]


def test_other_runs_are_refused() -> None:
    for change, error in (
        ({"iterations": 3}, "iterations: 3; allowed: 4"),
        ({"scale": 0}, "scale: 0; allowed"),
        ({"starts_ns": [-1]}, "starts_ns: -1; allowed: from 0"),
    ):
        with pytest.raises(BadInput, match=error):
            run_holder(HOLDER, SharedNetwork(), Filling("none"), [BESIDE], **change)
    with pytest.raises(BadInput, match="carrier: ring; allowed: sums in the network"):
        run_holder(HOLDER, SharedNetwork(carrier="ring"), Filling("none"))


def test_switchml_has_half_of_a_jobs_part_as_its_window() -> None:
    assert network_of("switchml", 256).window == 32
    assert network_of("esa", 256).window == 128


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--policy", "p4"], "policy: unknown policy 'p4'; allowed: esa, atp"),
        (["--rows", "many"], "--rows: 'many'; allowed: whole numbers"),
        (["--rows", "100"], "rows: 100; allowed: powers of two"),
        (["--kernel-us", "0"], "kernel_us 0"),
        (["--ranks", "9"], "ranks: 9; allowed: 1 to 4"),
    ],
)
def test_the_command_refuses_by_name(tmp_path: Path, options: list[str], error: str) -> None:
    done = CliRunner().invoke(app, ["gaps", *options, "--results", str(tmp_path)])
    assert done.exit_code == 2
    assert error in done.output
    assert not list(tmp_path.iterdir())
