"""Lists of jobs in their authors' formats, and jobs that are drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.errors import BadInput
from esa.laboratory.inputs.lists import HELIOS, PHILLY, offered_load, read_list
from esa.laboratory.inputs.synthetic import LEAST_S, WIDTHS, synthetic
from tests.laboratory.jobs import SECOND, hosts, job

PHILLY_TEXT = """timestamp,duration,num_gpus,gpu_time,cluster
2017-10-09 07:01:55,66.0,1,66.0,11cb48
2017-10-09 06:13:03,2951.0,8,23608.0,6214e9
,,,,6214e9
2017-10-10 07:13:03,30.0,2,60.0,6214e9
"""
HELIOS_TEXT = """job_id,user,gpu_num,cpu_num,node_num,state,submit_time,start_time,end_time,duration,queue
1,u1,0,4,1,COMPLETED,2020-04-01 00:00:10,2020-04-01 00:00:20,2020-04-01 00:10:20,600,10
2,u1,16,4,2,COMPLETED,2020-04-01 00:01:10,2020-04-01 00:01:20,2020-04-01 00:11:20,600,10
"""


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "list.csv"
    path.write_text(text)
    return path


def test_phillys_jobs_are_read_in_the_order_of_their_submission(tmp_path: Path) -> None:
    found = read_list(file(tmp_path, PHILLY_TEXT), PHILLY)
    assert [(one.name, one.submit_ns, one.workers, one.work.iterations) for one in found.jobs] == [
        ("philly-3", 0, 8, 2951),
        ("philly-2", 2932 * SECOND, 1, 66),
        ("philly-5", 90_000 * SECOND, 2, 30),
    ]
    assert (found.left_out, found.dropped) == (1, 0)
    first_day = read_list(file(tmp_path, PHILLY_TEXT), PHILLY, days=1, least_s=100)
    assert [one.name for one in first_day.jobs] == ["philly-3"]
    assert first_day.dropped == 2


def test_of_helios_jobs_those_with_gpus_are_read(tmp_path: Path) -> None:
    found = read_list(file(tmp_path, HELIOS_TEXT), HELIOS)
    assert [(one.submit_ns, one.workers, one.work.iterations) for one in found.jobs] == [(0, 16, 600)]
    assert found.left_out == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: the file is empty; allowed: timestamp,duration,num_gpus, then a line for each"),
        ("timestamp,duration\n", "line 1: no column num_gpus among timestamp,duration; allowed: timestamp,duration,"),
        ("timestamp,duration,num_gpus\n", "line 1: nothing follows the header"),
        (
            "timestamp,duration,num_gpus\n2017-10-09 07:01:55,9,1.5\n",
            "line 2, column num_gpus: '1.5'; allowed: a whole",
        ),
        ("timestamp,duration,num_gpus\n2017-10-09 07:01:55,nan,1\n", "line 2, column duration: 'nan'; allowed: a numb"),
        ("timestamp,duration,num_gpus\n\n2017-10-09,5,1\n", "line 3, column timestamp: '2017-10-09'; allowed: a time"),
        ("timestamp,duration,num_gpus\n2017-10-09 07:01:55,-5,1\n", "line 2, column duration: '-5'; allowed: a number"),
        ("timestamp,duration,num_gpus\n2017-10-09 07:01:55,5\n", "line 2: 2 fields; allowed: 3, as in the header"),
        ('timestamp,duration,num_gpus\n"2017', "line 2: not CSV: unexpected end of data"),
    ],
)
def test_a_wrong_list_is_refused_by_file_line_and_column(text: str, problem: str, tmp_path: Path) -> None:
    path = file(tmp_path, text)
    with pytest.raises(BadInput) as refused:
        read_list(path, PHILLY)
    assert str(refused.value).startswith(f"{path}: {problem}")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "2020-04-01 00:01:20",
            "2020-04-01 00:01:09",
            "line 3, column start_time: '2020-04-01 00:01:09'; allowed: times that do not go backwards; submit_time is",
        ),
        (
            "2020-04-01 00:11:20",
            "2020-04-01 00:01:19",
            "line 3, column end_time: '2020-04-01 00:01:19'; allowed: times that do not go backwards; start_time is",
        ),
        (",start_time,", ",started,", "line 1: no column start_time among job_id,user,gpu_num,"),
    ],
)
def test_times_that_go_backwards_in_a_row_are_refused(old: str, new: str, problem: str, tmp_path: Path) -> None:
    path = file(tmp_path, HELIOS_TEXT.replace(old, new))
    with pytest.raises(BadInput) as refused:
        read_list(path, HELIOS)
    assert str(refused.value).startswith(f"{path}: {problem}")


def test_a_time_that_is_not_known_is_no_time(tmp_path: Path) -> None:
    found = read_list(file(tmp_path, HELIOS_TEXT.replace("2020-04-01 00:01:20", "None")), HELIOS)
    assert len(found.jobs) == 1


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read it: No such file or directory"):
        read_list(tmp_path / "none.csv", PHILLY)


def test_offered_load_is_what_is_asked_for_over_what_there_is() -> None:
    jobs = (job("a", 0, 2, 30), job("b", 10, 4, 10))
    assert offered_load(hosts(4, 4), jobs) == (2 * 30 + 4 * 10) / (8 * 10)
    assert offered_load(hosts(4), jobs[:1]) == float("inf")


def test_jobs_are_drawn_as_phillys_and_the_first_of_more_are_the_same() -> None:
    jobs = synthetic(4000, 60, seed=3, elastic=0.25)
    assert synthetic(100, 60, seed=3, elastic=0.25) == jobs[:100]
    assert synthetic(100, 60, seed=4) != jobs[:100]
    part = {width: sum(one.workers == width for one in jobs) / len(jobs) for width in WIDTHS}
    assert all(abs(part[width] - WIDTHS[width]) < 0.01 for width in WIDTHS)
    seconds = sorted(one.work.iterations for one in jobs)
    assert seconds[0] == LEAST_S
    assert 1100 < seconds[2000] < 1350  # exp(7.105) = 1218
    assert 0.22 < sum(one.elastic is not None for one in jobs) / len(jobs) < 0.28
    assert 0.95 < jobs[-1].submit_ns / 4000 / 60 / SECOND < 1.05


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"count": 0}, "jobs: 0; allowed: 1 to 10000000"),
        ({"mean_interval_s": 0}, "mean_interval_s: 0; allowed: above 0"),
        ({"elastic": 1.5}, "elastic: 1.5; allowed: 0 to 1"),
        ({"most_gpus": 0}, "most_gpus: 0; allowed: 1 or more"),
    ],
)
def test_what_cannot_be_drawn_is_refused(given: dict, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        synthetic(**{"count": 1, "mean_interval_s": 60, "seed": 1, **given})
