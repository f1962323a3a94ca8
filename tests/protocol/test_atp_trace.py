"""ATP step by step, on the compiled program: what its released code does, followed by hand.

The rules are those of in-ATP/ATP at ddca27f, in words: p4src/p4ml.p4 (a packet whose row is another's is marked and
goes on; a resend that finds its own row takes it along), server/ParameterServer.cc (a fragment with a marked packet
gets a row off the shuffled list, told in its result; who resent is answered first), client/p4ml_manager.cc (a slot's
next packet goes to the row that its last result named).
"""

from __future__ import annotations

import pytest

from esa.wire import Flag, aggregator_index
from tests.model.plan import JobPlan, Plan
from tests.model.rows import Header
from tests.model.world import World

pytestmark = pytest.mark.timeout(300)  # the first run compiles the switch and the protocol

ROWS = 4  # of the pool that the jobs share


def row(number: int, n: int) -> int:
    """The n-th of a job's rows."""
    return aggregator_index(number, 3 * number, n) % ROWS


class Steps:
    """A world whose packets are named one after the other."""

    def __init__(self, *jobs: JobPlan):
        self.world = World(Plan(jobs))
        for number in range(1, len(jobs) + 1):
            self.world.runs[number].sizes = [8]

    def submit(self, *names: str) -> None:
        for name in names:
            assert self.world.do(("submit", name))

    def deliver(self, *labels: str) -> None:
        for label in labels:
            assert self.world.do(("deliver", label)), f"no {label}; there are {list(self.world.flight)}"

    def row_of(self, label: str) -> int:
        """Where a packet on its way to the switch will aggregate."""
        return Header.of(self.world.flight[label].frame).index % ROWS

    def taken(self) -> list[int]:
        return self.world.switch.taken()


def test_a_collision_gives_the_slot_another_row_which_its_next_fragment_uses() -> None:
    steps = Steps(JobPlan("atp", 2, 2, 0), JobPlan("atp", 2, 4, 0))
    steps.submit("2.6/w0")
    steps.deliver(*(f"2.6/w0 GRADIENT {seq}" for seq in range(4)))
    assert steps.taken() == [0, 1, 2, 3]

    steps.submit("1.3/w0", "1.3/w1")
    assert [steps.row_of(f"1.3/w0 GRADIENT {seq}") for seq in (0, 1)] == [row(1, 0), row(1, 1)]
    steps.deliver("1.3/w0 GRADIENT 0", "1.3/w1 GRADIENT 0")
    collided = "switch, 1.3/w0: COLLISION 0", "switch, 1.3/w1: COLLISION 0"
    steps.deliver(*collided)  # to the PS, which adds them
    steps.deliver("1.3/ps RESULT 0")
    steps.deliver("switch, 1.3/ps: RESULT 0", "switch, 1.3/ps: RESULT 0 #2")
    for rank in (0, 1):  # slot 0 goes on in the first row behind those of the two slots
        assert steps.row_of(f"1.3/w{rank} GRADIENT 2") == row(1, 2) != row(1, 0)

    steps.submit("2.6/w1")  # the other job is done with its rows
    for seq in range(4):
        steps.deliver(f"2.6/w1 GRADIENT {seq}", f"switch, 2.6/w1: PARTIAL {seq} 11", f"2.6/ps RESULT {seq}")
    assert steps.taken() == []
    steps.deliver("1.3/w0 GRADIENT 1", "1.3/w1 GRADIENT 1", "switch, 1.3/w1: PARTIAL 1 11", "1.3/ps RESULT 1")
    steps.deliver("switch, 1.3/ps: RESULT 1")
    assert steps.row_of("1.3/w0 GRADIENT 3") == row(1, 1)  # where it met nobody it stays
    steps.deliver("1.3/w0 GRADIENT 2")
    assert steps.taken() == [row(1, 2)]
    steps.deliver("1.3/w1 GRADIENT 2", "switch, 1.3/w1: PARTIAL 2 11", "1.3/ps RESULT 2")
    assert steps.taken() == []
    steps.deliver("switch, 1.3/ps: RESULT 2")
    assert steps.row_of("1.3/w0 GRADIENT 4") == row(1, 2)
    steps.world.settle()


def test_a_resend_takes_what_its_row_has_to_the_ps_which_answers_it_first() -> None:
    steps = Steps(JobPlan("atp", 2, 2, 0))
    steps.submit("1.3/w0", "1.3/w1")
    steps.deliver("1.3/w0 GRADIENT 0")
    assert steps.world.do(("drop", "1.3/w1 GRADIENT 0"))
    steps.deliver("1.3/w0 GRADIENT 1", "1.3/w1 GRADIENT 1", "switch, 1.3/w1: PARTIAL 1 11", "1.3/ps RESULT 1")
    steps.deliver("switch, 1.3/ps: RESULT 1", "switch, 1.3/ps: RESULT 1 #2")
    assert steps.taken() == [row(1, 0)]
    while not steps.world.flight:
        assert steps.world.do(("timer", "1.3/w1"))  # 1 has overtaken 0
    steps.deliver("1.3/w1 RESEND 0")
    assert steps.taken() == []
    (flushed,) = [label for label in steps.world.flight if label.startswith("switch, 1.3/w1: PARTIAL 0")]
    packet = Header.of(steps.world.flight[flushed].frame)
    assert (packet.bitmap0, packet.flags) == (0b11, Flag.RESEND)
    steps.deliver(flushed, "1.3/ps RESULT 0")
    steps.world.settle()
    assert steps.world.verdicts["FLUSH"] == 1
    assert steps.world.numbers()["all-reduces"] == 1
