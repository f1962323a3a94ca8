"""ATP's rule for resends, as its released program has it (in-ATP/ATP, p4src/p4ml.p4 and includes/common.p4).

A resend that finds its fragment's row zeroes owner and bitmap and goes on to the PS with the row's sum, and with its
own values where its bit was not among them; one that finds no such row goes on as it is, without a mark.
"""

from __future__ import annotations

from esa.wire import Flag, Kind
from tests.p4.rack import Rack
from tests.p4.test_rules import from_server, gradient, job, lane_sum, lanes


def test_a_resend_takes_the_rows_sum_along_and_adds_its_own_part():
    j = job(1, "atp", workers=3)
    rack = Rack([j])
    rack.send(gradient(j, 0, seq=7, value=5, priority=9, exponent=-3, flags=Flag.ECN))
    (flushed,) = rack.send(gradient(j, 2, seq=7, value=6, priority=4, exponent=2, flags=Flag.RESEND))
    assert (flushed.kind, flushed.flags, flushed.port) == (
        Kind.PARTIAL,
        Flag.RESEND | Flag.ECN,
        j.server.switch_port,
    )
    assert (flushed.bitmap0, flushed.bitmap1, flushed.seq) == (0b101, 1, 7)
    assert (flushed.lanes, flushed.priority, flushed.exponent) == (lane_sum(5, 6), 9, 2)
    assert (flushed.src_ip, flushed.dst_ip) == (str(j.workers[2].ip), str(j.server.ip))
    assert flushed.checksum_ok
    assert rack.held() == 0


def test_a_resend_whose_part_the_row_has_takes_the_row_alone():
    j = job(1, "atp", workers=3)
    rack = Rack([j])
    rack.send(gradient(j, 0, value=5))
    rack.send(gradient(j, 1, value=7))
    (flushed,) = rack.send(gradient(j, 1, value=7, flags=Flag.RESEND))
    assert (flushed.kind, flushed.bitmap0, flushed.lanes) == (Kind.PARTIAL, 0b011, lane_sum(5, 7))
    assert rack.held() == 0
    (passed,) = rack.send(gradient(j, 1, value=7, flags=Flag.RESEND))
    assert (passed.kind, passed.flags, passed.lanes) == (Kind.GRADIENT, Flag.RESEND, lanes(7))


def test_a_row_that_waits_for_the_server_is_taken_along_too():
    j = job(1, "atp")
    rack = Rack([j])
    rack.send(gradient(j, 0, value=5))
    rack.send(gradient(j, 1, value=7))
    assert rack.held() == 1
    (flushed,) = rack.send(gradient(j, 0, value=5, flags=Flag.RESEND))
    assert (flushed.kind, flushed.bitmap0, flushed.lanes) == (Kind.PARTIAL, 0b11, lane_sum(5, 7))
    assert rack.held() == 0
    assert rack.counted("completed", j) == 1


def test_what_completes_by_a_resend_leaves_by_the_server():
    j = job(1, "atp")
    rack = Rack([j])
    rack.send(gradient(j, 0, value=5))
    (flushed,) = rack.send(gradient(j, 1, value=7, flags=Flag.RESEND))
    assert (flushed.kind, flushed.bitmap0, flushed.lanes) == (Kind.PARTIAL, 0b11, lane_sum(5, 7))
    assert (rack.held(), rack.counted("resends", j), rack.counted("released", j)) == (0, 1, 1)


def test_a_resend_without_a_row_of_its_own_goes_on_as_it_is():
    j, other = job(1, "atp"), job(2, "atp")
    rack = Rack([j, other])
    free = rack.send(gradient(j, 0, value=3, flags=Flag.RESEND))
    rack.send(gradient(other, 0, seq=1))
    anothers = rack.send(gradient(j, 0, value=3, priority=255, flags=Flag.RESEND))
    for (passed,) in (free, anothers):
        assert (passed.kind, passed.flags, passed.port) == (Kind.GRADIENT, Flag.RESEND, j.server.switch_port)
        assert passed.lanes == lanes(3)
    assert (rack.held(), rack.counted("collisions", j)) == (1, 0)
    rack.remove(other)
    (passed,) = rack.send(gradient(j, 0, value=3, flags=Flag.RESEND))
    assert passed.kind == Kind.GRADIENT
    assert rack.held() == 1


def test_what_is_sent_once_is_treated_as_ever():
    j = job(1, "atp", workers=3)
    rack = Rack([j])
    rack.send(gradient(j, 0, value=3))
    assert rack.send(gradient(j, 0, value=3)) == []
    rack.send(from_server(j, Kind.RESULT, flags=Flag.RELEASE))
    assert rack.held() == 0
