"""Jobs become entries and entries jobs again, and every name in them exists in the compiled program."""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from esa.entries import job_entries as e
from esa.entries.job_entries import InstalledJob
from esa.job import SERVER_COUNTS, Run
from esa.p4runtime import p4info_pb2
from esa.policy import POLICIES, Aging, Emit, Policy, Preempt, Release
from esa.program import program
from tests.controller.jobs import make_job, make_run, member


@lru_cache
def p4info() -> Any:
    return text_format.Parse(program(64).p4info.read_text(), p4info_pb2.P4Info())


@st.composite
def runs(draw: st.DrawFn, job: int = 1) -> Run:
    fan_in = draw(st.integers(1, 32))
    count = draw(st.sampled_from(SERVER_COUNTS))
    hosts = draw(st.lists(st.integers(1, 400), min_size=fan_in + count, max_size=fan_in + count, unique=True))
    size = 1 << draw(st.integers(4, 12))
    server, *more_servers = (member(host, 31780) for host in hosts[fan_in:])
    return make_job(
        f"j{job}",
        job,
        draw(st.sampled_from(sorted(POLICIES))),
        workers=[member(host, draw(st.integers(1, 65535))) for host in hosts[:fan_in]],
        server=server,
        more_servers=more_servers,
        pool={"base": draw(st.integers(0, 4096)), "size": size},
        window=size // 2,
        ttl_us=draw(st.integers(0, 2**48 - 1)),
    ).run(draw(st.integers(0, 65535)))


@given(st.data())
def test_reading_entries_back_gives_the_jobs(data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(1, 65535), min_size=1, max_size=3, unique=True))
    installed = [InstalledJob.of(data.draw(runs(job)), index + 1) for index, job in enumerate(sorted(ids))]
    entries = data.draw(st.permutations([entry for job in installed for entry in e.job_entries(job)]))
    assert e.installed_jobs(entries, [e.job_group(job) for job in installed]) == installed
    assert e.leftovers(entries) == []
    assert e.used_indices(entries, []) == {job.index for job in installed}


def test_the_policy_entry_is_the_last() -> None:
    assert [entry.table for entry in e.job_entries(InstalledJob.of(make_run(), 1))][-1] == e.POLICY


def test_without_its_policy_entry_a_job_is_left_over() -> None:
    whole, half = InstalledJob.of(make_run(job=1), 1), InstalledJob.of(make_run(job=2), 2)
    entries = [*e.job_entries(whole), *e.job_entries(half)[:-1]]
    groups = [e.job_group(whole), e.job_group(half)]
    assert e.installed_jobs(entries, groups) == [whole]
    assert e.leftovers(entries) == e.job_entries(half)[:-1]
    assert e.used_indices(entries, groups) == {1, 2}


@pytest.mark.parametrize("table", [e.SENDER, e.OWNER, e.REPLICA])
def test_a_job_with_a_missing_entry_says_so(table: str) -> None:
    job = InstalledJob.of(make_run(), 1)
    entries = e.job_entries(job)
    for gone in (entry for entry in entries if entry.table == table):
        rest = [entry for entry in entries if entry != gone]
        (found,) = e.installed_jobs(rest, [e.job_group(job)])
        assert found.job == job.job
        assert found.problems


def test_a_job_without_its_multicast_group_says_so() -> None:
    (found,) = e.installed_jobs(e.job_entries(InstalledJob.of(make_run(), 1)))
    assert found.problems == ("multicast group 3 does not list its workers",)


@pytest.mark.parametrize(("fan_in", "full"), [(1, 1), (2, 3), (32, 0xFFFFFFFF)])
def test_full_has_a_bit_per_worker(fan_in: int, full: int) -> None:
    workers = [member(host, 20000) for host in range(1, fan_in + 1)]
    job = InstalledJob.of(make_run(workers=workers, server=member(99, 31780)), 1)
    assert e.policy_entry(job).params[7] == full
    senders = e.sender_entries(job)
    assert sum(entry.params[0] for entry in senders[:-1]) == full
    assert senders[-1].action == e.SERVER
    assert [replica.instance for replica in e.job_group(job).replicas] == list(range(1, fan_in + 1))


def test_policy_ps_passes_through() -> None:
    entry = e.policy_entry(InstalledJob.of(make_run(policy="ps"), 9))
    assert (entry.action, entry.params) == (e.PASS_THROUGH, (9, 11))


def test_every_policy_is_told_from_its_knobs() -> None:
    for policy in POLICIES.values():
        if policy.pool != "none":
            assert e.policy_of(policy.preempt, policy.aging, policy.release, policy.emit) == policy
    custom = e.policy_of(Preempt.ALWAYS, Aging.HALVE, Release.ON_REUSE, Emit.TO_SERVER)
    assert custom == Policy("custom", "slice", Preempt.ALWAYS, Aging.HALVE, Release.ON_REUSE, Emit.TO_SERVER)


def test_names_and_shapes_are_those_of_the_program() -> None:
    tables = {table.preamble.name: len(table.match_fields) for table in p4info().tables}
    actions = {action.preamble.name: len(action.params) for action in p4info().actions}
    job, bypassed = InstalledJob.of(make_run(), 1), InstalledJob.of(make_run(policy="ps"), 1)
    hosts = [e.host_entry("00:00:0a:00:00:01", 1), e.broadcast_entry(), e.ecn_entry(20)]
    for entry in [*e.job_entries(job), *e.job_entries(bypassed), *hosts]:
        assert len(entry.match) == tables[entry.table]
        assert len(entry.params) == actions[entry.action]


def test_parameters_are_in_the_order_of_the_program() -> None:
    params = {a.preamble.name: [param.name for param in a.params] for a in p4info().actions}
    where = ["server_mac", "server_ip", "switch_ip"]
    knobs = ["preempt", "aging", "release", "emit"]
    rows = ["job_index", "pool_base", "pool_mask"]
    assert params[e.AGGREGATE] == [*rows, *knobs, "full", "ttl_us", "group", *where]
    assert params[e.OWNER_IS] == ["job_index", *where, "level1", "bitmap1", "last_server"]
    assert params[e.SERVER_IS] == ["mac", "ip"]
    assert params[e.READDRESS] == ["mac", "ip", "port"]
    assert params[e.WORKER] == ["bitmap0", "bitmap1"]


def test_counters_are_those_of_the_program() -> None:
    sizes = {counter.preamble.name: counter.spec.unit and counter.size for counter in p4info().counters}
    assert set(e.COUNTERS.values()) | {e.DENIED_BY_REASON} == set(sizes)
    assert {sizes[name] for name in e.COUNTERS.values()} == {e.MAX_JOB_INDEX + 1}
    assert sizes[e.DENIED_BY_REASON] >= len(e.DENY_REASONS)


@pytest.mark.parametrize("enum", [Preempt, Aging, Release, Emit])
def test_knobs_have_the_values_of_the_program(enum: type[IntEnum]) -> None:
    members = p4info().type_info.serializable_enums[enum.__name__].members
    assert {m.name: int.from_bytes(m.value, "big") for m in members} == {m.name: m.value for m in enum}


def test_one_ps_has_no_entry_of_its_own_and_of_several_all_but_the_first_have() -> None:
    tables = [entry.table for entry in e.job_entries(InstalledJob.of(make_run(), 1))]
    assert e.MORE_SERVERS not in tables
    assert tables.count(e.OWNER) == 1
    several = InstalledJob.of(make_run(more_servers=[member(host, 31780) for host in (12, 13, 14)]), 1)
    entries = e.job_entries(several)
    assert [entry.match for entry in entries if entry.table == e.MORE_SERVERS] == [(n, 1, 7) for n in (1, 2, 3)]
    damaged = [entry for entry in entries if (entry.table, entry.match) != (e.MORE_SERVERS, (2, 1, 7))]
    (found,) = e.installed_jobs(damaged, [e.job_group(several)])
    assert found.problems == ("no server entry of PS 2",)
