"""ATP's windows that stand still, and who finds no row."""

from __future__ import annotations

import pytest

from esa.network_times.component import Member
from esa.network_times.load import Load, load_of
from esa.network_times.memory import part_beside
from esa.network_times.network import Network
from esa.network_times.rows import rows_of
from esa.network_times.stalls import Cycle, cycle_of
from tests.network_times.questions import component, member

SCARCE = Network("atp", rows=128)
HERE, OVER_RACKS = member((0, 1), (1, 1)), member((0, 1), (4, 1))


def first(network: Network, *members: Member) -> tuple[Cycle, float, Load]:
    """The cycle of the first of these, all of which send; the part of its packets that finds no row; its load."""
    asked = component(network, *(one._replace(service=number) for number, one in enumerate(members)))
    job = next(number for number, one in enumerate(asked.members) if one.service == 0)
    windows = [one.window for one in rows_of(asked, network)]
    sends = dict.fromkeys(range(len(members)), 1.0)
    beside, load = part_beside(asked, network, windows, sends)[job], load_of(job, asked, network)
    return cycle_of(job, asked, network, load, windows, beside, sends), beside, load


def stalled(network: Network, *members: Member) -> float:
    """The part of the first one's windows that stands still."""
    return network.window / first(network, *members)[0].window - 1


def test_one_neighbour_in_all_racks_has_a_row_in_all_or_none_and_nothing_stands_still() -> None:
    jobs = (OVER_RACKS, member((1, 1), (5, 1)))
    assert first(SCARCE, *jobs)[1] > 0.3
    assert stalled(SCARCE, *jobs) == 0.0


@pytest.mark.parametrize("more", [(member((2, 1), (6, 1)),), (member((2, 1), (3, 1)),)], ids=["another", "in-one-rack"])
def test_where_others_are_in_rows_of_one_rack_or_the_other_windows_over_racks_stand_still(
    more: tuple[Member, ...],
) -> None:
    jobs = (OVER_RACKS, member((1, 1), (5, 1)), *more)
    assert 0.8 < stalled(SCARCE, *jobs) < 1.0
    assert stalled(Network("atp", rows=1024), *jobs) == 0.0


@pytest.mark.parametrize(("others", "stands"), [(0, True), (2, False)])
def test_windows_in_a_rack_stand_still_where_a_neighbour_on_a_host_keeps_ranks_apart(others: int, stands: bool) -> None:
    jobs = [HERE, member((others, 1), (3, 1)), member((others, 1), (5, 1))]
    assert (stalled(SCARCE, *jobs) > 0.1) == stands


def test_what_stands_still_takes_a_round_trip_more_a_reordering_window_and_half_a_window_of_the_narrowest() -> None:
    for ranks, reordering in ((1, 1.5 / 4), (2, 3.75 / 4)):
        jobs = [member((0, ranks), (4, ranks)), member((1, 1), (5, 1)), member((2, 1), (3, 1))]
        cycle, beside, load = first(SCARCE, *jobs)
        trip_ns = (1 - beside) * load.summed_ns + beside * load.beside_ns
        part = SCARCE.window / cycle.window - 1
        late_ns = part * (trip_ns * (1 + reordering) + (1 + part) * SCARCE.window * max(cycle.cables.values()) / 2)
        assert cycle.trip_ns * (1 + part) == pytest.approx(trip_ns + late_ns)


def test_a_row_that_another_wants_is_there_while_that_one_computes() -> None:
    asked = component(SCARCE, HERE, member((0, 1), (2, 1)), member((1, 1), (3, 1)))
    windows = [one.window for one in rows_of(asked, SCARCE)]
    parts = [
        part_beside(asked, SCARCE, windows, {0: 1.0, **dict.fromkeys(others, 1.0)})[0] for others in ((), (1,), (1, 2))
    ]
    assert parts[0] == 0.0 < parts[1] < parts[2] < 1.0
    odds = [part / (1 - part) for part in parts]
    assert odds[2] == pytest.approx(2 * odds[1])
