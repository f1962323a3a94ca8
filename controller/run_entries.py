"""The entries of a job's runs on one switch: right at the end, whoever else writes them at the same time.

P4Runtime has no transactions, and between a look and a write anybody may write. So

- a policy is written into every run that the job has just then, until a look finds no other (`change`);
- a run that comes in another's place has the other's policy, until a look finds both alike; then the other goes
  (`put_in_place`);
- a job goes with every run of it, until a look finds none (`remove`); a run that comes in the place of none goes again.

What is changed while a run gives way to the next is so in the next one, and what is removed stays removed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from controller import forwarding
from controller.client import Switch
from controller.forwarding import ATTEMPTS
from controller.runs import is_newest
from esa.entries import job_entries as e
from esa.entries.job_entries import Entry, InstalledJob
from esa.errors import Refused


def installed_jobs(switch: Switch) -> list[InstalledJob]:
    """Return the jobs in the switch, by id.

    One that looks damaged is looked at again: perhaps a table was read before another controller wrote, the next after.
    """
    before: list[InstalledJob] = []
    for _ in range(ATTEMPTS):
        jobs = e.installed_jobs(switch.read_entries(e.JOB_TABLES), switch.read_groups())
        if not any(job.problems for job in jobs) or jobs == before:
            break
        before = jobs
    return jobs


def insert(switch: Switch, job: InstalledJob) -> None:
    """Insert the entries of a new run, its policy last; its hosts, where they are not there."""
    forwarding.add_hosts(switch, {member.mac: member.switch_port for member in job.members})
    *parts, policy_entry = e.job_entries(job)
    switch.insert(parts)
    switch.insert([policy_entry])


def check_newest(switch: Switch, job: InstalledJob) -> None:
    """Refused where a newer run than this was drawn."""
    if not is_newest(switch, job.job, job.epoch):
        raise Refused(f"job: {job.job} was started by another controller at the same time")


def put_in_place(switch: Switch, new: InstalledJob, *, newest: bool = False) -> None:
    """Insert a new run of a job that has one, with the policy that the job has by then. All or nothing.

    newest: it goes again where a newer one was drawn meanwhile. The other runs stay, for `delete`.
    """
    try:
        insert(switch, new)
        if newest:
            check_newest(switch, new)
        _take_over_policy(switch, new)
    except BaseException:
        delete(switch, new.job, also=[new.epoch])
        raise


def change(switch: Switch, jobs: Iterable[InstalledJob]) -> None:
    """Write policy and rows of jobs, in one write for all. Refused where one of them has gone."""
    changed = {(job.job, job.index): job for job in jobs}
    written: set[tuple[int, ...]] = set()
    for attempt in range(ATTEMPTS):
        runs = [entry for entry in switch.read_entries([e.POLICY]) if _of(entry) in changed]
        for gone in changed.keys() - {_of(entry) for entry in runs}:
            raise Refused(f"job: {gone[0]} was removed by another controller at the same time")
        new = [entry for entry in runs if entry.match not in written]
        if not new:
            return
        wanted = [e.policy_entry(replace(changed[_of(entry)], epoch=entry.match[1])) for entry in new]
        try:
            switch.modify([entry for entry in wanted if entry not in new])
        except Refused:  # a run gave way to the next
            if attempt == ATTEMPTS - 1:
                raise
        else:
            written |= {entry.match for entry in new}
    raise Refused(f"jobs: {_numbers(changed)} are started all the time by other controllers")


def delete(switch: Switch, job: int, *, up_to: int = 0, also: Collection[int] = ()) -> None:
    """Delete the entries of those runs of a job, by epoch; their policies first. Done when a look finds none."""
    refused = Refused(f"job: {job}: other controllers write its runs all the time")
    for _ in range(ATTEMPTS):
        entries = (entry for entry in switch.read_entries(e.JOB_TABLES) if entry.match[-2] == job)
        theirs = [entry for entry in entries if entry.match[-1] <= up_to or entry.match[-1] in also]
        if not theirs:
            return
        try:
            switch.delete([entry for entry in theirs if entry.table == e.POLICY])
            switch.delete([entry for entry in theirs if entry.table != e.POLICY])
        except Refused as error:  # another controller deletes them, too
            refused = error
    raise refused


def remove(switch: Switch, job: InstalledJob) -> None:
    """Delete the entries of all runs of a job, and of those that come meanwhile."""
    newer: set[int] = set()
    for _ in range(ATTEMPTS):
        delete(switch, job.job, up_to=job.epoch, also=newer)
        left = switch.read_entries([e.POLICY, e.OWNER])  # what names a job's index; its group keeps that taken
        newer = {entry.match[1] for entry in left if _of(entry) == (job.job, job.index)}
        if not newer:
            return
    raise Refused(f"job: {job.job} is started all the time by other controllers")


def _take_over_policy(switch: Switch, new: InstalledJob) -> None:
    """Give a run the policy of the one whose place it takes."""
    for _ in range(ATTEMPTS):
        runs = {entry.match: entry for entry in switch.read_entries([e.POLICY]) if _of(entry) == (new.job, new.index)}
        mine = runs.pop(new.key, None)
        if mine is None or not runs:
            raise Refused(f"job: {new.job} was removed by another controller at the same time")
        theirs = replace(runs[max(runs)], match=new.key)
        if mine == theirs:
            return
        switch.modify([theirs])
    raise Refused(f"job: other controllers change the policy of {new.job} all the time")


def _of(entry: Entry) -> tuple[int, int]:
    """(job, index) that a policy or owner entry names."""
    return entry.match[0], entry.params[0] if entry.params else 0


def _numbers(jobs: Iterable[tuple[int, int]]) -> str:
    return ", ".join(str(job) for job, _ in sorted(jobs))
