"""The mark that a collision leaves in a row (A2TP: its released program has a register for it, p4ml2/p4ml2.p4)."""

from __future__ import annotations

import pytest

from esa.wire import Flag, Kind
from tests.p4 import test_two_tiers as tiers
from tests.p4.rack import Rack
from tests.p4.test_rules import from_server, gradient, job
from tests.p4.tree import Tree


@pytest.mark.parametrize(("name", "said"), [("a2tp", Flag.CONTESTED), ("atp", Flag(0))])
def test_the_sum_of_a_row_that_anothers_packet_met_says_so(name, said):
    first, second = job(1, name), job(2, name)
    rack = Rack([first, second])
    rack.send(gradient(first, 0))
    (passed,) = rack.send(gradient(second, 0))
    assert (passed.kind, passed.flags) == (Kind.GRADIENT, Flag.COLLISION)
    (whole,) = rack.send(gradient(first, 1))
    assert (whole.kind, whole.flags) == (Kind.PARTIAL, said)
    rack.send(from_server(first, Kind.RESULT, 0, flags=Flag.RELEASE))
    assert rack.held() == 0

    rack.send(gradient(second, 1, seq=1))  # who takes the row next hears nothing of it
    (whole,) = rack.send(gradient(second, 0, seq=1))
    assert (whole.kind, whole.flags) == (Kind.PARTIAL, 0)


def test_a_resend_takes_the_mark_along_and_leaves_none_where_it_meets_anothers_row():
    first, second = job(1, "a2tp", workers=3), job(2, "a2tp")
    rack = Rack([first, second])
    rack.send(gradient(first, 0))
    rack.send(gradient(second, 0, flags=Flag.RESEND))  # past the rows
    rack.send(gradient(first, 1))
    rack.send(gradient(second, 0))
    (flushed,) = rack.send(gradient(first, 2, flags=Flag.RESEND))
    assert (flushed.kind, flushed.flags) == (Kind.PARTIAL, Flag.RESEND | Flag.CONTESTED)
    rack.send(gradient(first, 0, seq=1))
    rack.send(gradient(second, 0, flags=Flag.RESEND))
    rack.send(gradient(first, 1, seq=1))
    (whole,) = rack.send(gradient(first, 2, seq=1))
    assert (whole.kind, whole.flags) == (Kind.PARTIAL, 0)


def test_workers_of_a_job_without_a_ps_in_between_read_it_too():
    low, high = job(1, "a2tp"), job(2, "esa")
    rack = Rack([low, high])
    rack.send(gradient(high, 0, priority=9))
    rack.send(gradient(low, 0, priority=1))
    results = rack.send(gradient(high, 1, priority=9))
    assert {(r.kind, r.flags) for r in results} == {(Kind.RESULT, Flag.CONTESTED)}
    (kept,) = rack.send(gradient(high, 1, priority=9, flags=Flag.RESEND))
    assert (kept.kind, kept.flags) == (Kind.RESULT, Flag.CONTESTED)


def test_no_worker_says_so_of_itself():
    j = job(1, "a2tp")
    rack = Rack([j])
    assert rack.send(gradient(j, 0, flags=Flag.CONTESTED)) == []
    assert rack.held() == 0


def test_what_a_racks_row_met_the_ps_reads_over_two_tiers():
    first, second = tiers.job(1, "a2tp"), tiers.job(2, "a2tp")
    tree = Tree(tiers.NETWORK, [first, second])
    arrived = {}
    for rank in range(first.fan_in):
        arrived = tree.send(tiers.gradient(first, rank).frame())
        if rank == 0:
            tree.send(tiers.gradient(second, 0).frame())  # in the same rack, to the same row
    ((whole,),) = arrived.values()
    assert (whole.kind, whole.flags) == (Kind.PARTIAL, Flag.LEVEL1 | Flag.CONTESTED)
