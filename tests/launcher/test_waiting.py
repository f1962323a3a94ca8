"""Runs by hand in which somebody computes for long, is missing, or is killed: who waits says so, and no sum is lost."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.launcher.hands import LIMIT_S, Hands, kill
from tests.launcher.rig import until

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("policy", ["esa", "switchml"])
def test_a_rank_that_computes_for_longer_than_the_silent_are_given_is_waited_for(
    hands: Callable[..., Hands], policy: str
) -> None:
    hand = hands(policy, give_up_s=2.0)
    hand.add()
    hand.server()
    ranks = hand.ranks(0.0, 6.5)
    hand.go_on(ranks, 2)
    said = [line for line in ranks[0].err if "computes" in line]
    assert len(said) == 1, ranks[0].err
    assert re.fullmatch(r"esa: job hand, rank 0: waits 5 s for fragment \d+: rank 1 \(10\.0\.0\.2\) computes", said[0])
    assert [line for line in ranks[1].err if "waits" in line] == []


def test_who_waits_for_a_ps_says_so_in_one_line(hands: Callable[..., Hands]) -> None:
    hand = hands("ps")
    hand.add()
    joining = [
        hand.process(f"h{rank + 1}", "experiments.live.loop", "--job", str(hand.file), "--rank", str(rank))
        for rank in range(2)
    ]
    until(lambda: all(rank.err for rank in joining), "somebody says that the PS is missing", 20.0)
    assert [rank.err for rank in joining] == [["esa: job hand: waits for the PS (10.0.0.3) to join"]] * 2
    server = hand.server()
    until(lambda: all(rank.last["event"] == "ready" for rank in joining), "a run begins", LIMIT_S)
    for rank in joining:
        rank.tell("go")
    hand.go_on(joining, 2)
    kill(server)
    until(lambda: all(len(rank.err) > 1 for rank in joining), "somebody says that the PS is silent", 20.0)
    for rank, process in enumerate(joining):
        [line] = process.err[1:]
        start = rf"esa: job hand, rank {rank}: waits \d+ s for fragment \d+: "
        assert re.fullmatch(start + r"the PS \(10\.0\.0\.3\) is silent: look whether it runs .*", line), line
    hand.server()
    hand.go_on(joining)
    hand.stop(joining)


# Under every policy: tests/experiments/test_rig.py.
def test_a_switch_that_is_killed_in_the_middle_of_a_run_costs_no_sum(hands: Callable[..., Hands]) -> None:
    hand = hands("esa")
    hand.add()
    hand.server()
    ranks = hand.ranks()
    hand.go_on(ranks)
    for _ in range(2):
        hand.rack.kill_switch()  # the rack starts it anew, without a program
        hand.go_on(ranks)
    hand.stop(ranks)
    ranks = hand.ranks()
    hand.go_on(ranks)
    hand.stop(ranks)
