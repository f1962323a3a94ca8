"""Vidur-Search over configurations: to a look at every rate, to itself without pruning, to fronts by hand."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from esa.errors import BadInput
from esa.serving.core import Outcome
from esa.serving.metrics import model_flops, utilisation
from esa.serving.models import gpu_of, model_of
from esa.serving.requests import Life, Request
from esa.serving.vidur.search import (
    Configuration,
    Found,
    Prober,
    Slo,
    Work,
    cheapest,
    configurations,
    front,
    hopeless,
    probe,
    search,
)
from experiments.cli import app
from experiments.specs.search import SearchSpec
from tests.effort import tries

ONE = Configuration("llama-2-7b", "a100", 1, 1, "vllm", 0, 8, 2)
WORK = Work(lengths="exegpt-s", requests=120, start=16.0, delay_s=0.5)
SHIPPED = sorted((Path(__file__).parents[2] / "experiments" / "searches").glob("*.toml"))


def found(rate: float, ttft: float, tbt: float, gpu: str = "a100") -> Found:
    return Found(replace(ONE, gpu=gpu), rate, ttft, tbt, 0.1)


def test_vidurs_space_has_its_540_configurations() -> None:
    """30 (GPU, tp, pp), 3 caps, vLLM and Sarathi with 5 chunks; without tp 1, 378."""
    hosts = {"h100": 4, "a100": 4, "a40": 8}
    gpus = {"h100": 16, "a100": 16, "a40": 32}
    assert len(configurations("llama-2-7b", gpus, per_host=hosts)) == 540
    assert len(configurations("llama-2-70b", gpus, per_host=hosts, tp=(2, 4, 8))) == 378


def test_a_capacity_is_the_largest_rate_of_a_grid_that_keeps_to_the_limit() -> None:
    prober, known = Prober(ONE, WORK), probe(ONE, WORK)
    assert prober.delay_s(known.rate) <= WORK.delay_s
    steps = [known.rate * (1 + 0.025 * step) for step in (-1, 1, 2)]
    assert [prober.delay_s(rate) <= WORK.delay_s for rate in steps] == [True, False, False]


def test_a_run_that_is_given_up_is_one_whose_delay_is_too_long() -> None:
    known = probe(ONE, WORK)
    for part in (0.5, 1.0, 1.1, 2.0, 8.0):
        rate = part * known.rate
        assert Prober(ONE, WORK).takes(rate) == (Prober(ONE, WORK).delay_s(rate) <= WORK.delay_s) == (part <= 1)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=250))
@settings(max_examples=tries(60), deadline=None)
def test_it_is_given_up_only_if_the_percentile_is_above_the_limit(waits: list[int]) -> None:
    """And where it is by the waits alone, without what lies between two of them, it is given up."""
    lives = tuple(Life(number, Request(0, 1, 1)) for number in range(len(waits)))
    for life, wait in zip(lives, waits, strict=True):
        life.first_ns = wait * 10**9 if wait < 3 else None  # those have not begun yet, after 3 s
    percentile = np.percentile(waits, 99)
    assert not hopeless(Outcome(lives, end_ns=3 * 10**9), 2.0) or percentile > 2
    if np.percentile(waits, 99, method="lower") > 2:
        assert hopeless(Outcome(lives, end_ns=3 * 10**9), 2.0)


@pytest.mark.slow
def test_pruning_finds_the_same_cheapest_with_fewer_runs() -> None:
    space = configurations(
        "llama-2-7b", {"a100": 2, "h100": 2}, per_host={"a100": 2, "h100": 2}, pp=(1,), chunks=(512,), caps=(8, 64)
    )
    slo = Slo(2.0, 0.5)
    whole, pruned = search(space, WORK), search(space, WORK, slo)
    best = cheapest(whole, slo)
    assert best is not None
    chosen = cheapest(pruned, slo)
    assert chosen is not None
    assert chosen.per_dollar >= 0.975 * best.per_dollar  # to the bisection's tolerance
    assert any(one.pruned for one in pruned)
    assert sum(one.probes for one in pruned) < sum(one.probes for one in whole)


def test_what_does_not_fit_is_in_the_list_with_the_reason() -> None:
    one = probe(replace(ONE, model="llama-2-70b"), WORK)
    assert one.refused is not None
    assert "no room for the keys and values" in one.refused
    assert not one.meets(Slo())


def test_requests_that_never_wait_have_no_capacity() -> None:
    """Ten at a time have room for all ten: any rate is within the limit, and none is what the configuration takes."""
    one = probe(replace(ONE, cap=64), replace(WORK, requests=10))
    assert one.refused == "requests: 10 never wait 0.5 s, however fast they come; allowed: more"
    assert one.rate == 0


def test_a_front_has_whom_nobody_beats_in_both() -> None:
    slow, middle, fast = found(40, 3.0, 0.1), found(20, 1.0, 0.2), found(5, 0.1, 0.3)
    beaten = found(10, 1.5, 0.25)
    assert front([slow, beaten, middle, fast, Found(ONE)], "ttft_p90_s") == [fast, middle, slow]
    assert front([slow, beaten, middle, fast], "tbt_p99_s") == [slow]
    assert cheapest([slow, beaten, middle, fast], Slo(2.0, 0.2)) == middle
    assert cheapest([slow], Slo(2.0, 0.2)) is None


def test_a_dollar_buys_what_its_gpus_serve() -> None:
    assert found(10, 1, 1).per_dollar == pytest.approx(3600 * 10 / (2 * 2.21))


def test_mfu_is_flops_over_peak() -> None:
    """A prompt of 100 tokens through Llama-2-7B: two FLOPs for each of 6.48e9 parameters, and attention."""
    model, gpu = model_of("llama-2-7b"), gpu_of("a100")
    layers = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    flops = 2 * layers * 100 + 4 * 32 * 4096 * 100 * 100 / 2
    assert model_flops(model, 100, 100 * 100 / 2) == pytest.approx(flops)
    outcome = Outcome((Life(0, Request(0, 100, 1)),), tokens=100, attended=5000.0, end_ns=10**7)
    assert utilisation(outcome, model, gpu, 2) == pytest.approx(flops / (2 * 312e12 * 0.01))


def test_limits_that_cross_and_gpus_without_a_price_are_refused() -> None:
    with pytest.raises(BadInput, match="tbt_p99_s 3 above ttft_p90_s 2"):
        Slo(2.0, 3.0)
    with pytest.raises(BadInput, match="a100-40 has no price"):
        configurations("opt-13b", {"a100-40": 4}, per_host={"a100-40": 4})


SMALL = """name = "small"
model = "llama-2-7b"
lengths = "exegpt-s"
requests = 40
delay_s = 0.3
tp = [1]
pp = [1]
chunks = [512]
caps = [8]
seeds = 2
gpus = {a100 = 1}
"""


@pytest.mark.slow
def test_the_command_writes_lines_and_a_picture_the_same_each_time(tmp_path: Path) -> None:
    path = tmp_path / "search.toml"
    path.write_text(SMALL)
    folders = []
    for results in ("one", "other"):
        done = CliRunner().invoke(app, ["search", str(path), "--results", str(tmp_path / results)])
        assert done.exit_code == 0, done.output
        folders += (tmp_path / results).iterdir()
    for name in ("search.csv", "front.svg", "search.toml"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    assert len((folders[0] / "search.csv").read_text().splitlines()) == 3
    assert SearchSpec.load(folders[0] / "search.toml") == SearchSpec.load(path)


@pytest.mark.slow
def test_what_was_found_for_one_workload_costs_more_under_another(tmp_path: Path) -> None:
    """Two gpus of a kind each: long answers are cheaper on A100, whose memory is more for a dollar."""
    path, results = tmp_path / "search.toml", tmp_path / "results"
    text = SMALL.replace("a100 = 1", "a100 = 1, h100 = 1").replace("caps = [8]", "caps = [8, 64]")
    path.write_text(text.replace("requests = 40", "requests = 80\nschedulers = ['vllm']"))
    done = CliRunner().invoke(app, ["search", str(path), "--also", "exegpt-g", "--results", str(results)])
    assert done.exit_code == 0, done.output
    assert "dollars for a request" in done.output
    (folder,) = results.iterdir()
    with (folder / "across.csv").open(newline="") as file:
        rows = {(row["tuned"], row["on"]): row for row in csv.DictReader(file)}
    names = ("exegpt-s", "exegpt-g")
    assert {*rows} == {(tuned, on) for tuned in names for on in names}
    for (tuned, on), row in rows.items():
        ratio = float(row["cost_ratio"])
        if tuned == on:
            assert ratio == 1.0
        elif row["meets"] == "True":  # beyond the limits one can be cheaper
            assert ratio >= 0.95  # to the bisection, and another seed
        assert float(row["low"]) <= ratio <= float(row["high"])
        assert row["configuration"] == rows[tuned, tuned]["configuration"]
    for name in names:
        assert (folder / f"search-{name}.csv").exists()
    wrong = CliRunner().invoke(app, ["search", str(path), "--also", "chats", "--results", str(results)])
    said = f"{wrong.output} {wrong.exception if isinstance(wrong.exception, BadInput) else ''}"
    assert "--also: lengths: unknown lengths 'chats'" in " ".join(said.split())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_searches_are_valid(path: Path) -> None:
    assert SearchSpec.load(path).to_toml()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("a100 = 1", "a1000 = 1"), "gpus.a1000: unknown GPU; allowed: a100, h100, a40"),
        (('"llama-2-7b"', '"llama-3"'), "model: unknown model 'llama-3'; allowed: llama-2-7b"),
        (("tp = [1]", "tp = [3]"), "no configuration can be placed"),
        (("tp = [1]", "tp = [1]\ntbt_p99_s = 3"), "tbt_p99_s: 3, above ttft_p90_s, 2; allowed: at most that"),
        (("tp = [1]", "tp = []"), "tp: "),
    ],
)
def test_a_search_that_cannot_be_is_refused_in_a_line(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    path = tmp_path / "search.toml"
    path.write_text(SMALL.replace(*change))
    done = CliRunner().invoke(app, ["search", str(path), "--results", str(tmp_path / "results")])
    said = f"{done.output} {done.exception if isinstance(done.exception, BadInput) else ''}"
    assert problem in " ".join(said.split())
    assert not (tmp_path / "results").exists()
