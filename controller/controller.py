"""Jobs and policies on one switch. Nothing is kept here: which jobs there are is read back from its entries."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from controller import forwarding, job_counters, run_entries
from controller.client import Switch
from controller.job_checks import check_free, check_members
from controller.job_counters import Occupancy, rows_in_use
from controller.job_files import SavedJobs
from controller.runs import draw_epoch, know_epoch, put_back
from esa.entries import job_entries as e
from esa.entries import pools
from esa.entries.job_entries import InstalledJob
from esa.errors import AlreadyExists, BadInput, Refused, SwitchError
from esa.job import Job, Pool
from esa.log import area, event
from esa.policy import MOST_AHEAD, Policy, policy
from esa.program import program

_log = area("controller")
LOOK_AGAIN_S = 0.3


class Controller:
    """The control plane of one switch.

        controller = Controller(switch)
        controller.add_job(job)
        controller.set_policy(job.name, "atp")

    A second controller on the same switch, or a later one, sees the same jobs and changes nothing by coming. Jobs are
    named by their name (known from `saved`, a file; else "job-<id>") or their id.
    """

    def __init__(self, switch: Switch, saved: Path | None = None) -> None:
        self.switch = switch
        self._saved = SavedJobs(saved, f"{switch.address}#{switch.device_id}") if saved else None

    @property
    def address(self) -> str:
        return self.switch.address

    @property
    def lanes(self) -> int:
        return self.switch.loaded.lanes

    # The program and the hosts

    def load(self, lanes: int = 64) -> None:
        """Load the build with `lanes` lanes; whatever the switch held before is gone."""
        try:
            build = program(lanes)
        except ValueError as error:
            raise BadInput(str(error)) from None
        self.switch.load(build)
        event(_log, logging.INFO, "loaded the program", lanes=lanes, switch=self.address)
        if self._saved:
            self._saved.clear()

    def hosts(self) -> dict[str, int]:
        """Return MAC address -> switch port."""
        return forwarding.hosts(self.switch)

    def add_host(self, mac: str, port: int) -> None:
        """Forward frames for `mac` to `port`, and flood broadcasts there too."""
        self.add_hosts({mac: port})

    def add_hosts(self, hosts: Mapping[str, int]) -> None:
        """Forward frames for many, as `add_host` does; hosts that are there already stay, one that moved is moved."""
        forwarding.add_hosts(self.switch, hosts)

    def mark_congestion_above(self, packets: int) -> None:
        """Set the ECN flag of ESA packets that find more than `packets` packets in an egress queue."""
        self.switch.modify([e.ecn_entry(packets)])

    def congestion_mark(self) -> int:
        """Return above how many packets in an egress queue the ECN flag is set."""
        return self.switch.read_entries([e.ECN])[0].params[0]

    # Jobs

    def jobs(self) -> list[InstalledJob]:
        """Return the jobs in the switch, by id."""
        return run_entries.installed_jobs(self.switch)

    def name(self, job: InstalledJob) -> str:
        saved = self.saved(job)
        return saved.name if saved else f"job-{job.job}"

    def saved(self, job: InstalledJob) -> Job | None:
        """Return the job as it was added, if the file of jobs knows it."""
        saved = self._saved.jobs().get(job.job) if self._saved else None
        # Another controller may have given the id to another job since. (A damaged one cannot be compared.)
        same = saved is not None and (job.problems or saved.members == job.members)
        return saved if same else None

    def find(self, job: str | int, installed: Sequence[InstalledJob] | None = None) -> InstalledJob:
        """Return the job with this name or id, of those `installed`; BadInput names those there are."""
        installed = self.jobs() if installed is None else installed
        names = {candidate.job: self.name(candidate) for candidate in installed}
        for candidate in installed:
            if str(job) in (names[candidate.job], str(candidate.job), f"job-{candidate.job}"):
                return candidate
        there = ", ".join(names.values()) or "there are none"
        raise BadInput(f"job: no job '{job}' in the switch; jobs: {there}")

    def sound(self, job: str | int, installed: Sequence[InstalledJob] | None = None) -> InstalledJob:
        """Return the job as `find` does; Refused where it is damaged."""
        found = self.find(job, installed)
        if found.problems:
            raise Refused(f"job {self.name(found)} is damaged in the switch ({'; '.join(found.problems)}): add it anew")
        return found

    def add_job(self, job: Job) -> InstalledJob:
        """Install a job and start its first run: hosts, senders, owner, receivers and, last, policy. All or nothing.

        Several controllers may do so at a time: what makes a job unmistakable, its epoch and its index (counters,
        multicast group), is taken by INSERTs that only one of them can win.
        """
        loaded = self.switch.loaded
        if job.lanes != loaded.lanes:
            raise BadInput(
                f"lanes: job {job.name} has {job.lanes} lanes, the switch runs the {loaded.lanes}-lane build"
            )
        check_members(job)
        installed = self.jobs()
        check_free(job, installed, self.name)
        claim = pools.Claim(job.name, policy(job.policy).pool, job.pool)
        pools.check(claim, self._claims(installed), loaded.aggregators, job.reuse_span)
        self._check_ports(job)

        epoch = draw_epoch(self.switch, job.job)
        # Once more: one who started the job before this epoch was drawn is seen now, one who does later finds itself
        # overtaken, or this job here.
        check_free(job, self.jobs(), self.name)
        new = self._claim(InstalledJob.of(job.run(epoch), 1))
        try:
            job_counters.retire(self.switch, new.index)
            run_entries.insert(self.switch, new)
            run_entries.check_newest(self.switch, new)
            # Of two jobs that were added at a time and are in each other's way, the one that looks last sees both.
            others = [other for other in self.jobs() if other.job != job.job]
            check_free(job, others, self.name)
            pools.check(claim, self._claims(others), loaded.aggregators, job.reuse_span)
            run_entries.delete(self.switch, job.job, up_to=epoch - 1)  # of a controller that died
        except BaseException:
            self._roll_back(new)
            raise
        if self._saved:
            self._saved.put(job)
        self._log("added a job", new)
        return new

    def start_run(self, job: str | int) -> InstalledJob:
        """Give a job of the switch a new run: a new epoch, its counters at zero, all else as it is.

        The new run's entries are there before the old one's go; if they cannot be, the old ones stay.
        """
        new = self.end_run(job)
        job_counters.retire(self.switch, new.index)
        self._log("started a run", new)
        return new

    def end_run(self, job: str | int) -> InstalledJob:
        """End a job's run: one that nobody takes part in comes in its place, and its rows are free for all jobs.

        Its counters stay until the next run starts.
        """
        old = self.sound(job)
        new = replace(old, epoch=draw_epoch(self.switch, old.job))
        run_entries.put_in_place(self.switch, new, newest=True)
        run_entries.delete(self.switch, new.job, up_to=new.epoch - 1)
        return self._as_it_is(new)

    def resume_run(self, job: str | int, epoch: int) -> InstalledJob:
        """Give a job the run back that a restarted switch lacks, and that its members are still in."""
        old = self.sound(job)
        new = replace(old, epoch=epoch)
        know_epoch(self.switch, old.job, epoch)
        run_entries.put_in_place(self.switch, new)
        run_entries.delete(self.switch, new.job, up_to=epoch - 1, also=[old.epoch])
        return self._as_it_is(new)

    def memory(self) -> int:
        """Return a number that another load of the program changes, such as after a restart."""
        return self.switch.generation()

    def put_back(self, job: InstalledJob) -> None:
        """Write a job that a switch held before, with its run, into one that holds nothing of it. All or nothing."""
        try:
            self.switch.insert([e.job_group(job)])
            run_entries.insert(self.switch, job)
        except SwitchError:
            self._roll_back(job)
            raise

    def remembered_runs(self) -> list[e.Entry]:
        """Return what the switch remembers of the runs that it has seen, for `remember_runs`."""
        return self.switch.read_entries([e.RUN])

    def remember_runs(self, runs: Iterable[e.Entry]) -> None:
        """Put what a switch remembered into one that has lost its memory; the next epochs are well beyond it."""
        self.switch.insert(put_back(runs))

    def remove_job(self, job: str | int) -> InstalledJob:
        """Take a job out of the switch, its policy first. Rows that it still holds drain as others take them."""
        found = self.find(job)
        if self._saved:  # first, so that no supervisor takes it for a job that the switch has lost
            self._saved.drop(found.job)
        run_entries.remove(self.switch, found)
        job_counters.retire(self.switch, found.index)
        self._delete_group(found.group)  # last: it is what keeps the index taken
        self._log("removed a job", found)
        return found

    def set_policy(
        self, job: str | int, name: str, *, pool: Pool | None = None, window: int | None = None
    ) -> InstalledJob:
        """Put a job under another policy while it runs, in one write.

        Its rows stay where they are if they may; else they are `pool`, those of the job's file, or free ones. A slice
        needs the job's span: from the job's file, or the largest that its `window` may have come with.
        """
        try:
            knobs = policy(name)
        except ValueError as error:
            raise BadInput(str(error)) from None
        installed = self.jobs()
        found = self.sound(job, installed)
        saved = self.saved(found)
        window = saved.window if saved else window
        span = window * MOST_AHEAD if window else None
        if saved:  # its run may have begun under either policy
            began = (policy(saved.policy), found.policy)
            span = max(one.reuse_span(saved.window, saved.span) for one in began)
        if pool is None:
            others = self._claims(other for other in installed if other.job != found.job)
            pool = self._pool_for(found, saved, knobs, span if knobs.pool == "slice" else window, others)
        asked_us = saved.ttl_us if saved else None
        changed = found.under(knobs, pool, knobs.ttl_us() if asked_us is None else asked_us)
        self.change(found, changed, span)
        self._log("changed a job's policy", changed)
        return changed

    def change(self, found: InstalledJob, changed: InstalledJob, span: int | None = None) -> None:
        """Write policy and rows of a job, all its runs'. BadInput where others have these rows, or take them meanwhile.

        Then the job stays as it was `found`. span: in packets, where it is known; a slice has to be twice as large.
        """
        self._check_rows(changed, span)
        run_entries.change(self.switch, [changed])
        try:
            self._check_rows(changed, span)  # of two that take rows at a time, the one that looks last sees both
        except BadInput:
            run_entries.change(self.switch, [found])
            raise

    def reconcile(self, jobs: Sequence[Job] | None = None) -> list[str]:
        """Delete what no job owns; with `jobs`, make these the switch's jobs. Returns what was done, in words."""
        done = []
        if jobs is not None:
            wanted = {job.job: job for job in jobs}
            for found in self.jobs():
                job = wanted.get(found.job)
                if job is not None and found == InstalledJob.of(job.run(found.epoch), found.index):
                    del wanted[found.job]
                    continue
                done.append(f"removed job {self.name(found)}")
                self.remove_job(found.job)
            for job in wanted.values():
                self.add_job(job)
                done.append(f"added job {job.name}")
        left = self._left_over()
        if left:  # twice: another controller that is at work is not long between two of its writes
            time.sleep(LOOK_AGAIN_S)
            still = self._left_over()
            left = [item for item in left if item in still]
        self.switch.delete(left)
        return done + [f"deleted left-over {self.switch.describe(item)}" for item in left]

    def leftovers(self) -> list[str]:
        """Return what no job owns, in words: a controller died, or is at work."""
        return [self.switch.describe(item) for item in self._left_over()]

    # Counters

    def counters(self, job: str | int) -> dict[str, int]:
        """Return the job's counters by name; zero when it was added."""
        return self.read_counters([self.find(job).index])[0]

    def read_counters(self, indices: Sequence[int]) -> list[dict[str, int]]:
        """Read counters by job index, in one request; index 0 counts packets and rows of no job."""
        return job_counters.read(self.switch, indices)

    def denied_by_reason(self) -> dict[str, int]:
        """Return how many packets admission dropped, over all jobs and none."""
        return job_counters.denied_by_reason(self.switch)

    def occupancy(self) -> Occupancy:
        """Return rows in use, by job; seated minus released."""
        installed = self.jobs()
        nobody, *each = self.read_counters([0, *(job.index for job in installed)])
        in_use = {self.name(job): rows_in_use(counters) for job, counters in zip(installed, each, strict=True)}
        return Occupancy(in_use, rows_in_use(nobody), self.switch.loaded.aggregators)

    # Parts

    def _left_over(self) -> list[e.Entry | e.Group]:
        entries = self.switch.read_entries(e.JOB_TABLES)
        used = {job.group for job in e.installed_jobs(entries)} | {e.FLOOD_GROUP}
        ours = e.FIRST_JOB_GROUP + e.MAX_JOB_INDEX
        groups = (group for group in self.switch.read_groups() if group.id not in used and group.id <= ours)
        return [*e.leftovers(entries), *groups]

    def _check_ports(self, job: Job) -> None:
        hosts = self.hosts()
        for member in job.members:
            port = hosts.get(member.mac, member.switch_port)
            if port != member.switch_port:
                raise BadInput(
                    f"switch_port: job {job.name}: host {member.mac} is on port {port}, not {member.switch_port}"
                )

    def _claims(self, jobs: Iterable[InstalledJob]) -> list[pools.Claim]:
        return [pools.Claim(self.name(job), job.policy.pool, job.pool) for job in jobs if job.pool is not None]

    def _check_rows(self, job: InstalledJob, span: int | None) -> None:
        """BadInput where a job, as it is or is to be, and the others of the switch are in each other's way."""
        if job.pool is not None:
            claim = pools.Claim(self.name(job), job.policy.pool, job.pool)
            others = self._claims(other for other in self.jobs() if other.job != job.job)
            pools.check(claim, others, self.switch.loaded.aggregators, span)

    def _pool_for(
        self,
        found: InstalledJob,
        saved: Job | None,
        knobs: Policy,
        needed: int | None,
        others: Sequence[pools.Claim],
    ) -> Pool:
        if found.pool is not None and pools.same_kind(found.policy.pool, knobs.pool):
            return found.pool
        fits = saved is not None and (knobs.pool != "slice" or saved.pool.size >= pools.slice_size(needed or 1))
        if saved is not None and fits and pools.same_kind(policy(saved.policy).pool, knobs.pool):
            return saved.pool
        if knobs.pool == "slice" and needed is None:
            raise BadInput(
                f"pool: {knobs.name} needs rows of its own for job {self.name(found)}: give its window or its rows"
            )
        rows = self.switch.loaded.aggregators
        return pools.allocate(self.name(found), knobs, needed or rows, others, rows)

    def _claim(self, job: InstalledJob) -> InstalledJob:
        """Take an index for the job by inserting its multicast group, which only one controller can."""
        used = e.used_indices(self.switch.read_entries(e.JOB_TABLES), self.switch.read_groups())
        for index in range(1, e.MAX_JOB_INDEX + 1):
            claimed = replace(job, index=index)
            if index not in used:
                with contextlib.suppress(AlreadyExists):
                    self.switch.insert([e.job_group(claimed)])
                    return claimed
        raise Refused(f"the switch has room for {e.MAX_JOB_INDEX} jobs and holds as many")

    def _as_it_is(self, run: InstalledJob) -> InstalledJob:
        """Return a run that was just written, under the policy that it has by now."""
        found = self.find(run.job)
        if found.epoch != run.epoch:
            raise Refused(f"job: {run.job} was started by another controller at the same time")
        return found

    def _delete_group(self, group: int) -> None:
        self.switch.delete([other for other in self.switch.read_groups() if other.id == group])

    def _log(self, text: str, job: InstalledJob) -> None:
        rows = None if job.pool is None else f"{job.pool.base}+{job.pool.size}"
        fields = {"job": self.name(job), "epoch": job.epoch, "policy": job.policy.name, "rows": rows}
        event(_log, logging.INFO, text, **fields, switch=self.address)

    def _roll_back(self, job: InstalledJob) -> None:
        try:
            run_entries.delete(self.switch, job.job, also=[job.epoch])
            self._delete_group(job.group)
        except SwitchError:
            return  # what made the job fail is the better report; `reconcile` finds what is left
