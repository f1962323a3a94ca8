"""The switch's rules, one test each, on the compiled program: who gets a row, what leaves, and to whom.

One reason to change: a rule of the P4 program.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from esa.job import Pool, Run
from esa.policy import POLICIES
from esa.wire import ESA_PORT, Flag, Kind
from tests.p4 import traffic
from tests.p4.rack import SWITCH_IP, Rack

SHARED = Pool(base=0, size=8)
LANES = 64
INT32 = np.iinfo(np.int32)


def job(number: int, policy: str, workers: int = 2, pool: Pool = SHARED, **settings) -> Run:
    return traffic.job(number, policy, workers=workers, pool=pool, ports=32, **settings)


def gradient(j: Run, rank: int, seq: int = 0, value: int = 1, **fields) -> traffic.Packet:
    worker = j.workers[rank]
    packet = traffic.Packet(
        source=worker,
        destination=j.server,
        kind=Kind.GRADIENT,
        job=j.job,
        epoch=j.epoch,
        seq=seq,
        source_port=worker.udp_port,
        bitmap0=1 << rank,
        index=0,  # one row for everybody: collisions where a test wants them
        lanes=tuple(value + n for n in range(LANES)),
    )
    return replace(packet, **fields)


def from_server(j: Run, kind: Kind, seq: int = 0, **fields) -> traffic.Packet:
    packet = gradient(j, 0, seq, kind=kind, source=j.server, destination=j.workers[0], bitmap0=0)
    packet = replace(packet, source_port=ESA_PORT)
    if kind == Kind.REMINDER:
        packet = replace(packet, destination_ip=SWITCH_IP)
    return replace(packet, **fields)


def lanes(value: int) -> list[int]:
    return [value + n for n in range(LANES)]


def lane_sum(*values: int) -> list[int]:
    return [sum(values) + len(values) * n for n in range(LANES)]


def test_the_last_gradient_leaves_as_the_result_for_every_worker():
    j = job(1, "esa", workers=3)
    rack = Rack([j])
    assert rack.send(gradient(j, 0, value=5)) == []
    assert rack.send(gradient(j, 2, value=-7)) == []
    results = rack.send(gradient(j, 1, value=1))
    assert [(r.port, r.dst_mac, r.dst_ip, r.dst_port) for r in results] == [
        (w.switch_port, w.mac, str(w.ip), w.udp_port) for w in j.workers
    ]
    for result in results:
        assert (result.kind, result.src_ip, result.src_port) == (Kind.RESULT, str(j.server.ip), ESA_PORT)
        assert result.bitmap0 == 0b111
        assert result.lanes == lane_sum(5, -7, 1)
        assert result.checksum_ok
    assert rack.held() == 0


def test_sums_saturate():
    j = job(1, "esa")
    rack = Rack([j])
    rack.send(gradient(j, 0, lanes=(INT32.max, INT32.min) * (LANES // 2)))
    (first, _) = rack.send(gradient(j, 1, lanes=(1, -1) * (LANES // 2)))
    assert first.lanes == [INT32.max, INT32.min] * (LANES // 2)


def test_exponent_and_priority_are_merged_by_maximum_and_ecn_by_or():
    j = job(1, "esa", workers=3)
    rack = Rack([j])
    rack.send(gradient(j, 0, exponent=-5, priority=9))
    rack.send(gradient(j, 1, exponent=-3, priority=4, flags=Flag.ECN))
    result = rack.send(gradient(j, 2, exponent=-100, priority=7))[0]
    assert (result.exponent, result.priority, result.flags) == (-3, 9, Flag.ECN)


def test_a_second_copy_of_a_gradient_is_dropped():
    j = job(1, "esa", workers=3)
    rack = Rack([j])
    rack.send(gradient(j, 0, value=5))
    assert rack.send(gradient(j, 0, value=5)) == []
    rack.send(gradient(j, 1, value=6))
    assert rack.send(gradient(j, 2, value=7))[0].lanes == lane_sum(5, 6, 7)
    assert rack.counted("duplicates", j) == 1


def test_higher_priority_preempts_and_the_partial_leaves_in_its_packet():
    low, high = job(1, "esa", workers=3), job(2, "esa")
    rack = Rack([low, high])
    rack.send(gradient(low, 0, seq=7, value=5, priority=3, exponent=2))
    rack.send(gradient(low, 2, seq=7, value=6, priority=3, exponent=4))
    (partial,) = rack.send(gradient(high, 0, seq=9, value=100, priority=4))
    assert (partial.kind, partial.port, partial.dst_mac) == (Kind.PARTIAL, low.server.switch_port, low.server.mac)
    assert (partial.dst_ip, partial.dst_port, partial.src_ip) == (str(low.server.ip), ESA_PORT, SWITCH_IP)
    assert (partial.job, partial.epoch, partial.seq) == (low.job, low.epoch, 7)
    assert (partial.bitmap0, partial.bitmap1, partial.exponent) == (0b101, 1, 4)
    assert partial.flags == Flag.COLLISION
    assert partial.lanes == lane_sum(5, 6)
    assert partial.checksum_ok
    assert rack.send(gradient(high, 1, seq=9, value=1))[0].lanes == lane_sum(100, 1)
    assert (rack.counted("preemptions", high), rack.counted("evicted", low), rack.held()) == (1, 1, 0)


def test_equal_priority_goes_on_to_its_own_server_where_it_has_to_be_higher():
    first, second = job(1, "esa-higher"), job(2, "esa-higher")
    rack = Rack([first, second])
    rack.send(gradient(first, 0, priority=3))
    (passed,) = rack.send(gradient(second, 0, value=8, priority=3))
    assert (passed.kind, passed.flags, passed.port) == (Kind.GRADIENT, Flag.COLLISION, second.server.switch_port)
    assert passed.lanes == lanes(8)
    assert rack.counted("collisions", second) == 1
    assert rack.send(gradient(first, 1))[0].kind == Kind.RESULT


def test_equal_priority_preempts():
    first, second = job(1, "esa"), job(2, "esa")
    rack = Rack([first, second])
    rack.send(gradient(first, 0, priority=3))
    for _ in range(3):  # who collides leaves the row's priority as it is
        (passed,) = rack.send(gradient(second, 0, value=8, priority=2))
        assert (passed.kind, passed.flags) == (Kind.GRADIENT, Flag.COLLISION)
    (partial,) = rack.send(gradient(second, 1, value=8, priority=3))
    assert (partial.kind, partial.port, partial.bitmap0) == (Kind.PARTIAL, first.server.switch_port, 1)


def test_halving_empties_the_highest_priority_in_eight_failed_preemptions():
    seated, other = job(1, "esa-paper", workers=3), job(2, "esa-paper")
    rack = Rack([seated, other])
    rack.send(gradient(seated, 0, priority=255))
    for n in range(8):
        (out,) = rack.send(gradient(other, 0, seq=n, priority=1))
        # 255 is halved to 0 by eight packets that lose; the ninth finds "free to take".
        assert out.kind == Kind.GRADIENT
    assert rack.send(gradient(other, 0, seq=8, priority=1))[0].kind == Kind.PARTIAL
    assert rack.counted("aged", other) == 8


def test_a_match_refreshes_the_priority():
    seated, other = job(1, "esa", workers=3), job(2, "esa")
    rack = Rack([seated, other])
    rack.send(gradient(seated, 0, priority=8))
    rack.send(gradient(other, 0, priority=6))  # ages the row to 4
    rack.send(gradient(seated, 1, priority=8))
    assert rack.send(gradient(other, 0, priority=7))[0].kind == Kind.GRADIENT


def test_atp_never_preempts():
    low, high = job(1, "atp"), job(2, "atp")
    rack = Rack([low, high])
    rack.send(gradient(low, 0, priority=1))
    (passed,) = rack.send(gradient(high, 0, priority=255))
    assert (passed.kind, passed.flags) == (Kind.GRADIENT, Flag.COLLISION)
    assert rack.counted("preemptions", high) == rack.counted("aged", high) == 0


def test_atp_holds_a_complete_row_until_the_server_acknowledges():
    j = job(1, "atp")
    rack = Rack([j])
    rack.send(gradient(j, 0, value=5))
    (total,) = rack.send(gradient(j, 1, value=6))
    assert (total.kind, total.port, total.bitmap0) == (Kind.PARTIAL, j.server.switch_port, 0b11)
    assert total.lanes == lane_sum(5, 6)
    (again,) = rack.send(gradient(j, 0, value=5))
    assert (again.kind, again.lanes) == (Kind.PARTIAL, lane_sum(5, 6))
    assert rack.held() == 1
    results = rack.send(from_server(j, Kind.RESULT, flags=Flag.RELEASE, lanes=tuple(lane_sum(5, 6))))
    assert [r.dst_mac for r in results] == [w.mac for w in j.workers]
    assert rack.held() == 0


def test_a_release_clears_only_its_own_fragment():
    j = job(1, "atp")
    rack = Rack([j])
    rack.send(gradient(j, 0, seq=1))
    rack.send(from_server(j, Kind.RESULT, seq=0, flags=Flag.RELEASE))
    assert rack.held() == 1


@pytest.mark.parametrize("policy", ["esa-paper", "atp-hashed"])
def test_resends_never_seat(policy):
    j = job(1, policy)
    rack = Rack([j])
    (passed,) = rack.send(gradient(j, 0, value=3, flags=Flag.RESEND))
    assert (passed.kind, passed.flags, passed.port) == (Kind.GRADIENT, Flag.RESEND, j.server.switch_port)
    rack.send(gradient(j, 1))
    assert len(rack.send(gradient(j, 0, flags=Flag.RESEND))) == 1
    assert rack.held() == 1
    assert rack.counted("resends", j) == 2


def test_a_kept_sum_answers_who_missed_it_until_somebody_takes_its_row():
    j = job(1, "esa")
    rack = Rack([j])
    rack.send(gradient(j, 0, value=3, exponent=2))
    assert len(rack.send(gradient(j, 1, value=4, exponent=5))) == 2
    assert rack.held() == 0
    for flags in (Flag.RESEND, 0):  # a copy that comes late is answered, too, and takes no row
        (answer,) = rack.send(gradient(j, 0, value=3, flags=flags))
        assert (answer.kind, answer.flags, answer.port) == (Kind.RESULT, 0, j.workers[0].switch_port)
        assert (answer.lanes, answer.exponent, answer.src_ip) == (lane_sum(3, 4), 5, str(j.server.ip))
    (miss,) = rack.send(from_server(j, Kind.REMINDER))
    assert miss.kind == Kind.MISS  # the row is free
    rack.send(gradient(j, 1, seq=8))  # the same row
    assert (rack.held(), rack.counted("evicted", j)) == (1, 0)
    (passed,) = rack.send(gradient(j, 0, value=3, flags=Flag.RESEND))
    assert (passed.kind, passed.port) == (Kind.GRADIENT, j.server.switch_port)


def test_where_sums_are_kept_a_resend_adds_and_never_takes_a_row():
    j = job(1, "esa", workers=3)
    rack = Rack([j])
    (passed,) = rack.send(gradient(j, 0, value=3, flags=Flag.RESEND))
    assert (passed.kind, passed.flags, passed.port) == (Kind.GRADIENT, Flag.RESEND, j.server.switch_port)
    rack.send(gradient(j, 1, value=5))
    assert rack.send(gradient(j, 0, value=3, flags=Flag.RESEND)) == []
    (passed,) = rack.send(gradient(j, 0, value=3, flags=Flag.RESEND))  # what the row has already
    assert (passed.kind, passed.port) == (Kind.GRADIENT, j.server.switch_port)
    (passed,) = rack.send(gradient(j, 0, seq=8, priority=255, flags=Flag.RESEND))  # another's row
    assert (passed.kind, passed.seq) == (Kind.GRADIENT, 8)
    results = rack.send(gradient(j, 2, value=7, flags=Flag.RESEND))
    assert [r.lanes for r in results] == [lane_sum(3, 5, 7)] * 3
    assert rack.held() == 0


def test_a_sum_is_kept_by_who_asks_for_that():
    paper = job(1, "esa-paper")
    rack = Rack([paper])
    for rank in range(2):
        rack.send(gradient(paper, rank))
    (passed,) = rack.send(gradient(paper, 0, flags=Flag.RESEND))
    assert passed.kind == Kind.GRADIENT


def test_a_reminder_fetches_the_row_or_misses():
    j = job(1, "esa", workers=3)
    rack = Rack([j])
    rack.send(gradient(j, 1, seq=4, value=9, exponent=3))
    (partial,) = rack.send(from_server(j, Kind.REMINDER, seq=4))
    assert (partial.kind, partial.port, partial.bitmap0) == (Kind.PARTIAL, j.server.switch_port, 0b010)
    assert (partial.lanes, partial.exponent, partial.src_ip) == (lanes(9), 3, SWITCH_IP)
    assert partial.flags == 0, "nobody took the row"
    (miss,) = rack.send(from_server(j, Kind.REMINDER, seq=4))
    assert (miss.kind, miss.port, miss.seq, miss.dst_ip) == (Kind.MISS, j.server.switch_port, 4, str(j.server.ip))
    assert (rack.counted("reminders", j), rack.counted("misses", j), rack.held()) == (2, 1, 0)


def test_a_reminder_for_another_switch_passes():
    j = job(1, "esa")
    rack = Rack([j])
    rack.send(gradient(j, 0))
    (passed,) = rack.send(from_server(j, Kind.REMINDER, destination_ip="10.0.0.251"))
    assert passed.kind == Kind.REMINDER
    assert rack.held() == 1


def test_release_on_reuse_answers_resends_until_the_slot_is_reused():
    j = job(1, "switchml", workers=2, pool=Pool(base=0, size=4))
    rack = Rack([j])
    rack.send(gradient(j, 0, seq=0, value=5))
    results = rack.send(gradient(j, 1, seq=0, value=6, flags=Flag.RESEND))  # its original was lost
    assert [r.kind for r in results] == [Kind.RESULT] * 2
    (answer,) = rack.send(gradient(j, 1, seq=0, value=6, flags=Flag.RESEND))
    assert (answer.kind, answer.port, answer.dst_port) == (Kind.RESULT, j.workers[1].switch_port, j.workers[1].udp_port)
    assert (answer.lanes, answer.src_ip) == (lane_sum(5, 6), str(j.server.ip))
    assert rack.send(gradient(j, 0, seq=4, value=1)) == []
    assert rack.send(gradient(j, 1, seq=0, value=6)) == []  # older than the row
    assert rack.send(gradient(j, 1, seq=4, value=2))[0].lanes == lane_sum(1, 2)
    assert rack.counted("collisions", j) == 0
    assert rack.held() == 1


def test_release_on_reuse_takes_a_row_that_nobody_will_complete():
    j = job(1, "switchml", workers=2, pool=Pool(base=0, size=4))
    rack = Rack([j])
    rack.send(gradient(j, 0, seq=0, value=5))
    rack.send(from_server(j, Kind.REMINDER, seq=0))  # the PS completes it with what rank 1 answers
    rack.send(gradient(j, 1, seq=0, value=6))  # late
    assert rack.send(gradient(j, 0, seq=4, value=1)) == []
    assert rack.send(gradient(j, 1, seq=4, value=2))[0].lanes == lane_sum(1, 2)
    assert rack.counted("collisions", j) == rack.counted("evicted", j) == 0


def test_release_on_reuse_passes_a_resend_that_the_row_has_to_the_server():
    # The row was lost after the peer had its result: only the PS can find that out.
    j = job(1, "switchml", pool=Pool(base=0, size=4))
    rack = Rack([j])
    rack.send(gradient(j, 1, seq=0, flags=Flag.RESEND))
    assert rack.send(gradient(j, 1, seq=0)) == []
    (passed,) = rack.send(gradient(j, 1, seq=0, value=6, flags=Flag.RESEND))
    assert (passed.kind, passed.flags, passed.port) == (Kind.GRADIENT, Flag.RESEND, j.server.switch_port)
    assert passed.lanes == lanes(6)
    assert rack.held() == 1


def test_an_expired_row_is_swapped_out():
    dead, live = job(1, "esa"), job(2, "atp", ttl_us=1000)
    rack = Rack([dead, live])
    rack.send(gradient(dead, 0, value=4), at_us=10)
    assert rack.send(gradient(live, 0), at_us=1010)[0].flags == Flag.COLLISION
    (partial,) = rack.send(gradient(live, 0), at_us=1011)
    assert (partial.kind, partial.job, partial.lanes) == (Kind.PARTIAL, dead.job, lanes(4))
    assert (rack.counted("expired", live), rack.counted("preemptions", live)) == (1, 0)


@pytest.mark.parametrize("name", sorted(set(POLICIES) - {"ps"}))
def test_a_row_of_an_ended_run_is_taken_whatever_the_priority_and_its_content_thrown_away(name):
    ended, live = job(1, "esa"), job(2, name)
    rack = Rack([ended, live])
    rack.send(gradient(ended, 0, priority=255, exponent=9, flags=Flag.ECN))
    rack.remove(ended)
    assert rack.send(gradient(ended, 1)) == []
    assert rack.denied("unknown sender") == 1, "it is still the newest run of its job"
    assert rack.send(gradient(live, 0, value=2, priority=0)) == []
    assert rack.held() == 1
    counted = {name: rack.counted(name, live) for name in ("seated", "preemptions", "expired", "collisions")}
    assert counted == {"seated": 1, "preemptions": 0, "expired": 0, "collisions": 0}
    assert rack.counted_for_nobody("released") == 1
    done = rack.send(gradient(live, 1, value=3, priority=0))[0]
    assert (done.lanes, done.exponent, done.flags) == (lane_sum(2, 3), 0, 0)


def test_a_row_of_an_ended_run_serves_the_next_run_of_its_job_like_any_other():
    old = job(1, "esa")
    new = old.run(old.epoch + 1)
    rack = Rack([old, new])
    rack.send(gradient(old, 0, value=100, priority=255))
    rack.remove(old)
    assert rack.send(gradient(new, 1, value=2, priority=1)) == []
    assert rack.send(gradient(new, 0, value=3, priority=1))[0].lanes == lane_sum(2, 3)


def test_a_sum_of_one_completes_in_the_row_of_an_ended_run():
    ended, live = job(1, "esa"), job(2, "atp", workers=1)  # ATP keeps the row until the PS acknowledges
    rack = Rack([ended, live])
    rack.send(gradient(ended, 0, priority=255))
    rack.remove(ended)
    (done,) = rack.send(gradient(live, 0, value=2))
    assert (done.kind, done.port, done.lanes) == (Kind.PARTIAL, live.server.switch_port, lanes(2))
    assert rack.held() == 1


def test_a_resend_takes_no_row_of_an_ended_run():
    ended, live = job(1, "esa"), job(2, "esa")
    rack = Rack([ended, live])
    rack.send(gradient(ended, 0))
    rack.remove(ended)
    before = rack.rows()
    assert [out.port for out in rack.send(gradient(live, 0, flags=Flag.RESEND))] == [live.server.switch_port]
    for kind in (Kind.REMINDER, Kind.RESULT):
        rack.send(from_server(live, kind, flags=Flag.RELEASE if kind == Kind.RESULT else 0))
    assert rack.rows() == before


def test_a_stranger_is_of_another_run_unless_it_names_the_newest():
    old = job(1, "esa")
    new = old.run(old.epoch + 1)
    rack = Rack([new])
    assert rack.send(gradient(old, 0)) == rack.send(gradient(new, 0, source_port=9)) == []
    assert rack.send(gradient(new, 0, job=9)) == []
    assert (rack.denied("other run"), rack.denied("unknown sender")) == (2, 1)


def test_fan_in_one_completes_without_a_row():
    j = job(1, "esa", workers=1)
    rack = Rack([j])
    (result,) = rack.send(gradient(j, 0, value=3))
    assert (result.kind, result.lanes, result.dst_port) == (Kind.RESULT, lanes(3), j.workers[0].udp_port)
    assert rack.held() == rack.counted("seated", j) == 0


def test_without_a_pool_everything_passes():
    j = job(1, "ps")
    rack = Rack([j])
    for rank in range(2):
        (passed,) = rack.send(gradient(j, rank))
        assert (passed.kind, passed.flags, passed.port) == (Kind.GRADIENT, 0, j.server.switch_port)
    assert (rack.counted("gradients", j), rack.counted("aggregated", j)) == (2, 0)


def test_queries_and_answers_pass():
    j = job(1, "esa")
    rack = Rack([j])
    (query,) = rack.send(from_server(j, Kind.QUERY, destination_port=j.workers[0].udp_port))
    assert (query.kind, query.port) == (Kind.QUERY, j.workers[0].switch_port)
    (answer,) = rack.send(gradient(j, 1, kind=Kind.RESULT, flags=Flag.ANSWER))
    assert (answer.kind, answer.port) == (Kind.RESULT, j.server.switch_port)
    (unicast,) = rack.send(
        from_server(j, Kind.RESULT, flags=Flag.ANSWER | Flag.RELEASE, destination_port=j.workers[0].udp_port)
    )
    assert (unicast.kind, unicast.port) == (Kind.RESULT, j.workers[0].switch_port)


def test_broadcast_floods_every_port_but_its_own():
    one, other = job(1, "esa"), job(2, "esa")
    rack = Rack([one, other])
    frame = b"\xff" * 6 + bytes.fromhex(one.workers[0].mac.replace(":", "")) + b"\x08\x06" + bytes(46)
    ports = [port for port, _ in rack.pipeline.process(one.workers[0].switch_port, frame)]
    assert ports == [p for p in rack.ports if p != one.workers[0].switch_port]
