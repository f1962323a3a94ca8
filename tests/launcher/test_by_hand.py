"""Runs by hand, one after the other on one PS; meanwhile ranks, PS, policy and job are meddled with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.studies import again
from tests.launcher.hands import Hands, ended, kill
from tests.launcher.rig import until

pytestmark = pytest.mark.timeout(240)

TOLD_WITHIN_S = 20.0  # of a member's end, the others: before it is given up, after 30 s


@pytest.mark.parametrize("policy", ["esa", "switchml", "ps"])  # `atp` is what esa's jobs change to
def test_runs_by_hand_one_after_the_other(hands: Callable[..., Hands], policy: str) -> None:
    hand = hands(policy)
    hand.add()
    server = hand.server()
    ranks = hand.ranks()
    hand.go_on(ranks)
    hand.stop(ranks)

    ranks = hand.ranks()  # the PS is the one of the run before
    hand.go_on(ranks)
    killed_at = kill(ranks[1])
    error = ended(ranks[0])
    assert error["t"] - killed_at < TOLD_WITHIN_S
    assert "rank 1 (10.0.0.2) has ended" in error["message"]

    kill(server)  # a new PS
    server = hand.server()
    ranks = hand.ranks()
    hand.go_on(ranks)
    other = "atp" if policy == "esa" else "esa"
    hand.esactl("policy", "set", "hand", other)  # in the middle of a run
    hand.go_on(ranks)
    hand.esactl("policy", "set", "hand", policy)
    hand.go_on(ranks)
    hand.stop(ranks)

    hand.esactl("policy", "set", "hand", other)  # between runs
    hand.esactl("policy", "set", "hand", policy)
    hand.esactl("job", "remove", "hand")
    hand.add()
    ranks = hand.ranks()
    hand.go_on(ranks)
    hand.stop(ranks)
    assert server.process.poll() is None
    until(lambda: again.left_over(hand.rack.name) == [f"job {hand.job.job}"], "nothing but the job is left", 10)


def test_a_job_that_is_away_for_long_and_comes_back_finds_its_ps_waiting(hands: Callable[..., Hands]) -> None:
    hand = hands("esa")
    hand.add()
    server = hand.server()
    ranks = hand.ranks()
    hand.go_on(ranks)
    hand.esactl("job", "remove", "hand")  # in the middle of a run
    for rank in ranks:
        assert "job hand was taken off the switch" in ended(rank)["message"]
        assert len([line for line in rank.err if "Traceback" in line]) == 0
    hand.add()
    ranks = hand.ranks()
    hand.go_on(ranks)
    hand.stop(ranks)
    assert server.process.poll() is None, server.err
