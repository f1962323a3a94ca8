"""`esa job new` and `esa job check`: a job's file from addresses or host names, and what is wrong with one."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

from pydantic import ValidationError

from controller import BadInput, Controller, SavedJobs, Switch, SwitchError, Tls
from controller.job_checks import check_members, members_by_name
from controller.job_files import explain, problems_of
from esa.entries import pools
from esa.exits import refusing
from esa.job import Job, Member
from esa.policy import policy
from esa.wire import ESA_PORT
from topologies import record
from topologies.launcher.addresses import neighbour, own_addresses
from topologies.launcher.new_job import WORKER_PORT, new_job, unused
from topologies.names import enter_network_of
from topologies.record import RackRecord
from topologies.tunnel import default_switch_ip

MEMBER = re.compile(r"(?P<ip>[^=@]+)(=(?P<mac>[0-9a-fA-F:]{17})(@(?P<port>\d+))?)?")
MEMBER_FORM = "IP, IP=MAC, IP=MAC@PORT, or a host's name on a rack that is up"


@dataclass(frozen=True)
class Where:
    """The switch: a rack's, or the one at `address`."""

    rack: RackRecord | None
    address: str
    device_id: int
    saved: Path

    @classmethod
    def chosen(cls, rack: str | None, address: str | None, device_id: int) -> Where:
        """The rack named, else the switch at `address`, else the one rack that is up, else a switch's own default."""
        if rack is not None:
            return cls.on(record.find(rack))
        up = [one for one in record.records() if one.up and not one.private and one.switch is not None]
        here = [one for one in up if address is None or one.switch.address == address]  # type: ignore[union-attr]
        if len(here) == 1:
            return cls.on(here[0])
        saved = os.environ.get("ESA_STATE")
        return cls(None, address or "127.0.0.1:9559", device_id, Path(saved) if saved else SavedJobs.default_path())

    @classmethod
    def on(cls, rack: RackRecord) -> Where:
        assert rack.switch is not None
        return cls(rack, rack.switch.address, rack.switch.device_id, rack.saved_jobs)

    @contextlib.contextmanager
    def controller(self) -> Iterator[Controller]:
        """Its controller. TLS as `esactl` takes it from the environment. SwitchError."""
        if self.rack is not None:
            enter_network_of(self.rack.owner.pid)
        files = [os.environ.get(f"ESA_SWITCH_{name}") for name in ("CACERT", "CERT", "KEY")]
        tls = Tls(*(Path(file) if file else None for file in files)) if any(files) else None
        with Switch.connect(self.address, self.device_id, tls=tls) as switch:
            yield Controller(switch, self.saved)


def make_job(
    where: Where,
    workers: str,
    server: str,
    *,
    name: str | None,
    policy_name: str,
    window: int | None,
    switch_ip: str | None,
) -> Job:
    """A job of these members. BadInput, SwitchError."""
    if not (words := [word for word in workers.split(",") if word]):
        raise BadInput("workers: none given")
    with refusing():
        policy(policy_name)
    found = [_address(where, "workers", word) for word in words]
    ps = _address(where, "server", server)
    with where.controller() as controller:
        ports = controller.hosts()
        members = [_member(each, "workers", ports, WORKER_PORT) for each in found]
        jobs = controller.jobs()
        if switch_ip is not None:
            switch = _ipv4("switch-ip", switch_ip)
        elif where.rack is not None and where.rack.switch is not None:
            switch = where.rack.switch.ip
        else:  # as other jobs of this switch have it
            switch = jobs[0].switch_ip if jobs else default_switch_ip(ps.ip)
        names = {controller.name(job) for job in jobs}
        if name is not None and name in names:
            raise BadInput(f"name: there is a job '{name}' in the switch already")
        job = new_job(
            controller,
            name or unused("job", names),
            policy_name,
            members,
            _member(ps, "server", ports, ESA_PORT),
            switch,
            window,
        )
        check_members(job)
        return job


def check_job(file: Path, where: Where) -> tuple[list[str], list[str]]:
    """What is wrong with a job's file, here and on the switch, and what else is to be known; a line each."""
    try:
        job = Job.model_validate_json(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        return [f"{file}: {error.strerror if isinstance(error, OSError) else 'not a text file'}"], []
    except ValidationError as error:
        return [f"{file}: {problem}" for problem in problems_of(error)], []
    wrong, notes = [], []
    try:
        check_members(job)
    except BadInput as error:
        wrong.append(str(error))
    members = members_by_name(job)
    own = own_addresses()
    mine = [who for who, member in members if member.ip in own]
    if mine:
        notes.append(f"this machine is {' and '.join(mine)}")
    elif own:
        there = ", ".join(map(str, own))
        notes.append(f"this machine ({there}) is no member: right for a controller, wrong for a rank or the PS")
    for who, member in members:
        if member.ip in own and own[member.ip] != member.mac:
            wrong.append(f"{who}: {member.ip} has the MAC address {own[member.ip]} here, not {member.mac}")
        if where.rack is not None:
            wrong += _against_rack(where.rack, who, member)
    try:
        with where.controller() as controller:
            wrong += _against_switch(controller, job, members)
    except (SwitchError, BadInput) as error:
        wrong.append(str(error))
    return list(dict.fromkeys(wrong)), notes


def _against_rack(rack: RackRecord, who: str, member: Member) -> Iterator[str]:
    host = rack.host(str(member.ip))
    if host is None:
        last = rack.hosts[-1]
        yield f"{who}: no host of rack '{rack.name}' is {member.ip}: they are {rack.hosts[0].ip} to {last.ip}"
    elif host.mac != member.mac:
        yield f"{who}: {member.ip} ({host.namespace}) has the MAC address {host.mac}, not {member.mac}"


def _against_switch(controller: Controller, job: Job, members: list[tuple[str, Member]]) -> Iterator[str]:
    loaded = controller.switch.loaded
    if loaded.lanes != job.lanes:
        yield f"lanes: the job has {job.lanes} lanes, the switch runs the {loaded.lanes}-lane build"
    hosts = controller.hosts()
    for who, member in members:
        port = hosts.get(member.mac)
        if port is not None and port != member.switch_port:
            yield f"{who}: {member.mac} is on port {port} of the switch, not {member.switch_port}"
    jobs = controller.jobs()
    found = next((other for other in jobs if other.job == job.job), None)
    if found is None:
        yield f"job {job.name} (job {job.job}) is not on the switch: add it with esactl job add"
        others = [pools.Claim(controller.name(one), one.policy.pool, one.pool) for one in jobs if one.pool is not None]
        try:
            claim = pools.Claim(job.name, policy(job.policy).pool, job.pool)
            pools.check(claim, others, loaded.aggregators, job.reuse_span)
        except BadInput as error:
            yield str(error)
    elif found.members != job.members:
        yield f"job {job.job} on the switch is another one, {controller.name(found)}: its members differ"
    else:
        yield from (f"job {job.name} on the switch is damaged: {problem}" for problem in found.problems)


@dataclass(frozen=True)
class _Address:
    ip: IPv4Address
    mac: str
    port: int | None


def _address(where: Where, what: str, word: str) -> _Address:
    """One member as it was given, its MAC address found if need be."""
    host = where.rack.host(word) if where.rack is not None else None
    if host is not None:
        return _Address(host.ip, host.mac, host.switch_port)
    match = MEMBER.fullmatch(word)
    if match is None:
        raise BadInput(f"{what}: '{word}' is not {MEMBER_FORM}")
    ip = _ipv4(what, match["ip"])
    mac = match["mac"] or own_addresses().get(ip) or neighbour(ip)
    if mac is None:
        raise BadInput(f"{what}: nobody on a link of this machine answers for {ip}: give it as {ip}=MAC@PORT")
    return _Address(ip, mac.lower(), int(match["port"]) if match["port"] else None)


def _member(address: _Address, what: str, ports: dict[str, int], udp_port: int) -> Member:
    port = ports.get(address.mac) if address.port is None else address.port
    if port is None:
        raise BadInput(
            f"{what}: the switch does not know the port of {address.ip} ({address.mac}):"
            f" esactl host add, or give it as {address.ip}={address.mac}@PORT"
        )
    try:
        return Member(ip=address.ip, mac=address.mac, udp_port=udp_port, switch_port=port)
    except ValidationError as error:
        raise BadInput(f"{what}: {explain(error)}") from None


def _ipv4(what: str, text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise BadInput(f"{what}: '{text}' is not {MEMBER_FORM if what != 'switch-ip' else 'an IPv4 address'}") from None
