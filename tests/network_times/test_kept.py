"""Answers on disk."""

from __future__ import annotations

from pathlib import Path

from esa.cluster.times import Answer
from esa.network_times.component import Component
from esa.network_times.flows import answer_by_flows
from esa.network_times.kept import Kept
from esa.network_times.levels import NetworkTimes
from esa.network_times.network import Network
from tests.network_times.questions import HEAVY, LIGHT, RACKS, asked, component, member


def refuse(component: Component, network: Network) -> list[Answer]:
    raise AssertionError("asked again")


def test_an_answer_is_found_again_to_the_bit_and_by_the_same_question_alone(tmp_path: Path) -> None:
    network, here = Network("atp"), component(Network("atp"), member((0, 1), (1, 1)), member((1, 1), (2, 1)))
    kept = Kept(2, Path("flows.py"), tmp_path)
    fresh = kept.answers(here, network, answer_by_flows)
    before = kept.path(here, network).read_bytes()
    assert Kept(2, Path("flows.py"), tmp_path).answers(here, network, refuse) == fresh
    others = [
        kept.path(here, Network("esa")),
        Kept(3, Path("flows.py"), tmp_path).path(here, network),
        kept.path(component(network, member((0, 1), (1, 1), model=LIGHT)), network),
    ]
    assert len({kept.path(here, network), *others}) == 4
    kept.path(here, network).write_text("[[1,")  # cut off
    assert kept.answers(here, network, answer_by_flows) == fresh
    assert kept.path(here, network).read_bytes() == before
    assert kept.reckoned == 2


def test_who_they_are_does_not_matter_to_what_is_kept(tmp_path: Path) -> None:
    network = Network("esa")
    times = NetworkTimes(network, RACKS, folder=tmp_path)
    first = times([asked(0, 0, 1), asked(1, 1, 2, model=LIGHT)])
    again = NetworkTimes(network, RACKS, folder=tmp_path)
    other = again([asked(8, 6, 4, model=LIGHT), asked(9, 7, 6, model=HEAVY)])
    assert (times.reckoned, again.reckoned) == (1, 0)
    assert [*other] == [*first][::-1]
