"""Runs by hand in which somebody computes for long, is missing, or is killed: who waits says so, and no sum is lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from controller import Controller, Switch
from tests.launcher.hands import LIMIT_S, Hands, kill
from tests.launcher.rig import Up, until

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
    assert re.fullmatch(
        r"esa: job hand, rank 0: waits ([3-9]|\d\d) s for fragment \d+: rank 1 \(10\.0\.0\.2\) computes", said[0]
    )
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


FORGED = """
import socket, sys
from esa.scapy_layer import ESA
packet = bytes(ESA(kind="GRADIENT", job=int(sys.argv[2]), epoch=int(sys.argv[3]), bitmap0=2, bitmap1=1, lanes=[0] * 64))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    for _ in range(7):
        sock.sendto(packet, (sys.argv[1], 31780))
"""


def test_a_stall_says_within_five_seconds_who_is_missing_and_what_the_switch_denies(
    rack: Up, hands: Callable[..., Hands]
) -> None:
    hand = hands("esa")
    hand.add()
    hand.server()
    ranks = hand.ranks()
    hand.go_on(ranks, 2)
    switch = rack.record.switch
    assert switch is not None
    with Switch.connect(switch.address, switch.device_id) as client:
        (job,) = [one for one in Controller(client).jobs() if one.job == hand.job.job]
    stranger = [*("ip", "netns", "exec", f"{rack.name}-h4"), sys.executable, "-c", FORGED]
    subprocess.run([*stranger, "10.0.0.3", str(job.job), str(job.epoch)], check=True, timeout=60)
    os.kill(ranks[1].process.pid, signal.SIGSTOP)
    try:
        until(lambda: any("waits" in line for line in ranks[0].err), "rank 0 says whom it waits for", 60.0)
    finally:
        os.kill(ranks[1].process.pid, signal.SIGCONT)
    (said,) = [line for line in ranks[0].err if "waits" in line]
    assert re.fullmatch(
        r"esa: job hand, rank 0: waits ([3-9]|\d\d) s for fragment \d+: "
        r"rank 1 \(10\.0\.0\.2\) is silent: look whether .*; "
        r"since the run began the switch has denied 7 as unknown sender \(no sender of the run has .*\)",
        said,
    ), said
    hand.go_on(ranks)
    hand.stop(ranks)


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
