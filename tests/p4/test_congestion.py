"""Which packets are marked at a long queue: ESA's in its header, others' in IPv4's two bits."""

from __future__ import annotations

import struct

import pytest

from esa.entries import job_entries as entries
from esa.entries.direct import apply
from esa.job import Pool
from esa.wire import Flag
from tests.p4 import traffic
from tests.p4.rack import Rack
from tests.p4.test_rules import gradient, job

ABOVE = 20
NOT_ECT, ECT_1, ECT_0, CE = 0, 1, 2, 3


@pytest.fixture(scope="module")
def rack() -> Rack:
    rack = Rack([job(1, "esa", workers=2), job(2, "ps", workers=2, pool=Pool(base=0, size=1))])
    apply([entries.ecn_entry(ABOVE)], rack.pipeline)
    return rack


def frame(rack: Rack, tos: int, options: bytes = b"", protocol: int = 6) -> bytes:
    """TCP, or what else, to the first worker."""
    words = 5 + len(options) // 4
    total = 4 * words + 20
    addresses = bytes((10, 0, 0, 9, 10, 0, 0, 1))
    header = struct.pack("!BBHHHBBH", 0x40 | words, tos, total, 7, 0x4000, 64, protocol, 0) + addresses + options
    checksum = traffic.ones_complement_sum(header)
    header = header[:10] + checksum.to_bytes(2, "big") + header[12:]
    to = bytes.fromhex(rack.jobs[0].workers[0].mac.replace(":", ""))
    return to + bytes.fromhex("020000000099") + b"\x08\x00" + header + bytes(range(20))


@pytest.mark.parametrize(
    ("tos", "left"), [(NOT_ECT, NOT_ECT), (ECT_1, CE), (ECT_0, CE), (CE, CE), (0xB8 | ECT_0, 0xB8 | CE)]
)
@pytest.mark.parametrize("waiting", [ABOVE, ABOVE + 1])
def test_what_can_be_marked_is_and_its_checksum_is_right(rack: Rack, tos: int, left: int, waiting: int) -> None:
    port = rack.jobs[0].workers[0].switch_port
    rack.pipeline.queue_depth[port] = waiting
    sent = frame(rack, tos)
    ((to, out),) = rack.pipeline.process(9, sent)
    assert to == port
    assert out[15] == (left if waiting > ABOVE else tos)
    assert traffic.ones_complement_sum(out[14:34]) == 0
    assert (out[:15], out[16:24], out[26:]) == (sent[:15], sent[16:24], sent[26:])


def test_what_has_options_or_is_not_ipv4_stays_as_it_is(rack: Rack) -> None:
    port = rack.jobs[0].workers[0].switch_port
    rack.pipeline.queue_depth[port] = ABOVE + 1
    with_options = frame(rack, ECT_0, options=b"\x01\x01\x01\x00")
    arp = with_options[:12] + b"\x08\x06" + with_options[14:]
    for sent in (with_options, arp):
        ((_, out),) = rack.pipeline.process(9, sent)
        assert out == sent


def test_a_row_and_the_results_of_a_switch_keep_the_mark(rack: Rack) -> None:
    """Each copy of a RESULT meets the queue of its own port; what a GRADIENT met before is in all of them."""
    esa = rack.jobs[0]
    rack.pipeline.queue_depth[:] = 0
    rack.pipeline.queue_depth[esa.workers[1].switch_port] = ABOVE + 1
    rack.send(gradient(esa, 0, seq=1))
    results = rack.send(gradient(esa, 1, seq=1))
    assert [one.flags & Flag.ECN for one in results] == [0, Flag.ECN]
    rack.send(gradient(esa, 0, seq=2, flags=Flag.ECN))
    assert all(one.flags & Flag.ECN for one in rack.send(gradient(esa, 1, seq=2)))


def test_a_gradient_on_its_way_to_the_ps_is_marked(rack: Rack) -> None:
    plain = rack.jobs[1]
    rack.pipeline.queue_depth[:] = 0
    rack.pipeline.queue_depth[plain.server.switch_port] = ABOVE + 1
    (forwarded,) = rack.send(gradient(plain, 0))
    assert forwarded.flags == Flag.ECN
    assert forwarded.checksum_ok
