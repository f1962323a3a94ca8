"""Programs: what the builders make of operations, what they refuse, and what the programs of one job have in common."""

from __future__ import annotations

import numpy as np
import pytest

from esa.workloads import Bucket
from esa.workloads.program import (
    COMPUTE,
    LOOP,
    REDUCE,
    WAIT,
    Program,
    check_together,
    compute,
    loop,
    mark,
    program,
    recv,
    reduce,
    send,
    training,
    wait,
)

BUCKETS = (Bucket(400, 10, 20), Bucket(800, 30, 40), Bucket(1200, 50, 60))
PRIORITY = np.full((5, 3), 100, np.uint8)


def shown(made: Program) -> list[tuple[int, ...]]:
    """By operation: its kind and what makes it."""
    key = {COMPUTE: ("ns",), REDUCE: ("bytes", "column"), WAIT: ("but_last",), LOOP: ("times", "body")}
    return [
        (kind, *(int(op[name]) for name in key[kind])) for op in made.operations if (kind := int(op["kind"])) in key
    ]


def test_ddp_sends_what_it_has_computed_and_waits_for_all() -> None:
    assert shown(training(BUCKETS, 5, "ddp", PRIORITY)) == [
        (WAIT, 0), (COMPUTE, 50), (COMPUTE, 30), (COMPUTE, 10),
        (COMPUTE, 20), (REDUCE, 400, 0), (COMPUTE, 40), (REDUCE, 800, 1), (COMPUTE, 60), (REDUCE, 1200, 2),
        (LOOP, 5, 10),
    ]  # fmt: skip


def test_front_first_sends_front_layers_first_and_waits_for_what_it_comes_to() -> None:
    assert shown(training(BUCKETS, 5, "front-first", PRIORITY)) == [
        (WAIT, 2), (COMPUTE, 50), (WAIT, 1), (COMPUTE, 30), (WAIT, 0), (COMPUTE, 10),
        (COMPUTE, 20), (COMPUTE, 40), (COMPUTE, 60), (REDUCE, 1200, 2), (REDUCE, 800, 1), (REDUCE, 400, 0),
        (LOOP, 5, 12),
    ]  # fmt: skip


def test_a_bucket_without_bytes_is_computed_and_not_waited_for() -> None:
    made = training((BUCKETS[0], Bucket(0, 7, 8), BUCKETS[2]), 5, "front-first", PRIORITY)
    assert [op for op in shown(made) if op[0] in (WAIT, REDUCE)] == [
        (WAIT, 1), (WAIT, 1), (WAIT, 0), (REDUCE, 1200, 2), (REDUCE, 400, 0)
    ]  # fmt: skip


def test_how_often_operations_happen() -> None:
    made = program(compute(1), loop(3, compute(2), mark()), compute(3), loop(4, compute(4)))
    assert made.repeats.tolist() == [1, 3, 3, 1, 1, 4, 1]
    assert (made.count(COMPUTE), made.count(LOOP)) == (4, 2)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((), "program: no operations; allowed: at least one"),
        (compute(-1), "program: operation 0, COMPUTE: ns -1; allowed: 0 to 10000000000000"),
        ((*compute(0), *reduce(0, 5)), "program: operation 1, REDUCE: bytes 0; allowed: 1 to 1099511627776"),
        (reduce(4, 256), "program: operation 0, REDUCE: priority 256; allowed: 0 to 255"),
        (reduce(4), "program: operation 0, REDUCE: no priority; allowed: 1 to 255, or a table"),
        (reduce(4, 1, group=1), "program: operation 0, REDUCE: group 1; allowed: 0 to 0"),
        (send(-1, 4), "program: operation 0, SEND: peer -1; allowed: 0 to 2147483648"),
        (send(1, 0), "program: operation 0, SEND: bytes 0; allowed: 1 to 1099511627776"),
        (recv(-1), "program: operation 0, RECV: tag -1; allowed: 0 to 2147483648"),
        (wait(-1), "program: operation 0, WAIT: but_last -1; allowed: 0 to 1000000000"),
        (loop(0, mark()), "program: operation 1, LOOP: times 0; allowed: 1 to 1000000000"),
        (loop(2), "program: operation 0, LOOP: body 0; allowed: 1 to 0"),
        (loop(2, loop(2, mark())), "program: operation 2, LOOP: a loop in its body; allowed: loops that do not nest"),
    ],
)  # fmt: skip
def test_what_is_refused(steps, message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        program(steps)
    assert str(refused.value) == message


def test_tables_have_a_line_for_every_round() -> None:
    steps = loop(5, reduce(4, column=1))
    program(steps, priority=PRIORITY, pace=np.ones(5))
    with pytest.raises(ValueError, match=r"column 3; allowed: 0 to 2"):
        program(loop(5, reduce(4, column=3)), priority=PRIORITY)
    with pytest.raises(ValueError, match=r"program: priority: 4 rounds, least 100; allowed: uint8 \(5 rounds"):
        program(steps, priority=PRIORITY[:4])
    with pytest.raises(ValueError, match=r"program: priority: 5 rounds, least 0; allowed: .*1\.\.255"):
        program(steps, priority=PRIORITY * 0)
    with pytest.raises(ValueError, match=r"program: pace: 4 rounds; allowed: 5, each from 0 and finite"):
        program(steps, priority=PRIORITY, pace=np.ones(4))
    with pytest.raises(ValueError, match=r"order: 'last'; allowed: ddp, front-first"):
        training(BUCKETS, 5, "last", PRIORITY)


def test_ranks_begin_the_same_sums_however_they_loop() -> None:
    looped, written_out = program(loop(2, reduce(4, 1), reduce(8, 1))), program(*[reduce(4, 1), reduce(8, 2)] * 2)
    check_together([looped, written_out])
    for other in (program(loop(2, reduce(8, 1), reduce(4, 1))), program(reduce(4, 1), reduce(8, 1)), program(mark())):
        with pytest.raises(ValueError, match="programs: rank 1 begins other sums than rank 0"):
            check_together([looped, other])


def test_what_is_sent_is_received() -> None:
    check_together([program(send(1, 4, tag=7), recv(8)), program(loop(1, recv(7)), send(0, 4, tag=8))])
    with pytest.raises(ValueError, match="programs: rank 1 receives 2 messages 7; 1 are sent to it"):
        check_together([program(send(1, 4, tag=7)), program(loop(2, recv(7)))])
    with pytest.raises(ValueError, match="programs: rank 1 receives 0 messages 7; 1 are sent to it"):
        check_together([program(send(1, 4, tag=7)), program(mark())])
    for peer in (0, 2):
        with pytest.raises(ValueError, match=rf"programs: rank 0 sends to {peer}; allowed: another of the 2 ranks"):
            check_together([program(send(peer, 4)), program(recv())])
