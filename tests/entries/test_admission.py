"""Who gets rows: all where all have their share; else as many as find it, those first that gain most; never none."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.entries.admission import Applicant, admitted, check_share, gain, needed_rows
from esa.errors import BadInput

Asked = list[tuple[int, float]]  # needs and gain of each
asked = st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0.0, 0.25, 0.5, 1.0])), max_size=12)


def applicants(letter: str, asked: Asked) -> list[Applicant]:
    return [Applicant(f"{letter}{number}", *one) for number, one in enumerate(asked)]


@given(asked, st.integers(1, 128))
def test_no_more_than_fit_and_one_at_least(coming: Asked, rows: int) -> None:
    jobs = applicants("c", coming)
    seated = [one for one in jobs if one.name in admitted(jobs, [], rows)]
    taking = [one for one in seated if one.needs]
    assert sum(one.needs for one in seated) <= rows or len(taking) == 1
    assert taking or not any(one.needs for one in jobs)
    assert all(one in seated for one in jobs if one.needs == 0)


@given(asked, asked, st.integers(1, 128))
def test_who_has_rows_keeps_them_and_who_comes_finds_what_is_left(had: Asked, coming: Asked, rows: int) -> None:
    seated, jobs = applicants("s", had), applicants("c", coming)
    if sum(one.needs for one in seated) > rows:
        return
    found = [one for one in jobs if one.name in admitted(jobs, seated, rows)]
    holding = any(one.needs for one in seated)
    assert sum(one.needs for one in [*seated, *found]) <= rows or not holding
    if sum(one.needs for one in [*seated, *jobs]) <= rows:
        assert found == jobs
    for one in jobs:  # whoever is left out would not fit beside those that gain as much or more
        if one not in found:
            before = sum(other.needs for other in [*seated, *found] if other in seated or other.gain >= one.gain)
            assert before + one.needs > rows


@given(asked, st.integers(1, 128), st.randoms())
def test_the_order_decides_among_equals_alone(coming: Asked, rows: int, random: Random) -> None:
    jobs = [Applicant(f"c{number}", needs, float(number)) for number, (needs, _) in enumerate(coming)]
    shuffled = list(jobs)
    random.shuffle(shuffled)
    assert admitted(jobs, [], rows) == admitted(shuffled, [], rows)


def test_who_communicates_most_goes_first() -> None:
    light, heavy, other = (Applicant(name, 16, gain(part, 4)) for name, part in (("a", 0.2), ("b", 0.6), ("c", 0.6)))
    assert admitted([light, heavy, other], [], 48) == {"a", "b", "c"}
    assert admitted([light, heavy, other], [], 32) == {"b", "c"}
    assert admitted([light, heavy, other], [], 31) == {"b"}
    assert admitted([light], [heavy, other], 32) == frozenset()
    assert admitted([light, heavy], [], 8) == {"b"}  # however few there are
    assert admitted([light, heavy], [], 0) == frozenset()


@pytest.mark.parametrize(("window", "workers", "rows"), [(128, 4, 16), (129, 2, 17), (1, 2, 1), (128, 1, 0)])
def test_a_share_is_an_eighth_of_a_window(window: int, workers: int, rows: int) -> None:
    assert needed_rows(window, workers) == rows


def test_a_job_of_nobody_s_plan_is_refused_where_its_share_is_not_to_be_had() -> None:
    check_share(Applicant("a", 40), [], 32)  # alone it has all there are
    check_share(Applicant("b", 16), [Applicant("a", 16)], 32)
    problem = (
        "pool: job b: other jobs' shares leave 12 of 32 rows, and an eighth of its window is 16: a ring is faster; "
        "allowed: a smaller window, a policy that shares rows or uses none"
    )
    with pytest.raises(BadInput) as refused:
        check_share(Applicant("b", 16), [Applicant("a", 20)], 32)
    assert str(refused.value) == problem


def test_a_ring_of_two_sends_what_a_sum_in_the_network_sends() -> None:
    assert gain(0.5, 2) == 0 < gain(0.5, 3) < gain(0.5, 32) < 0.5
