"""Two tiers on the compiled program, packet by packet: two racks of workers, a root, and a PS behind a third switch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from esa.entries.direct import apply, remove
from esa.entries.tiers import job_items
from esa.job import Run
from esa.policy import POLICIES
from esa.wire import ESA_PORT, Flag, Kind
from tests.p4.test_rules import lane_sum, lanes
from tests.p4.traffic import Packet, mac
from tests.p4.tree import Tree, host_number, leaf_spine, spread

NETWORK = leaf_spine(racks=3, spines=2)
RACKS = [switch.ip for switch in NETWORK.racks]
SPINES = [switch.ip for switch in NETWORK.spines]
PLACES = {0: (0, 1, 2), 1: (0, 1)}
AGGREGATING = sorted(name for name, policy in POLICIES.items() if policy.pool != "none")


def job(number: int, policy: str, **settings) -> Run:
    return spread(NETWORK, number, policy, PLACES, (2, number), **settings)


def gradient(j: Run, rank: int, seq: int = 0, value: int = 1, **fields) -> Packet:
    worker = j.workers[rank]
    rack, bit = j.place(rank)
    packet = Packet(
        source=worker,
        destination=j.server,
        kind=Kind.GRADIENT,
        job=j.job,
        epoch=j.epoch,
        seq=seq,
        source_port=worker.udp_port,
        bitmap0=1 << bit,
        bitmap1=1 << rack,
        index=0,
        lanes=tuple(lanes(value)),
    )
    return replace(packet, **fields)


def from_server(j: Run, kind: Kind, to, seq: int = 0, **fields) -> Packet:
    """From the PS to a rank, or to a switch of the network."""
    packet = replace(gradient(j, 0, seq), kind=kind, source=j.server, source_port=ESA_PORT, bitmap0=0)
    if isinstance(to, int):
        return replace(packet, destination=j.workers[to], destination_port=j.workers[to].udp_port, **fields)
    destination = j.server.model_copy(update={"ip": to.ip, "mac": to.mac})
    return replace(packet, destination=destination, **fields)


def values(j: Run) -> list[int]:
    return [3**rank for rank in range(j.fan_in)]


def root_of(j: Run):
    return next(spine for spine in NETWORK.spines if spine.ip == j.switch_ip)


def everybodys(j: Run, arrived) -> None:
    """Each worker got one RESULT with the sum of `values`, from the PS's address; nobody else got anything."""
    assert set(arrived) == {worker.mac for worker in j.workers}
    for worker in j.workers:
        (result,) = arrived[worker.mac]
        assert (result.kind, result.src_ip, result.src_port) == (Kind.RESULT, str(j.server.ip), ESA_PORT)
        assert (result.dst_mac, result.dst_ip, result.dst_port) == (worker.mac, str(worker.ip), worker.udp_port)
        assert result.lanes == lane_sum(*values(j))
        assert result.checksum_ok


@pytest.mark.parametrize("number", [1, 2])  # PSs behind either spine
@pytest.mark.parametrize("name", AGGREGATING)
def test_every_worker_gets_the_sum_once(name, number):
    j = job(number, name)
    tree = Tree(NETWORK, [j])
    *early, last = [gradient(j, rank, value=value) for rank, value in enumerate(values(j))]
    assert [tree.send(packet.frame()) for packet in early] == [{}] * len(early)
    arrived = tree.send(last.frame())
    if POLICIES[name].emit.name == "TO_SERVER":
        assert set(arrived) == {j.server.mac}
        (total,) = arrived[j.server.mac]
        assert (total.kind, total.flags, total.bitmap1) == (Kind.PARTIAL, Flag.LEVEL1, 0b11)
        assert total.lanes == lane_sum(*values(j))
        assert set(tree.held()) == {RACKS[0], RACKS[1], j.switch_ip}
        result = from_server(j, Kind.RESULT, 0, flags=Flag.RELEASE, lanes=tuple(total.lanes))
        arrived = tree.send(result.frame())
    everybodys(j, arrived)
    held = {RACKS[0], RACKS[1], j.switch_ip} if name == "switchml" else set()
    assert set(tree.held()) == held
    assert list(tree.denied()) == []


def test_under_ps_everything_passes_both_ways():
    j = job(1, "ps")
    tree = Tree(NETWORK, [j])
    for rank in range(j.fan_in):
        arrived = tree.send(gradient(j, rank, value=rank).frame())
        assert {where: [(s.kind, s.flags, s.lanes) for s in seen] for where, seen in arrived.items()} == {
            j.server.mac: [(Kind.GRADIENT, 0, lanes(rank))]
        }
        result = from_server(j, Kind.RESULT, rank, flags=Flag.ANSWER)
        assert set(tree.send(result.frame())) == {j.workers[rank].mac}
    assert tree.held() == {}
    assert list(tree.denied()) == []


def test_under_ps_the_server_may_sit_with_its_workers():
    j = spread(NETWORK, 1, "ps", PLACES, (0, 4))
    tree = Tree(NETWORK, [j])
    for rank in range(j.fan_in):
        assert set(tree.send(gradient(j, rank).frame())) == {j.server.mac}
        assert set(tree.send(from_server(j, Kind.RESULT, rank, flags=Flag.ANSWER).frame())) == {j.workers[rank].mac}


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("name", ["esa", "atp", "switchml", "ps"])
def test_what_nobody_adds_passes_whatever_spine_it_takes(name, number):
    j = job(number, name)
    tree = Tree(NETWORK, [j])
    flags = [0, Flag.COLLISION]
    for rank, worker in enumerate(j.workers):
        sent = [from_server(j, Kind.QUERY, rank, flags=flag) for flag in flags]
        sent.append(from_server(j, Kind.RESULT, rank, flags=Flag.ANSWER))
        for packet in sent:
            ((seen,),) = (arrived := tree.send(packet.frame())).values()
            assert (set(arrived), seen.kind) == ({worker.mac}, packet.kind)
        answer = gradient(j, rank, kind=Kind.RESULT, flags=Flag.ANSWER)
        ((seen,),) = (arrived := tree.send(answer.frame())).values()
        assert (set(arrived), seen.kind, seen.flags) == ({j.server.mac}, Kind.RESULT, Flag.ANSWER)
    if name != "switchml":  # there a RESEND is a gradient like any other
        ((seen,),) = tree.send(gradient(j, 0, flags=Flag.RESEND).frame()).values()
        assert (seen.src_ip, seen.flags, seen.bitmap0, seen.bitmap1) == (str(j.workers[0].ip), Flag.RESEND, 1, 1)
    assert list(tree.denied()) == []


def test_a_row_preempted_in_a_rack_leaves_as_a_partial():
    low, high = job(1, "esa"), job(2, "esa")
    tree = Tree(NETWORK, [low, high])
    tree.send(gradient(low, 3, value=5, priority=1).frame())
    ((partial,),) = (arrived := tree.send(gradient(high, 3, priority=2).frame())).values()
    assert set(arrived) == {low.server.mac}
    assert (partial.kind, partial.flags) == (Kind.PARTIAL, Flag.COLLISION)
    assert (partial.job, partial.lanes) == (low.job, lanes(5))
    assert (partial.bitmap0, partial.bitmap1) == (0b01, 0b10)
    assert (partial.src_ip, partial.src_port) == (str(RACKS[1]), ESA_PORT)
    assert tree.held() == {RACKS[1]: 1}


def same_root(policy: str) -> tuple[Run, Run]:
    """Two jobs whose PSs are behind the same spine."""
    one, other = job(2, policy), job(4, policy)
    assert one.switch_ip == other.switch_ip
    return one, other


def rack_sum(tree: Tree, j: Run, rack: int, **fields) -> dict:
    """Send all of a rack; what arrives of the last."""
    for rank in range(j.fan_in):
        if j.place(rank)[0] == rack:
            arrived = tree.send(gradient(j, rank, **fields).frame())
    return arrived


def test_a_row_preempted_at_the_root_leaves_as_a_partial_of_racks():
    low, high = same_root("esa")
    tree = Tree(NETWORK, [low, high])
    assert rack_sum(tree, low, 0, value=5, priority=1) == {}
    assert tree.held() == {low.switch_ip: 1}
    ((partial,),) = (arrived := rack_sum(tree, high, 1, priority=2)).values()
    assert set(arrived) == {low.server.mac}
    assert (partial.kind, partial.flags, partial.job) == (Kind.PARTIAL, Flag.LEVEL1 | Flag.COLLISION, low.job)
    assert (partial.bitmap0, partial.bitmap1) == (0xFFFFFFFF, 0b01)
    assert (partial.src_ip, partial.src_port) == (str(low.switch_ip), ESA_PORT)
    assert partial.lanes == lane_sum(5, 5, 5)
    assert tree.counted("evicted", low, low.switch_ip) == tree.counted("preemptions", high, low.switch_ip) == 1


def test_a_sum_that_collides_at_the_root_reaches_its_server():
    first, second = same_root("atp")
    tree = Tree(NETWORK, [first, second])
    assert rack_sum(tree, first, 0) == {}
    ((collided,),) = (arrived := rack_sum(tree, second, 1, value=4)).values()
    assert set(arrived) == {second.server.mac}
    assert (collided.kind, collided.flags) == (Kind.GRADIENT, Flag.LEVEL1 | Flag.COLLISION)
    assert (collided.src_ip, collided.src_port, collided.bitmap1) == (str(RACKS[1]), ESA_PORT, 0b10)
    assert collided.lanes == lane_sum(4, 4)
    assert list(tree.denied()) == []


def test_a_gradient_that_collides_in_its_rack_reaches_its_server():
    first, second = job(1, "atp"), job(2, "atp")
    tree = Tree(NETWORK, [first, second])
    tree.send(gradient(first, 0).frame())
    ((collided,),) = (arrived := tree.send(gradient(second, 0, value=3).frame())).values()
    assert set(arrived) == {second.server.mac}
    assert (collided.kind, collided.flags, collided.lanes) == (Kind.GRADIENT, Flag.COLLISION, lanes(3))


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("name", ["esa", "atp", "switchml"])
def test_each_switch_answers_a_reminder_with_what_it_holds(name, number):
    j = job(number, name)
    tree = Tree(NETWORK, [j])
    root = root_of(j)
    rack_sum(tree, j, 0, value=2)
    tree.send(gradient(j, 3, value=9).frame())
    expected = {root.ip: (Kind.PARTIAL, 0xFFFFFFFF, 0b01), RACKS[1]: (Kind.PARTIAL, 0b01, 0b10)}
    if name != "esa":  # rows are held
        expected[RACKS[0]] = (Kind.PARTIAL, 0b111, 0b01)
    for kinds in (expected, {}):
        for switch in (root, *NETWORK.racks[:2]):
            ((answer,),) = (arrived := tree.send(from_server(j, Kind.REMINDER, switch).frame())).values()
            assert set(arrived) == {j.server.mac}
            assert (answer.src_ip, answer.src_port, answer.dst_port) == (str(switch.ip), ESA_PORT, ESA_PORT)
            if switch.ip in kinds:
                assert (answer.kind, answer.bitmap0, answer.bitmap1) == kinds[switch.ip]
                assert bool(answer.flags & Flag.LEVEL1) == (switch is root)
            else:
                assert answer.kind == Kind.MISS
    assert tree.held() == {}
    assert list(tree.denied()) == []


@pytest.mark.parametrize("name", ["esa", "atp"])
def test_a_releasing_result_clears_root_and_racks(name):
    j = job(1, name)
    tree = Tree(NETWORK, [j])
    rack_sum(tree, j, 0)
    tree.send(gradient(j, 3).frame())
    assert set(tree.held()) == {j.switch_ip, RACKS[1]} | ({RACKS[0]} if name == "atp" else set())
    result = from_server(j, Kind.RESULT, 4, flags=Flag.RELEASE, lanes=tuple(lane_sum(*values(j))))
    everybodys(j, tree.send(result.frame()))
    assert tree.held() == {}


def test_rows_are_reused_at_both_levels():
    j = job(1, "switchml")
    tree = Tree(NETWORK, [j])
    for seq in (0, 8, 16):  # the same row of 2 windows each time
        *early, last = [gradient(j, rank, seq, value=value) for rank, value in enumerate(values(j))]
        assert [tree.send(packet.frame()) for packet in early] == [{}] * len(early)
        everybodys(j, tree.send(last.frame()))
    assert tree.held() == {RACKS[0]: 1, RACKS[1]: 1, j.switch_ip: 1}


def test_under_reuse_a_rack_sends_its_sum_again_and_the_root_answers():
    j = job(1, "switchml")
    tree = Tree(NETWORK, [j])
    for rank, value in enumerate(values(j)):
        tree.send(gradient(j, rank, value=value).frame())
    arrived = tree.send(gradient(j, 4, flags=Flag.RESEND).frame())
    assert set(arrived) == {worker.mac for worker in j.workers[3:]}  # the RESULT comes to the whole rack
    assert arrived[j.workers[4].mac][0].lanes == lane_sum(*values(j))


def test_why_no_server_clears_rows_under_reuse():
    """A cleared root takes a resent sum in and drops the next: nobody would ever ask the PS."""
    j = job(1, "switchml")
    assert j.switches == ()
    tree = Tree(NETWORK, [j])
    for rank, value in enumerate(values(j)):
        tree.send(gradient(j, rank, value=value).frame())
    tree.send(from_server(j, Kind.REMINDER, root_of(j)).frame())
    for _ in range(3):
        assert tree.send(gradient(j, 4, flags=Flag.RESEND).frame()) == {}
    assert set(tree.held()) == {RACKS[0], RACKS[1], j.switch_ip}


def test_one_worker_in_a_rack_takes_no_row_there():
    j = spread(NETWORK, 1, "esa", {0: (0,), 1: (1,)}, (2, 0))
    tree = Tree(NETWORK, [j])
    assert tree.send(gradient(j, 0, value=1).frame()) == {}
    assert tree.held() == {j.switch_ip: 1}
    everybodys(j, tree.send(gradient(j, 1, value=3).frame()))
    assert tree.held() == {}


@pytest.mark.parametrize("name", AGGREGATING)
def test_a_job_of_one_rack_is_summed_there_wherever_its_server_is(name):
    j = spread(NETWORK, 1, name, {1: (0, 1, 2)}, (2, 3))
    tree = Tree(NETWORK, [j])
    (rack,) = j.switches
    assert rack == RACKS[1]
    *early, last = [gradient(j, rank, value=value) for rank, value in enumerate(values(j))]
    assert [tree.send(packet.frame()) for packet in early] == [{}] * len(early)
    assert tree.held() == {rack: 1}
    arrived = tree.send(last.frame())
    if POLICIES[name].emit.name == "TO_SERVER":
        ((total,),) = arrived.values()
        assert (total.kind, total.flags, total.bitmap0, total.bitmap1) == (Kind.PARTIAL, 0, 0b111, 1)
        arrived = tree.send(from_server(j, Kind.RESULT, 0, flags=Flag.RELEASE, lanes=tuple(total.lanes)).frame())
    everybodys(j, arrived)
    ((answer,),) = tree.send(from_server(j, Kind.REMINDER, NETWORK.racks[1]).frame()).values()
    assert answer.kind == (Kind.PARTIAL if name == "switchml" else Kind.MISS)
    assert answer.src_ip == str(rack)
    assert list(tree.denied()) == []


def test_a_removed_job_leaves_nothing_behind_and_may_come_back():
    gone, stays = same_root("esa")
    tree = Tree(NETWORK, [gone, stays])
    for address, items in job_items(NETWORK, gone, 1).items():
        remove(items, tree.pipelines[address])
    assert tree.send(gradient(gone, 0).frame()) == {}
    assert list(tree.denied()) == [(RACKS[0], "unknown sender", 1)]
    for rank, value in enumerate(values(stays)):
        arrived = tree.send(gradient(stays, rank, value=value).frame())
    everybodys(stays, arrived)
    for address, items in job_items(NETWORK, gone, 1).items():
        apply(items, tree.pipelines[address])
    for rank, value in enumerate(values(gone)):
        arrived = tree.send(gradient(gone, rank, value=value).frame())
    everybodys(gone, arrived)


# Nobody in where they do not belong. name -> (packet, where it comes in or None: at its source, who denies it, reason)

VICTIM = job(1, "esa")
ROOT = VICTIM.switch_ip
HOME = RACKS[2]
UP = NETWORK.uplink(2, SPINES.index(ROOT))  # of the PS's rack switch
SWITCH_0 = VICTIM.server.model_copy(update={"ip": RACKS[0], "mac": NETWORK.racks[0].mac})
SWITCH_ROOT = VICTIM.server.model_copy(update={"ip": ROOT, "mac": root_of(VICTIM).mac})
STRANGER_AT_HOME = VICTIM.workers[0].model_copy(update={"mac": mac(host_number(2, 4))})
SUM = gradient(VICTIM, 0, source=SWITCH_0, source_port=ESA_PORT, flags=Flag.LEVEL1, bitmap0=0xFFFFFFFF)
RESULT = from_server(VICTIM, Kind.RESULT, 0)
FORGERIES = {
    "a worker's sum of a rack": (gradient(VICTIM, 0, flags=Flag.LEVEL1), None, RACKS[0], "kind"),
    "a worker of another rack": (gradient(VICTIM, 0, bitmap1=2), None, RACKS[0], "bitmap"),
    "its rack switch's address": (replace(SUM, source=VICTIM.workers[0]), None, RACKS[0], "unknown sender"),
    "its rack switch's sum": (SUM, (RACKS[0], 0), RACKS[0], "unknown sender"),
    "a worker's sum, past its rack": (gradient(VICTIM, 0, flags=Flag.LEVEL1), (ROOT, 0), ROOT, "kind"),
    "a worker from another rack": (gradient(VICTIM, 0), (ROOT, 1), ROOT, "unknown sender"),
    "another rack's bit": (replace(SUM, bitmap1=2), (ROOT, 0), ROOT, "bitmap"),
    "both racks' bits": (replace(SUM, bitmap1=3), (ROOT, 0), ROOT, "bitmap"),
    "another rack's address": (SUM, (ROOT, 1), ROOT, "unknown sender"),
    "a rack's gradient of one worker": (replace(SUM, flags=0, bitmap0=1), (ROOT, 0), ROOT, "kind"),
    "a rack's RESULT": (replace(SUM, kind=Kind.RESULT, flags=Flag.RELEASE), (ROOT, 0), ROOT, "kind"),
    "the PS's RESULT from a rack": (RESULT, (ROOT, 0), ROOT, "unknown sender"),
    "the PS's RESULT from a worker": (RESULT, (RACKS[0], 1), RACKS[0], "unknown sender"),
    "the PS's RESULT from the PS's neighbour": (RESULT, (HOME, 4), HOME, "unknown sender"),
    "the PS's sum": (replace(RESULT, kind=Kind.PARTIAL), None, HOME, "kind"),
    "a worker from the PS's neighbour": (gradient(VICTIM, 0, source=STRANGER_AT_HOME), None, HOME, "unknown sender"),
    "another rack's bit, past the root": (replace(SUM, bitmap1=2), (HOME, UP), HOME, "bitmap"),
    "the root's sum of a rack": (replace(SUM, source=SWITCH_ROOT), (HOME, UP), HOME, "bitmap"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_nobody_in_where_they_do_not_belong(forgery):
    packet, at, guard, reason = FORGERIES[forgery]
    tree = Tree(NETWORK, [VICTIM])
    rack_sum(tree, VICTIM, 1)
    tree.send(gradient(VICTIM, 1).frame())
    before = tree.held()
    assert tree.send(packet.frame(), at) == {}
    assert list(tree.denied()) == [(guard, reason, 1)]
    assert tree.held() == before == {RACKS[0]: 1, ROOT: 1}


def test_a_sum_counts_from_its_own_rack():
    tree = Tree(NETWORK, [VICTIM])
    assert tree.send(SUM.frame(), (ROOT, 0)) == {}
    assert tree.held() == {ROOT: 1}
    assert list(tree.denied()) == []


# Plain forwarding


def test_frames_reach_their_host_by_one_way_and_broadcasts_everybody_once():
    tree = Tree(NETWORK, [])
    macs = {host.mac for host in NETWORK.hosts}
    payload = b"\x86\xdd" + bytes(46)
    reached = tree.carry(b"\xff" * 6 + bytes.fromhex(mac(1).replace(":", "")) + payload)
    assert sorted(host for host, _ in reached) == sorted(macs - {mac(1)})
    for host in NETWORK.hosts:
        for source in (mac(1), mac(host_number(2, 3))):
            frame = bytes.fromhex((host.mac + source).replace(":", "")) + payload
            assert [where for where, _ in tree.carry(frame)] == [host.mac]
            crossed = [hop.switch for hop in tree.hops if hop.switch in SPINES]
            same_rack = NETWORK.host[source].rack == host.rack
            assert crossed == ([] if same_rack else [SPINES[host.spine]])
