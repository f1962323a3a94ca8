"""The priority: one byte, monotone in each factor, each of which can be switched off."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.policy import policy
from esa.priority import HIGHEST, LOWEST, Classes, Priority, Urgency, priority_function

seconds = st.floats(0, 1e9)
urgencies = st.builds(
    Urgency,
    communication_s=st.none() | seconds,
    computation_s=st.none() | seconds,
    service_s=st.none() | seconds,
    layer=st.none() | st.integers(1, 1000),
)


@given(urgencies)
def test_it_fits_a_byte_and_is_never_the_mark_of_a_free_row(urgency: Urgency) -> None:
    assert LOWEST <= Priority()(urgency) <= HIGHEST


@given(urgencies, seconds, seconds)
def test_more_communication_is_never_lower(urgency: Urgency, a: float, b: float) -> None:
    less, more = (replace(urgency, communication_s=s) for s in sorted((a, b)))
    assert Priority()(less) <= Priority()(more)


@given(urgencies, seconds, seconds)
def test_more_computation_is_never_higher(urgency: Urgency, a: float, b: float) -> None:
    less, more = (replace(urgency, computation_s=s) for s in sorted((a, b)))
    assert Priority()(less) >= Priority()(more)


@given(urgencies, seconds, seconds)
def test_more_remaining_or_attained_time_is_never_higher(urgency: Urgency, a: float, b: float) -> None:
    less, more = (replace(urgency, service_s=s) for s in sorted((a, b)))
    assert Priority()(less) >= Priority()(more)


@given(urgencies, st.integers(1, 1000), st.integers(1, 1000))
def test_layers_further_back_are_never_higher(urgency: Urgency, a: int, b: int) -> None:
    front, back = (replace(urgency, layer=layer) for layer in sorted((a, b)))
    assert Priority()(front) >= Priority()(back)


TYPICAL = Urgency(communication_s=0.2, computation_s=0.1, service_s=60.0, layer=3)


@pytest.mark.parametrize(
    ("factor", "changed"),
    [
        ("ratio", replace(TYPICAL, communication_s=2.0)),
        ("service", replace(TYPICAL, service_s=600.0)),
        ("layer", replace(TYPICAL, layer=1)),
    ],
)
def test_each_factor_counts_and_can_be_switched_off(factor: str, changed: Urgency) -> None:
    assert Priority()(TYPICAL) != Priority()(changed)
    without = Priority(**{factor: False})
    assert without(TYPICAL) == without(changed)


def test_a_factor_of_two_is_eight_steps() -> None:
    assert Priority()(replace(TYPICAL, service_s=30.0)) - Priority()(TYPICAL) == 8


def test_the_ends_of_the_range_are_the_ends_of_the_byte() -> None:
    priority = Priority(log2_low=-2, log2_high=2)
    assert [priority(Urgency(service_s=s)) for s in (1000.0, 4.0, 1.0, 0.25, 0.0)] == [1, 1, 128, 255, 255]
    with pytest.raises(ValueError, match="not below"):
        Priority(log2_low=1, log2_high=1)


@pytest.mark.parametrize(
    ("communication_s", "computation_s", "layer", "layers", "step"),
    [
        (2.0, 1.0, 1, 5, 2),
        (2.0, 1.0, 3, 5, 2),  # the middle one is in front
        (2.0, 1.0, 4, 5, 1),
        (1.0, 1.0, 1, 1, 1),
        (1.0, 2.0, 2, 2, 0),
        (None, None, None, None, 0),
        (2.0, None, 1, None, 1),
    ],
)
def test_classes_are_one_step_for_communication_and_one_for_front_layers(
    communication_s: float | None, computation_s: float | None, layer: int | None, layers: int | None, step: int
) -> None:
    classes = Classes()
    assert classes(Urgency(communication_s, computation_s, 5.0, layer, layers)) == classes.lowest + step


@pytest.mark.parametrize(
    ("name", "compares", "differ"),
    [
        ("esa", True, True),
        ("esa", False, False),
        ("esa-higher", False, True),  # equals refuse each other
        ("esa-formula", False, True),  # it goes by no classes
        ("atp", False, True),
    ],
)
def test_fragments_are_all_alike_where_nobody_has_to_be_refused_and_equals_preempt(
    name: str, compares: bool, differ: bool
) -> None:
    function = priority_function(policy(name), compares)
    front, back = (function(Urgency(0.2, 0.1, 5.0, layer, 8)) for layer in (1, 8))
    assert (front > back) == differ
    assert front >= back
