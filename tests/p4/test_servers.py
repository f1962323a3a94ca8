"""A job with several PSs on the compiled program: whose fragment a packet has is whose PS it leaves for."""

from __future__ import annotations

import pytest

from esa.job import Run
from esa.wire import Flag, Kind
from tests.p4.rack import Rack
from tests.p4.test_rules import from_server, gradient, job


def address(j: Run, seq: int) -> tuple[str, str]:
    server = j.servers[seq % len(j.servers)]
    return server.mac, str(server.ip)


@pytest.mark.parametrize("servers", [1, 2, 4])
@pytest.mark.parametrize("seq", [0, 1, 2, 3, 7, 2**32 - 3])
def test_a_preempted_sum_goes_to_the_ps_of_its_fragment(servers: int, seq: int) -> None:
    evicted, other = job(1, "esa", workers=3, servers=servers), job(2, "esa", servers=2)
    rack = Rack([evicted, other])
    rack.send(gradient(evicted, 0, seq, value=5))
    rack.send(gradient(evicted, 1, seq, value=1))
    (partial,) = rack.send(gradient(other, 0, seq=1, priority=9))
    assert (partial.kind, partial.flags, partial.job, partial.seq) == (Kind.PARTIAL, Flag.COLLISION, 1, seq)
    assert (partial.dst_mac, partial.dst_ip) == address(evicted, seq)
    assert partial.port == evicted.servers[seq % servers].switch_port


@pytest.mark.parametrize("seq", [4, 5, 6, 7])
def test_a_reminder_is_answered_to_the_ps_that_asked(seq: int) -> None:
    j = job(1, "esa", workers=3, servers=4)
    rack = Rack([j])
    server = j.servers[seq % 4]
    rack.send(gradient(j, 0, seq))
    (fetched,) = rack.send(from_server(j, Kind.REMINDER, seq, source=server))
    (missed,) = rack.send(from_server(j, Kind.REMINDER, seq, source=server))
    assert [(p.kind, p.dst_mac, p.dst_ip) for p in (fetched, missed)] == [
        (Kind.PARTIAL, *address(j, seq)),
        (Kind.MISS, *address(j, seq)),
    ]


def test_any_of_its_pss_may_release_and_none_of_another_jobs() -> None:
    j, other = job(1, "atp", workers=2, servers=2), job(2, "atp", servers=2)
    rack = Rack([j, other])
    rack.send(gradient(j, 0, seq=1))
    rack.send(from_server(j, Kind.RESULT, 1, source=other.servers[1], flags=Flag.RELEASE))
    assert rack.held() == 1
    results = rack.send(from_server(j, Kind.RESULT, 1, source=j.servers[1], flags=Flag.RELEASE))
    assert rack.held() == 0
    assert {result.src_ip for result in results} == {str(j.servers[1].ip)}
