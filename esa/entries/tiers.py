"""Jobs over several racks: what each switch of a leaf-spine network gets, as pure functions.

    for ip, items in forwarding_items(graph).items():    # by the switch's address
        apply(items, pipelines[ip])
    for ip, items in job_items(LeafSpine(graph), job, index=1).items():
        apply(items, pipelines[ip])

Who does what. A rack switch adds its own workers (level 0); its complete sum, a GRADIENT with LEVEL1 from the rack
switch's own address, goes on towards the PS. On the way lies the job's root (level 1), which adds the racks' sums: the
spine that frames to the PS's host take. Jobs whose PSs have different spines have different roots. What nobody adds
(RESENDs, collisions, partials, questions and answers) is forwarded, and has to be admitted by every switch it meets:

    sender         its own rack switch    root         the PS's rack switch    other spines
    worker         worker, its bits       transit      transit
    rack switch                           rack         rack                    rack
    root                                               rack, no bit
    PS             server                 server       server                  server

(the PS is `server` at the workers' rack switches too), each at the ports that it comes in by: a rack's sum counts for
that rack's bit, and from that rack's port alone.

- A partial goes to the PS's one address, whichever switch it leaves; its source is the switch's own address. A
  REMINDER goes to that address, in a frame to the switch's own MAC, which the network forwards to: an end host needs
  to know the switches' MACs. A MISS returns by the port that its REMINDER came by, so it may take another spine.
- The root's RESULT comes from the PS's address, one copy to each rack switch (replica: the rack's bit + 1); there it
  arrives at the uplink, where the PS is `server`, and is replicated again, to the workers.
- A PS's RESULT with RELEASE climbs to the root by a group of the PS's rack switch, whatever its address, and then goes
  the same way; it clears the root's row and then the racks'. So under `atp` acknowledgement frees rows of both levels.
- The PS's members are the workers in the order of the ranks, then `job.switches`: the root, then the racks. The root
  is reminded first, because under `atp` a rack still holds the sum that the root has too. What the root hands over
  then counts, and the racks' copies are contained in it. The other way round the root's were an overlap as soon as one
  of the racks' was lost, and so discarded.

What the program cannot do is refused here. `TO_ROOT` leaves a sum's destination as it is: at the PS's own rack switch
it would go to the PS, past the root; and a rack's sum that collided at the root has LEVEL1, which that switch would add
to a row of its own workers (`rack`) or deny (`transit`). So the PS of a job over several racks sits behind a rack
switch without workers of the job, except under `ps`, where no switch adds. Workers of other jobs may be there.

Release on reuse (`switchml`) over several racks works as SwitchML does, without a PS that clears rows: `job.switches`
is empty, so nobody is reminded and no RESULT carries RELEASE. RESENDs heal both levels: a rack that has its sum sends
it again, a root that has the result answers. With a PS that clears rows all-reduces fail: TO_ROOT takes the RESEND flag
off, so a cleared root takes in the sum of a rack that missed the RESULT, drops it the next time, and nobody asks the
PS. The price is that such a job does not outlive its root's memory: if the root restarts, it gives up.

Rows that are kept (`esa`) are not, over several racks: their RESENDs meet no row, for they are forwarded. A rack that
answered one with its sum would keep the PS from hearing of it, and the root might have nothing left to answer with.

A job of one rack whose PS is elsewhere needs no root: its rack switch does everything, the others let pass. Where it
has several PSs all of them are behind that switch, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import NamedTuple

from esa.entries import job_entries as e
from esa.entries.job_entries import Entry, Group, InstalledJob, Replica
from esa.entries.leaf_spine import Host, Items, LeafSpine, Spread, Switch, check_distinct, forwarding_items, spread
from esa.errors import BadInput
from esa.job import Job, Member, Run
from esa.policy import Emit, Release, policy
from esa.wire import ESA_PORT

__all__ = [
    "Host",
    "Items",
    "LeafSpine",
    "SentUp",
    "Spread",
    "Switch",
    "forwarding_items",
    "job_items",
    "sent_up",
    "spread",
]


def job_items(network: LeafSpine, job: Run, index: int) -> dict[IPv4Address, Items]:
    """By the switch's address, for every switch on the job's way: groups, then entries, the policy entry last.

    index: the job's counters in each of them, 1..255. Members' `switch_port` is that of their own rack switch. BadInput
    if the job is not where it says, or cannot be spread as the module's essay says.
    """
    way = _Way.of(network, job, index)
    items: dict[IPv4Address, Items] = {}
    for bit, rack in enumerate(way.racks):
        items[network.racks[rack].ip] = _rack_items(way, bit, rack)
    if way.home not in way.racks:
        items[network.racks[way.home].ip] = _home_items(way)
    for spine in sorted(way.spines):
        items[network.spines[spine].ip] = _spine_items(way, spine)
    return items


class SentUp(NamedTuple):
    """Packets of a job over several racks that carry gradients, or sums of them.

    from_workers: from workers to their racks' switches. to_root: from there to the root: racks' sums, parts of them,
    and what a rack's switch let pass.
    """

    from_workers: int
    to_root: int


def sent_up(racks: Iterable[Mapping[str, int]], spines: Iterable[Mapping[str, int]]) -> SentUp:
    """What went up, by the job's counters in its workers' rack switches, and in the spines.

    A rack's sum is a GRADIENT, as is a packet that its switch lets pass, and either is counted where it arrives. What
    a rack's rows hand over on the way is a PARTIAL, counted where it leaves.
    """
    from_workers = to_root = 0
    for counted in racks:
        from_workers += counted["gradients"]
        to_root += counted["evicted"] + counted["reminders"] - counted["misses"]
    return SentUp(from_workers, to_root + sum(counted["gradients"] for counted in spines))


@dataclass(frozen=True)
class _Way:
    """A job on a network: which switches it meets."""

    network: LeafSpine
    job: Run
    index: int
    racks: tuple[int, ...]  # the rack switch behind each bit of bitmap1
    home: int  # the PS's rack
    root: int  # the spine that frames to the PS take

    @classmethod
    def of(cls, network: LeafSpine, job: Run, index: int) -> _Way:
        if not 1 <= index <= e.MAX_JOB_INDEX:
            raise BadInput(f"index: {index}; allowed: 1..{e.MAX_JOB_INDEX}")
        at = {switch.ip: rack for rack, switch in enumerate(network.racks)}
        addresses = [rack.switch_ip for rack in job.racks] or [job.switch_ip]
        for ip in addresses:
            if ip not in at:
                raise BadInput(f"switch_ip: job {job.name}: {ip} is no rack switch of the network")
        racks = tuple(at[ip] for ip in addresses)
        for rank, member in enumerate(job.workers):
            _check_place(network, job, f"rank {rank}", member, racks[job.place(rank)[0]])
        home = racks[0] if job.more_servers else None  # there is no way for several from elsewhere
        for server in job.servers:
            _check_place(network, job, "the PS", server, home)
        check_distinct(f"workers: job {job.name}: address", [f"{m.ip}:{m.udp_port}" for m in job.members])
        host = network.host[job.server.mac]
        way = cls(network, job, index, racks, host.rack, host.spine)
        if job.racks and job.switch_ip != network.spines[way.root].ip:
            raise BadInput(
                f"switch_ip: job {job.name}: the root is the spine to the PS, {network.spines[way.root].ip},"
                f" not {job.switch_ip}"
            )
        if way.has_root and way.home in racks:
            raise BadInput(
                f"server: job {job.name}: under {job.policy} over several racks the PS needs a rack switch without"
                f" workers of the job, not {network.racks[way.home].ip}"
            )
        return way

    @property
    def aggregates(self) -> bool:
        return policy(self.job.policy).pool != "none"

    @property
    def has_root(self) -> bool:
        """Whether racks' sums are summed."""
        return self.aggregates and bool(self.job.racks)

    @property
    def remote(self) -> list[tuple[int, int]]:
        """(bit, rack) of the racks that reach the PS by way of spines."""
        return [(bit, rack) for bit, rack in enumerate(self.racks) if rack != self.home]

    @property
    def asked(self) -> list[tuple[int, int]]:
        """Of these, those whose switches hold rows."""
        return self.remote if self.aggregates else []

    def members(self, bit: int) -> tuple[Member, ...]:
        """The workers of a rack."""
        first = sum(self.job.workers_per_rack[:bit])
        return self.job.workers[first : first + self.job.workers_per_rack[bit]]

    def spines_to(self, bit: int, rack: int) -> set[int]:
        """The spines between the PS and another rack: of frames to the PS, to the workers and to the rack switch."""
        hosts = (self.network.host[worker.mac] for worker in self.members(bit))
        switch = {self.network.spine_to(rack)} if self.aggregates else set()
        return {self.root, *(host.spine for host in hosts)} | switch

    @property
    def spines(self) -> set[int]:
        return set().union(*(self.spines_to(bit, rack) for bit, rack in self.remote))

    def switch(self, switch: Switch, port: int, bitmap1: int) -> Entry:
        """A switch that may send what it holds, and sums of the rack `bitmap1`, from behind `port`."""
        key = (port, int(switch.ip), ESA_PORT, self.job.job, self.job.epoch)
        return Entry(e.SENDER, key, e.RACK, (bitmap1,))

    def server(self, port: int) -> Entry:
        return Entry(e.SENDER, e.sender_key(self.job, _behind(self.job.server, port)), e.SERVER)

    def transit(self, member: Member, port: int) -> Entry:
        return Entry(e.SENDER, e.sender_key(self.job, _behind(member, port)), e.TRANSIT)

    def pass_through(self, group: int = 0) -> Entry:
        return Entry(e.POLICY, (self.job.job, self.job.epoch), e.PASS_THROUGH, (self.index, group))

    def view(self, workers: Iterable[Member], server_port: int, switch: Switch) -> InstalledJob:
        """The job as a switch that adds sees it."""
        job, knobs = self.job, policy(self.job.policy)
        if self.has_root and knobs.release == Release.KEPT:  # see the essay
            knobs = replace(knobs, release=Release.ON_COMPLETION)
        server = _behind(job.server, server_port)
        bare = InstalledJob(job.job, job.epoch, self.index, knobs, None, None, tuple(workers), server, switch.ip)
        bare = replace(bare, more_servers=job.more_servers)  # which are behind this switch
        return bare.under(knobs, job.pool, job.row_ttl_us)


def _behind(member: Member, port: int) -> Member:
    return member.model_copy(update={"switch_port": port})


def _check_place(network: LeafSpine, job: Job, who: str, member: Member, rack: int | None) -> None:
    host = network.host.get(member.mac)
    if host is None:
        raise BadInput(f"mac: job {job.name}: {who} is on {member.mac}, which is no host of the network")
    rack = host.rack if rack is None else rack
    if (host.rack, host.port) != (rack, member.switch_port):
        raise BadInput(
            f"switch_port: job {job.name}: {who}, {member.mac}, is behind port {host.port} of rack switch {host.rack},"
            f" not port {member.switch_port} of {rack}"
        )


def _rack_items(way: _Way, bit: int, rack: int) -> Items:
    """A rack switch with workers of the job."""
    network, job = way.network, way.job
    at_home = rack == way.home
    port = job.server.switch_port if at_home else network.uplink(rack, way.root)
    view = replace(way.view(way.members(bit), port, network.racks[rack]), rack=bit)
    if way.has_root:
        view = replace(view, policy=replace(view.policy, emit=Emit.TO_ROOT))
    *parts, policy_entry = e.job_entries(view)
    if at_home:
        parts += _arrivals(way)
    else:
        others = sorted(way.spines_to(bit, rack) - {way.root})
        parts += [way.server(network.uplink(rack, spine)) for spine in others]
    return [e.job_group(view), *parts, policy_entry]


def _home_items(way: _Way) -> Items:
    """The PS's rack switch, where it has no workers of the job. A RESULT for everybody goes up to the root."""
    up = Replica(way.network.uplink(way.home, way.root), 0)
    group = Group(e.FIRST_JOB_GROUP + way.index, (up,))
    return [group, way.server(way.job.server.switch_port), *_arrivals(way), way.pass_through(group.id)]


def _arrivals(way: _Way) -> list[Entry]:
    """Who else comes in at the PS's rack switch, from above."""
    network = way.network
    if not way.remote:
        return []
    up = network.uplink(way.home, way.root)
    arrivals = [way.transit(worker, up) for bit, _ in way.remote for worker in way.members(bit)]
    for bit, rack in way.asked:
        for spine in sorted({way.root, network.spine_to(rack)}):
            arrivals.append(way.switch(network.racks[rack], network.uplink(way.home, spine), 1 << bit))
    if way.has_root:
        arrivals.append(way.switch(network.spines[way.root], up, 0))
    return arrivals


def _spine_items(way: _Way, spine: int) -> Items:
    """The root, or another spine that something of the job takes."""
    network = way.network
    passing = []
    if spine == way.root:
        passing = [way.transit(worker, rack) for bit, rack in way.remote for worker in way.members(bit)]
        if way.has_root:
            return _root_items(way, passing)
    for bit, rack in way.asked:
        if spine in (way.root, network.spine_to(rack)):
            passing.append(way.switch(network.racks[rack], rack, 1 << bit))
    return [way.server(way.home), *passing, way.pass_through()]


def _root_items(way: _Way, passing: list[Entry]) -> Items:
    """The root adds the racks' sums as a rack switch adds gradients: its workers are the rack switches."""
    below = [(rack, way.network.racks[rack]) for rack in way.racks]
    workers = [Member(ip=switch.ip, mac=switch.mac, udp_port=ESA_PORT, switch_port=rack) for rack, switch in below]
    view = replace(way.view(workers, way.home, way.network.spines[way.root]), level1=True)
    *parts, policy_entry = e.job_entries(view)
    return [e.job_group(view), *parts, *passing, policy_entry]
