"""A job as table entries, and table entries as jobs: pure functions, for P4Runtime and for a pipeline in this process.

A job is present as soon as its policy entry is: it is written last and deleted first, so no packet is ever treated by
half a job, and whatever belongs to a job without a policy entry is left over from a controller that died.

    installed = InstalledJob.of(job.run(epoch=1), index=1)
    installed_jobs(job_entries(installed), [job_group(installed)]) == [installed]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import NamedTuple

from esa.errors import BadInput
from esa.job import Member, Pool, Run
from esa.policy import POLICIES, Aging, Emit, Policy, Preempt, Release, policy
from esa.wire import ESA_PORT

DESTINATION = "EsaIngress.forwarding.destination"
SENDER = "EsaIngress.admission.sender"
POLICY = "EsaIngress.admission.policy"
OWNER = "EsaIngress.aggregation.ownership.owner"
MORE_SERVERS = "EsaIngress.aggregation.ownership.server"  # a job's PSs but the first, which `owner` has
REPLICA = "EsaEgress.replication.replica"
ECN = "EsaEgress.congestion.ecn"
JOB_TABLES = (SENDER, POLICY, OWNER, MORE_SERVERS, REPLICA)  # their keys end with job and epoch
RUN = "EsaIngress.admission.run"  # the newest epoch of each job; stays when the job goes

NO_ACTION = "NoAction"
FORWARD = "EsaIngress.forwarding.forward"
FLOOD = "EsaIngress.forwarding.flood"
WORKER = "EsaIngress.admission.worker"
RACK = "EsaIngress.admission.rack"
TRANSIT = "EsaIngress.admission.transit"
SERVER = "EsaIngress.admission.server"
AGGREGATE = "EsaIngress.admission.aggregate"
PASS_THROUGH = "EsaIngress.admission.pass_through"
OWNER_IS = "EsaIngress.aggregation.ownership.owner_is"
SERVER_IS = "EsaIngress.aggregation.ownership.server_is"
READDRESS = "EsaEgress.replication.readdress"
MARK_ABOVE = "EsaEgress.congestion.mark_above"

BROADCAST = "ff:ff:ff:ff:ff:ff"
FLOOD_GROUP = 1
FIRST_JOB_GROUP = 2  # multicast group of the job with index i: 2 + i
MAX_JOB_INDEX = 255  # index 0 counts what belongs to no job

_JOB_COUNTERS = (
    "gradients",
    "resends",
    "aggregated",
    "completed",
    "duplicates",
    "collisions",
    "preemptions",
    "expired",
    "evicted",
    "aged",
    "reminders",
    "misses",
    "seated",
    "released",
)
# Counters per job: short name -> name in the program.
COUNTERS: Mapping[str, str] = {
    **{name: f"EsaIngress.job_counters.{name}" for name in _JOB_COUNTERS},
    "denied": "EsaIngress.admission.denied",
}
DENIED_BY_REASON = "EsaIngress.admission.denied_by_reason"
# In the order of admission.p4. "other run": of a run that is not the newest of its job.
DENY_REASONS = ("malformed", "unknown sender", "unknown job", "bitmap", "kind", "other run")


@dataclass(frozen=True)
class Entry:
    """One entry of an exact-match table; values in the order of the table's key and the action's parameters.

    An empty `match` is the default action of a table without a key.
    """

    table: str
    match: tuple[int, ...]
    action: str
    params: tuple[int, ...] = ()


class Replica(NamedTuple):
    """One copy that a multicast group makes."""

    port: int
    instance: int


@dataclass(frozen=True)
class Group:
    """A multicast group."""

    id: int
    replicas: tuple[Replica, ...]


@dataclass(frozen=True)
class InstalledJob:
    """What a switch knows of a job and its present run, `epoch`.

    `pool` and `ttl_us` are None where the policy uses no rows.

    `workers` are those behind this switch, `rack` is their bit of bitmap1. At a root (`level1`) they are the switches
    of the racks. `problems` says what is missing of it, should somebody have deleted entries by hand.
    """

    job: int
    epoch: int
    index: int
    policy: Policy
    pool: Pool | None
    ttl_us: int | None
    workers: tuple[Member, ...]
    server: Member
    switch_ip: IPv4Address
    problems: tuple[str, ...] = ()
    rack: int = 0
    level1: bool = False
    more_servers: tuple[Member, ...] = ()

    @classmethod
    def of(cls, job: Run, index: int) -> InstalledJob:
        """The run of a job as it will be in the switch, with the counters `index`; BadInput if it has several racks."""
        if job.racks:
            raise BadInput(f"racks: job {job.name} has {len(job.racks)} racks, one switch cannot hold it")
        bare = cls(job.job, job.epoch, index, policy("ps"), None, None, job.workers, job.server, job.switch_ip)
        return replace(bare, more_servers=job.more_servers).under(policy(job.policy), job.pool, job.row_ttl_us)

    def under(self, policy: Policy, pool: Pool | None, ttl_us: int | None) -> InstalledJob:
        """The same job under another policy."""
        if policy.pool == "none":
            return replace(self, policy=policy, pool=None, ttl_us=None)
        return replace(self, policy=policy, pool=pool, ttl_us=ttl_us)

    @property
    def key(self) -> tuple[int, int]:
        """(job, epoch): what all its entries' keys end with."""
        return self.job, self.epoch

    @property
    def fan_in(self) -> int:
        return len(self.workers)

    @property
    def servers(self) -> tuple[Member, ...]:
        """Its PSs, as in `esa.job.Job`."""
        return self.server, *self.more_servers

    @property
    def members(self) -> tuple[Member, ...]:
        """Its end hosts: workers, then PSs."""
        return *self.workers, *self.servers

    @property
    def group(self) -> int:
        return FIRST_JOB_GROUP + self.index

    @property
    def bitmap1(self) -> int:
        return 1 << self.rack


def mac_number(mac: str) -> int:
    return int(mac.replace(":", ""), 16)


def mac_text(number: int) -> str:
    return number.to_bytes(6, "big").hex(":")


def full_bitmap(fan_in: int) -> int:
    return (1 << fan_in) - 1


# Hosts


def host_entry(mac: str, port: int) -> Entry:
    """Frames to `mac` leave by `port`."""
    return Entry(DESTINATION, (mac_number(mac),), FORWARD, (port,))


def broadcast_entry() -> Entry:
    return Entry(DESTINATION, (mac_number(BROADCAST),), FLOOD, (FLOOD_GROUP,))


def flood_group(ports: Iterable[int]) -> Group:
    """Every port once, as replica 0, which egress does not take for a job's receiver."""
    return Group(FLOOD_GROUP, tuple(Replica(port, 0) for port in sorted(set(ports))))


def ecn_entry(packets: int) -> Entry:
    """Mark ESA packets that found more than `packets` packets in the egress queue."""
    return Entry(ECN, (), MARK_ABOVE, (packets,))


# Runs


def run_entry(job: int, epoch: int) -> Entry:
    """The newest run of a job that was ever started on this switch."""
    return Entry(RUN, (job, epoch), NO_ACTION)


# A job, forwards


def job_group(job: InstalledJob) -> Group:
    """One replica per worker; ids count from 1 in the order of the ranks."""
    return Group(job.group, tuple(Replica(member.switch_port, rank + 1) for rank, member in enumerate(job.workers)))


def job_entries(job: InstalledJob) -> list[Entry]:
    """Every table entry of the job, the policy entry last. They refer to `job_group(job)`."""
    return [*sender_entries(job), *replica_entries(job), *server_entries(job), owner_entry(job), policy_entry(job)]


def sender_entries(job: InstalledJob) -> list[Entry]:
    """Who may speak in the job's name: each worker for its own bit, and the PSs."""
    keys = [sender_key(job, member) for member in job.workers]
    if job.level1:
        workers = [Entry(SENDER, key, RACK, (1 << rank,)) for rank, key in enumerate(keys)]
    else:
        workers = [Entry(SENDER, key, WORKER, (1 << rank, job.bitmap1)) for rank, key in enumerate(keys)]
    return [*workers, *(Entry(SENDER, sender_key(job, server), SERVER) for server in job.servers)]


def sender_key(job: InstalledJob | Run, member: Member) -> tuple[int, ...]:
    """What admission knows a sender of the job by; `member.switch_port` is where its packets come in."""
    return member.switch_port, int(member.ip), member.udp_port, job.job, job.epoch


def replica_entries(job: InstalledJob) -> list[Entry]:
    """Where each copy of a RESULT goes."""
    return [
        Entry(REPLICA, (rank + 1, *job.key), READDRESS, (mac_number(member.mac), int(member.ip), member.udp_port))
        for rank, member in enumerate(job.workers)
    ]


def owner_entry(job: InstalledJob) -> Entry:
    """Where the content of the job's rows goes when another job takes them."""
    where = (mac_number(job.server.mac), int(job.server.ip), int(job.switch_ip))
    return Entry(OWNER, job.key, OWNER_IS, (job.index, *where, int(job.level1), job.bitmap1, len(job.more_servers)))


def server_entries(job: InstalledJob) -> list[Entry]:
    """The same for the fragments of its other PSs, of which most jobs have none."""
    where = ((mac_number(server.mac), int(server.ip)) for server in job.more_servers)
    return [Entry(MORE_SERVERS, (number, *job.key), SERVER_IS, at) for number, at in enumerate(where, start=1)]


def policy_entry(job: InstalledJob) -> Entry:
    """The knobs, the rows, and where things are."""
    key = job.key
    if job.pool is None or job.ttl_us is None:
        return Entry(POLICY, key, PASS_THROUGH, (job.index, job.group))
    knobs = (job.policy.preempt, job.policy.aging, job.policy.release, job.policy.emit)
    where = (mac_number(job.server.mac), int(job.server.ip), int(job.switch_ip))
    return Entry(
        POLICY,
        key,
        AGGREGATE,
        (
            job.index,
            job.pool.base,
            job.pool.size - 1,
            *map(int, knobs),
            full_bitmap(job.fan_in),
            job.ttl_us,
            job.group,
            *where,
        ),
    )


# And back


def installed_jobs(entries: Iterable[Entry], groups: Iterable[Group] = ()) -> list[InstalledJob]:
    """The jobs that a switch's entries make up, by job id, each in its newest run.

    What has no policy entry is not a job, nor is a run that a newer one replaces (see `leftovers`).
    """
    entries = list(entries)
    by_id = {group.id: group for group in groups}
    present = _present(entries)
    jobs = [_installed(entry, entries, by_id) for entry in entries if entry.table == POLICY and entry.match in present]
    return sorted(jobs, key=lambda job: job.job)


def leftovers(entries: Iterable[Entry]) -> list[Entry]:
    """Entries of jobs that have no policy entry, and of runs that a newer one replaces; policies first."""
    entries = list(entries)
    present = _present(entries)
    left = [entry for entry in entries if entry.table in JOB_TABLES and entry.match[-2:] not in present]
    return sorted(left, key=lambda entry: entry.table != POLICY)


def _present(entries: Iterable[Entry]) -> set[tuple[int, ...]]:
    """(job, epoch) of each job's newest run that has a policy entry."""
    newest: dict[int, int] = {}
    for job, epoch in (entry.match for entry in entries if entry.table == POLICY):
        newest[job] = max(epoch, newest.get(job, 0))
    return set(newest.items())


def used_indices(entries: Iterable[Entry], groups: Iterable[Group]) -> set[int]:
    """Job indices that any entry or group refers to."""
    used = {entry.params[0] for entry in entries if entry.table in (POLICY, OWNER) and entry.params}
    return used | {group.id - FIRST_JOB_GROUP for group in groups if group.id > FIRST_JOB_GROUP}


_NOWHERE = Member(ip=IPv4Address(0), mac="00:00:00:00:00:00", udp_port=ESA_PORT, switch_port=0)


def _installed(entry: Entry, entries: Sequence[Entry], groups: Mapping[int, Group]) -> InstalledJob:
    job, epoch = key = entry.match
    problems: list[str] = []
    senders = [other for other in entries if other.table == SENDER and other.match[3:] == (job, epoch)]
    replicas = (other for other in entries if other.table == REPLICA and other.match[1:] == (job, epoch))
    macs = {other.match[0]: other.params[0] for other in replicas}
    server_mac, server_ip, switch_ip, level1, rack, last_server = 0, 0, 0, 0, 0, 0
    owner = next((other for other in entries if other.table == OWNER and other.match == (job, epoch)), None)
    if owner is not None and owner.action == OWNER_IS:
        server_mac, server_ip, switch_ip, level1, bitmap1, last_server = owner.params[1:7]
        rack = max(bitmap1.bit_length() - 1, 0)
    else:
        problems.append("no owner entry")

    speaker = RACK if level1 else WORKER
    spoken = ((other.params[0], other) for other in senders if other.action == speaker)
    ranked = sorted(spoken, key=lambda pair: pair[0])
    workers = []
    for rank, (bitmap, sender) in enumerate(ranked):
        if bitmap != 1 << rank:
            problems.append(f"no sender entry of rank {rank}")
            break
        if rank + 1 not in macs:
            problems.append(f"no replica entry of rank {rank}")
        workers.append(_member(sender, macs.get(rank + 1, 0)))
    more = (other for other in entries if (other.table, other.match[1:]) == (MORE_SERVERS, key))
    named = {0: (server_mac, server_ip)} | {other.match[0]: other.params for other in more}
    servers = []
    for number in range(last_server + 1):
        if number not in named:
            problems.append(f"no server entry of PS {number}")
            break
        servers.append(_server(senders, problems, *named[number]))

    knobs, pool, ttl_us, index = policy("ps"), None, None, entry.params[0] if entry.params else 0
    if entry.action == AGGREGATE:
        _, base, mask, preempt, aging, release, emit, full, ttl_us, *_ = entry.params
        knobs = policy_of(Preempt(preempt), Aging(aging), Release(release), Emit(emit))
        pool = Pool(base=base, size=mask + 1)
        if full != full_bitmap(len(workers)):
            problems.append(f"its policy entry waits for {full.bit_count()} workers, {len(workers)} are admitted")
    elif entry.action != PASS_THROUGH:
        problems.append("its policy entry does nothing")

    found = InstalledJob(job, epoch, index, knobs, pool, ttl_us, tuple(workers), servers[0], IPv4Address(switch_ip))
    found = replace(found, rack=rack, level1=bool(level1), more_servers=tuple(servers[1:]))
    group = groups.get(found.group)
    if group is None or set(group.replicas) != set(job_group(found).replicas):
        problems.append(f"multicast group {found.group} does not list its workers")
    return replace(found, problems=tuple(problems))


def _server(senders: Sequence[Entry], problems: list[str], mac: int, ip: int) -> Member:
    """A PS whose MAC and IP address an owner or server entry names, behind the port that admission knows."""
    found = next((s for s in senders if s.action == SERVER and ip in (0, s.match[1])), None)
    if found is None:
        problems.append("no sender entry of the PS")
        return _NOWHERE.model_copy(update={"mac": mac_text(mac), "ip": IPv4Address(ip)})
    return _member(found, mac)


def _member(sender: Entry, mac: int) -> Member:
    port, ip, udp_port = sender.match[:3]
    return Member(ip=IPv4Address(ip), mac=mac_text(mac), udp_port=udp_port, switch_port=port)


def policy_of(preempt: Preempt, aging: Aging, release: Release, emit: Emit) -> Policy:
    """The policy with these knobs, in a rack below a root too; "custom" where no policy sets them so."""
    for known in POLICIES.values():
        if known.pool != "none" and (known.preempt, known.aging, known.release) == (preempt, aging, release):
            if emit == Emit.TO_ROOT:
                return replace(known, emit=emit)
            if emit == known.emit:
                return known
    pool = "slice" if release == Release.ON_REUSE else "shared"
    return Policy("custom", pool, preempt, aging, release, emit)
