"""Requests: drawn to what is published of them, read from the authors' formats, refused by line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from esa.errors import BadInput
from esa.serving.arrivals import Arrivals, drawn_requests
from esa.serving.lengths import LENGTHS
from esa.serving.requests import Request
from esa.serving.traces import read_trace
from tests.serving.test_costs import DATA, needs_data

# (mean, median, 90th percentile) of prompts and answers as published, and how far what is drawn may be.
PUBLISHED = {
    "lmsys-chat": ((686, 417, 1678), (197, 139, 484), 0.15),
    "arxiv-summarization": ((2588, 2730, 3702), (291, 167, 372), 0.35),
    "bilingual-web-book": ((1067, 1037, 1453), (1612, 1601, 2149), 0.04),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_lengths_are_about_the_published(name: str) -> None:
    *published, off = PUBLISHED[name]
    drawn = LENGTHS[name].draw(20_000, np.random.default_rng(1))
    assert (drawn[0] + drawn[1]).max() <= 4096
    for found, known in zip(drawn, published, strict=True):
        assert [found.mean(), *np.quantile(found, (0.5, 0.9))] == pytest.approx(known, rel=off)


@pytest.mark.parametrize(("name", "mean", "deviation"), [("exegpt-s", 32.3, 12.7), ("exegpt-t", 132.5, 63.5)])
def test_tasks_of_exegpt_are_truncated_normal(name: str, mean: float, deviation: float) -> None:
    _, output = LENGTHS[name].draw(20_000, np.random.default_rng(1))
    assert (output.mean(), output.std()) == pytest.approx((mean, deviation), rel=0.03)


def test_intervals_have_their_mean_and_in_compat_vidurs() -> None:
    generator = np.random.default_rng(1)
    for arrivals, mean in (
        (Arrivals(2.0), 0.5),
        (Arrivals(2.0, compat=True), 0.5 * 0.9502),
        (Arrivals(2.0, "gamma", cv=0.5), 0.5),
    ):
        times = arrivals.draw(100_000, generator)
        assert times[-1] / 100_000 / 1e9 == pytest.approx(mean, rel=3 * 1.1 / np.sqrt(100_000))
    assert not Arrivals(2.0, "static").draw(5, generator).any()


def test_another_rate_leaves_lengths_as_they_were() -> None:
    slow, fast = (drawn_requests(50, Arrivals(rate), LENGTHS["lmsys-chat"], seed=3) for rate in (1.0, 2.0))
    assert [each[1:] for each in slow] == [each[1:] for each in fast]
    assert [each.arrival_ns for each in slow] == pytest.approx([2 * each.arrival_ns for each in fast], abs=2)


AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:47.1805900,10,3\n"
)
BURST = (
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,0,1087,Conversation log\n118,GPT-4,417,276,693,API log\n"
)


def trace(folder: Path, text: str) -> Path:
    path = folder / "trace.csv"
    path.write_text(text)
    return path


def test_azures_format_is_read(tmp_path: Path) -> None:
    found = read_trace(trace(tmp_path, AZURE), "azure")
    assert found.requests == (Request(0, 374, 44), Request(500_000_000, 10, 3))


def test_burstgpts_format_is_read_without_what_failed(tmp_path: Path) -> None:
    found = read_trace(trace(tmp_path, BURST), "burstgpt", pace=2)
    assert (found.requests, found.failed) == ((Request(0, 472, 18), Request(56_500_000_000, 417, 276)), 1)


@needs_data
def test_vidurs_traces_have_the_statistics_that_are_known() -> None:
    found = read_trace(DATA / "vidur" / "traces" / "splitwise_conv.csv", "vidur")
    assert len(found.requests) == 19_366
    assert np.mean([each.prompt for each in found.requests]) == pytest.approx(1154.7, abs=0.05)
    assert np.mean([each.output for each in found.requests]) == pytest.approx(211, abs=0.5)
    assert found.requests[-1].arrival_ns / 1e9 == pytest.approx(3501.7, abs=0.1)
    short = read_trace(DATA / "vidur" / "traces" / "splitwise_conv.csv", "vidur", most_tokens=4096, most=100)
    assert len(short.requests) == 100
    assert max(each.prompt + each.output for each in short.requests) <= 4096


@pytest.mark.parametrize(
    ("text", "layout", "problem"),
    [
        (AZURE.replace("374", "many"), "azure", "line 2, column ContextTokens: 'many'; allowed: a whole number"),
        (
            AZURE.replace("2023-11-16 18:15:47", "soon"),
            "azure",
            "line 3, column TIMESTAMP: 'soon.1805900'; allowed: a date",
        ),
        (AZURE.replace("GeneratedTokens", "Tokens"), "azure", "line 1: no column GeneratedTokens"),
        (BURST.replace("118", "-1"), "burstgpt", "line 4, column Timestamp: '-1'; allowed: a number from 0"),
        (AZURE, "mooncake", "format: unknown format 'mooncake'; allowed: azure, burstgpt, vidur, lengths"),
        (BURST.replace(",18,", ",0,").replace(",276,", ",0,"), "burstgpt", "no request is left; 3 without an answer"),
    ],
)
def test_what_is_wrong_with_a_trace_is_said_by_line(tmp_path: Path, text: str, layout: str, problem: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_trace(trace(tmp_path, text), layout)
    assert problem in str(refused.value)


def test_unknown_lengths_are_refused() -> None:
    from esa.serving.lengths import lengths_of

    with pytest.raises(BadInput, match="unknown lengths 'sharegpt'; allowed: fixed, uniform"):
        lengths_of("sharegpt")
