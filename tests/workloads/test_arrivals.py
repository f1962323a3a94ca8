"""Arrivals: repeatable draws of the right kind; traces that round trip or are refused by line and column."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.workloads import MODELS, Request, TraceError, poisson, read_trace
from esa.workloads.arrivals import COLUMNS
from tests.effort import tries

JOBS = "name,workers,iterations,submit_s,model\na,8,100,0.5,vgg16\nb,4,10,0.25,bert\n"
MIX = {"vgg16": 1.0, "resnet50": 3.0, "bert": 0.0}
FIRST_TWO = (
    Request("job-1", "resnet50", workers=4, iterations=20, submit_s=1.4341488335221848),
    Request("job-2", "resnet50", workers=16, iterations=10, submit_s=2.1815918105406196),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces") / "jobs.csv"


def refused(path: Path, content: bytes | str) -> str:
    """The one line with which a trace is refused, without the file's name."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def drawn(count: int = 50, mean: float = 2.0, seed: int = 1, **changed: object) -> tuple[Request, ...]:
    arguments = {"models": MIX, "workers": (4, 8, 16), "iterations": (10, 20), **changed}
    return poisson(count, mean, seed=seed, **arguments)  # type: ignore[arg-type]


def test_draws_repeat_and_depend_on_the_seed() -> None:
    assert drawn() == drawn()
    assert drawn() != drawn(seed=2)
    for job, fixed in zip(drawn(2), FIRST_TWO, strict=True):  # so that no other version changes figures unseen
        assert job == replace(fixed, submit_s=pytest.approx(fixed.submit_s, rel=1e-12))


def test_a_longer_draw_begins_with_a_shorter_one() -> None:
    assert drawn(80)[:50] == drawn(50)


def test_one_argument_does_not_draw_the_others_anew() -> None:
    for ours, theirs in zip(drawn(), drawn(mean=4.0, workers=(1, 2)), strict=True):
        assert theirs.submit_s == pytest.approx(2 * ours.submit_s)
        assert (theirs.model, theirs.iterations) == (ours.model, ours.iterations)


def test_intervals_and_choices_are_as_asked_for() -> None:
    count = 20_000
    jobs = drawn(count)
    gaps = [b.submit_s - a.submit_s for a, b in pairwise(jobs)]
    assert min(gaps) >= 0
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(2.0, rel=5 / count**0.5)
    assert variance == pytest.approx(4.0, rel=5 * 8**0.5 / count**0.5)  # an exponential's; its fourth moment is 9
    counts = Counter(job.model for job in jobs)
    assert set(counts) == {"vgg16", "resnet50"}
    assert counts["resnet50"] / count == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / count) ** 0.5)
    for column, choices in (("workers", (4, 8, 16)), ("iterations", (10, 20))):
        part = 1 / len(choices)
        seen = Counter(getattr(job, column) for job in jobs)
        assert set(seen) == set(choices)
        for times in seen.values():
            assert times / count == pytest.approx(part, abs=5 * (part * (1 - part) / count) ** 0.5)
    assert len({job.name for job in jobs}) == count


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"count": 0}, "^count: 0; allowed: from 1$"),
        ({"mean": 0.0}, "^mean_interval_s: 0.0 for"),
        ({"mean": float("nan")}, "^mean_interval_s: nan for"),
        ({"mean": float("inf")}, "^mean_interval_s: inf for"),
        ({"mean": 1e9}, "^mean_interval_s: .* allowed: above 0, and 1e"),
        ({"models": {}}, "^models: .* allowed: from 0, not all 0$"),
        ({"models": {"bert": 0.0}}, "^models: "),
        ({"models": {"bert": 1.0, "vgg16": -1.0}}, "^models: "),
        ({"models": {"bert": float("nan")}}, "^models: "),
        ({"models": {"bert": float("inf")}}, "^models: "),
        ({"workers": ()}, "^workers: .* allowed: one or more from 1 to 1024$"),
        ({"workers": (4, 0)}, "^workers: "),
        ({"workers": (1025,)}, "^workers: "),
        ({"iterations": (0,)}, "^iterations: .* allowed: one or more from 1 to 1000000$"),
    ],
)
def test_draws_that_make_no_sense_are_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drawn(**changed)  # type: ignore[arg-type]


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
requests = st.builds(
    Request,
    name=names,
    model=st.sampled_from(MODELS),
    workers=st.integers(1, 1024),
    iterations=st.integers(1, 1_000_000),
    submit_s=st.floats(0, 1e9).map(abs),
)
request_lists = st.lists(requests, min_size=1, max_size=20, unique_by=lambda request: request.name)


@settings(max_examples=tries(100), deadline=None)
@given(request_lists, st.permutations(COLUMNS), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_traces_round_trip(path: Path, jobs: list[Request], columns: list[str], end: str, mark: bool) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator=end)
    writer.writeheader()
    writer.writerows(vars(job) for job in jobs)
    path.write_bytes(text.getvalue().encode("utf-8-sig" if mark else "utf-8"))
    assert read_trace(path) == tuple(sorted(jobs, key=lambda job: job.submit_s))


def test_jobs_of_one_time_stay_in_the_order_of_the_file(path: Path) -> None:
    lines = [f"{name},1,1,{submit_s},bert" for name, submit_s in zip("zyxwv", "20210", strict=True)]
    path.write_text("\n\n".join([",".join(COLUMNS), *lines]))
    assert [job.name for job in read_trace(path)] == ["y", "v", "w", "z", "x"]


def test_other_models_can_be_allowed(path: Path) -> None:
    path.write_text("name,workers,iterations,submit_s,model\na,1,1,0,mlp\n")
    assert read_trace(path, ("mlp",)) == (Request("a", "mlp", 1, 1, 0.0),)


def read_or_refused(path: Path, content: bytes) -> tuple[Request, ...] | str:
    """The jobs, or the line with which they are refused; any other exception is a failure."""
    path.write_bytes(content)
    try:
        return read_trace(path)
    except TraceError as error:
        return str(error)


@settings(max_examples=tries(100), deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_refused_in_one_line(path: Path, content: bytes) -> None:
    # Bytes by chance make no header.
    message = read_or_refused(path, content)
    assert isinstance(message, str)
    assert message.startswith(f"{path}: line ")
    assert "\n" not in message


splinters = st.binary(max_size=4) | st.sampled_from([b'"', b",", b"\n", b"\r", b"0", b"-"])


@settings(max_examples=tries(100), deadline=None)
@given(st.integers(0, len(JOBS)), st.integers(0, 5), splinters)
def test_damaged_traces_are_a_trace_or_refused(path: Path, start: int, length: int, splinter: bytes) -> None:
    content = JOBS.encode()
    jobs = read_or_refused(path, content[:start] + splinter + content[start + length :])
    if isinstance(jobs, str):
        assert jobs.startswith(f"{path}: line ")
        assert "\n" not in jobs
        return
    assert all(1 <= job.workers <= 1024 and job.iterations >= 1 and 0 <= job.submit_s <= 1e9 for job in jobs)
    assert {job.model for job in jobs} <= set(MODELS)


WRONG_FIELDS = [
    ("name", ["", "-a", "a b", "ä", "a" * 65, "a/b", "a\nb"]),
    ("workers", ["", "0", "1025", "-1", "1.5", "many", " 8", "1_0", "٣", "9" * 5000]),
    ("iterations", ["", "0", "1000001", "+1", "1e3", "nan"]),
    ("submit_s", ["", "-1", "-0.5", "nan", "inf", "1e10", "1e999", "1_0", "0x1", ".", "٣"]),
    ("model", ["", "vgg17", "VGG16", "vgg16 ", "mlp"]),
]


@pytest.mark.parametrize(("column", "text"), [(column, text) for column, texts in WRONG_FIELDS for text in texts])
def test_a_wrong_field_is_named_with_its_place(path: Path, column: str, text: str) -> None:
    good = {"name": "a", "workers": "8", "iterations": "100", "submit_s": "0.5", "model": "vgg16"}
    written = io.StringIO()
    writer = csv.DictWriter(written, COLUMNS)
    writer.writeheader()
    writer.writerows([good, {**good, "name": "b", column: text}])
    message = refused(path, written.getvalue())
    assert message.startswith(f"line 3, column {column}: ")
    found, _, allowed = message.rpartition("; allowed: ")
    assert repr(text)[:40].rstrip("'\"") in found
    assert allowed
    assert len(message) < 250


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: the file is empty; allowed: name,workers,iterations,submit_s,model, then a line per job"),
        ("\n\n", "line 1: the file is empty; allowed: name,workers,iterations,submit_s,model, then a line per job"),
        ("name,workers,iterations,submit_s,model\n", "line 1: no job follows the header"),
        (
            "name,workers,iterations,submit_s\na,1,1,0\n",
            "line 1: columns 'name,workers,iterations,submit_s'; allowed: name,workers,iterations,submit_s,model, "
            "each once, in any order",
        ),
        (
            "\nname,workers,iterations,submit_s,model,user\na,1,1,0,bert,me\n",
            "line 2: columns 'name,workers,iterations,submit_s,model,user'; "
            "allowed: name,workers,iterations,submit_s,model, each once, in any order",
        ),
        (
            "name,name,workers,iterations,submit_s,model\na,a,1,1,0,bert\n",
            "line 1: columns 'name,name,workers,iterations,submit_s,model'; "
            "allowed: name,workers,iterations,submit_s,model, each once, in any order",
        ),
        (JOBS + "c,8,100,1\n", "line 4: 4 fields; allowed: 5, name,workers,iterations,submit_s,model"),
        (JOBS + "\nc,8,100,1,bert,\n", "line 5: 6 fields; allowed: 5, name,workers,iterations,submit_s,model"),
        (JOBS + "a,8,1,1,bert\n", "line 4, column name: 'a'; allowed: names that occur once; line 2 has this one"),
        (JOBS.encode() + b"\xff,8,1,1,bert\n", "line 4: byte 0xff is not UTF-8"),
        (b"\xef\xbb\xbf" + JOBS.encode() + b"c\xc3", "line 4: byte 0xc3 is not UTF-8"),
        (JOBS + '"c\nd",8,1,1,bert\ne,8,1,1,"be"rt\n', "line 6: not CSV: ',' expected after '\"'"),
        (JOBS + 'c,8,1,1,"bert\n', "line 4: not CSV: unexpected end of data"),
        (JOBS + f"c,8,1,1,{'x' * 200_000}\n", "line 4: not CSV: field larger than field limit (131072)"),
    ],
)
def test_a_malformed_file_is_refused(path: Path, content: bytes | str, message: str) -> None:
    assert refused(path, content) == message


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"none\.csv: cannot read the trace: No such file or directory$"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(TraceError, match=r"cannot read the trace: Is a directory$"):
        read_trace(tmp_path)
