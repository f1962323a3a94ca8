"""SwitchML step by step, on the compiled program: what its released client and switch do, followed by hand.

The rules are those of p4lang/p4app-switchML at b5c74a0, in words: a slot goes on by itself, its next packet, a window
later, is sent when its own result comes, whatever other slots lack (the DPDK worker thread); a packet for a slot whose
sum is complete is answered with it (the workers' bitmaps and the versions in p4/).
"""

from __future__ import annotations

import pytest

from tests.model.plan import JobPlan, Plan
from tests.model.world import World

pytestmark = pytest.mark.timeout(300)  # the first run compiles the switch and the protocol


def test_a_slot_whose_result_is_lost_stops_alone_and_gets_it_from_the_switch() -> None:
    others = JobPlan("ps", 1, 1, 0)
    world = World(Plan((others, others, JobPlan("switchml", 2, 2, 0))))  # the third has a span of eight windows
    world.runs[3].sizes = [8]

    def deliver(*labels: str) -> None:
        for label in labels:
            assert world.do(("deliver", label)), f"no {label}; there are {list(world.flight)}"

    def summed(seq: int) -> None:
        deliver(f"3.9/w0 GRADIENT {seq}", f"3.9/w1 GRADIENT {seq}")

    def everybody(seq: int) -> None:
        summed(seq)
        deliver(f"switch, 3.9/w1: RESULT {seq}", f"switch, 3.9/w1: RESULT {seq} #2")

    assert world.do(("submit", "3.9/w0"))
    assert world.do(("submit", "3.9/w1"))
    summed(0)
    deliver("switch, 3.9/w1: RESULT 0")
    assert world.do(("drop", "switch, 3.9/w1: RESULT 0 #2"))
    for seq in (1, 3, 5):
        everybody(seq)
    assert set(world.flight) == {"3.9/w0 GRADIENT 2", "3.9/w0 GRADIENT 7", "3.9/w1 GRADIENT 7"}
    deliver("3.9/w0 GRADIENT 2")
    while "3.9/w1 RESEND 0" not in world.flight:
        assert world.do(("timer", "3.9/w1"))
    deliver("3.9/w1 RESEND 0", "switch, 3.9/w1: RESULT 0 #3")  # the row has it until seq 4 comes
    assert "3.9/w1 GRADIENT 2" in world.flight
    deliver("3.9/w1 GRADIENT 2")
    assert "switch, 3.9/w1: RESULT 2" in world.flight
    world.settle()
    assert world.verdicts["ANSWER"] >= 1
    assert world.numbers()["all-reduces"] == 1
