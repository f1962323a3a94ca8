"""The events of a cluster: a job is submitted, a stage of one is over, a clock ticks; then the scheduler is asked.

    outcome = simulate_cluster(cluster, jobs, SCHEDULERS["fifo"], COMPUTING)

Time is in whole nanoseconds, progress an exact fraction: a job that runs undisturbed is looked at when it starts and
when a stage of it is over, at no other time, and looking at it in between changes nothing. A decision is validated and
applied whole, or refused whole by the name of its rule. At the same time, stages that are over come before jobs that
are submitted, and both before the scheduler is asked.

Without a tick the scheduler is asked whenever a job came or ended. With one it is asked at its multiples alone, from
the first on, as long as there is a job that waits or runs; GPUs of a job that ended in between are idle until then.
Ticks that the scheduler said it does not need are left out.

What the inference side offers to lend changes by itself; the scheduler decides which of its hosts are lent. Without a
tick it is asked then, too. None is lent before it decides so.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import replace

from esa.cluster.free import Free
from esa.cluster.inventory import Cluster
from esa.cluster.scheduler import Decide, Decision, JobInfo, Running
from esa.cluster.times import Times
from esa.cluster.validate import DecisionRefused, check_decision
from esa.errors import BadInput
from esa.laboratory.jobs import Submitted, check_jobs
from esa.laboratory.life import Life, record_of
from esa.laboratory.offers import NEVER, Offers
from esa.laboratory.outcome import Arriving, JobRecord, Loans, Outcome, Spell
from esa.laboratory.views import AtWork, Queue

_LOOK_EVERY = 256  # events, between two looks at whether to stop


def simulate_cluster(
    cluster: Cluster,
    jobs: Sequence[Submitted],
    decide: Decide,
    times: Times,
    *,
    tick_ns: int = 0,
    round_ns: int = 0,
    spells: bool = False,
    offers: Offers | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Run jobs to their end.

    tick_ns:  when the scheduler is asked; 0: at news. round_ns: the end of a stage is noted to the nearest multiple;
    0: to the nanosecond, upwards. spells: keep where jobs were. offers: how many of the
    cluster's inference hosts can be lent. progress: told which part of the jobs has ended; should_stop: asked now and
    then.
    BadInput, one line, for jobs that could never start, for decisions that cannot be applied, and if nothing runs or is
    to come while jobs wait.
    """
    check_jobs(cluster, [*jobs])
    if tick_ns < 0 or round_ns < 0 or (round_ns and tick_ns % round_ns):
        raise BadInput(f"tick_ns: {tick_ns}; allowed: from 0, a multiple of round_ns, {round_ns}")
    if bool(cluster.inference) != (offers is not None):
        raise BadInput(f"offers: {len(cluster.inference)} inference hosts; allowed: offers where there are some")
    run = _Run(cluster, jobs, decide, times, tick_ns, round_ns, spells, offers)
    ended = run.loop(progress, should_stop)
    return run.outcome(None if ended else "interrupted")


class _Run:
    """The state of a simulation."""

    def __init__(
        self,
        cluster: Cluster,
        jobs: Sequence[Submitted],
        decide: Decide,
        times: Times,
        tick_ns: int,
        round_ns: int,
        spells: bool,
        offers: Offers | None,
    ) -> None:
        self._cluster = cluster.lending(frozenset()) if offers is not None else cluster
        self._offers = offers
        self._loans = None if offers is None else Loans()
        self._lent_since_ns = 0
        self._decide = decide
        self._times = times
        self._tick_ns = tick_ns
        self._spells: list[Spell] | None = [] if spells else None
        self._round_ns = round_ns
        self._jobs = jobs
        self._records: list[JobRecord | None] = [None] * len(jobs)  # of jobs that have come
        self._lives: dict[int, Life] = {}  # of those that wait or run
        self._to_come = sorted(range(len(jobs)), key=lambda number: (jobs[number].submit_ns, number), reverse=True)
        self._arrival_ns = jobs[self._to_come[-1]].submit_ns if jobs else NEVER  # the next one
        self._queue = Queue()
        self._running: dict[int, Life] = {}
        self._elastic: dict[int, None] = {}  # of those that run
        self._free = Free.of(self._cluster)
        self._at_work = AtWork(self._free, self._running, self._elastic, self._look)
        self._own_gpus = len(self._free)
        self._first_ns = self._arrival_ns if jobs else 0
        self._by_level: dict[int, int] = {}
        self._arriving: Arriving | None = None
        self._due: list[tuple[int, int, int, Life]] = []  # (when, job, its version then, itself)
        self._now_ns = 0
        self._news = False
        self._quiet = False  # nothing is to be decided before there are news
        self._next_tick_ns = tick_ns
        self._decisions = 0
        self._over = 0

    def loop(self, progress: Callable[[float], None] | None, should_stop: Callable[[], bool] | None) -> bool:
        """Until all jobs are over; False if it was asked to stop before."""
        events = 0
        while self._to_come or self._queue.by_number or self._running:
            events += 1
            if events % _LOOK_EVERY == 0:
                if should_stop is not None and should_stop():
                    return False
                if progress is not None:
                    progress(self._over / len(self._jobs))
            self._step()
        return True

    def _step(self) -> None:
        """Go to the next event, and do all that is to be done then."""
        due = self._due
        while due and due[0][2] != due[0][3].version:
            heapq.heappop(due)
        now = self._arrival_ns
        if due and due[0][0] < now:
            now = due[0][0]
        if self._tick_ns or self._offers is not None:
            now = self._tick_or_change(now)
        if now >= NEVER:
            name = next(iter(self._queue)).name
            raise BadInput(
                f"job {name}: it waits, nothing runs and nothing is to come; allowed: a scheduler that starts a job"
            )
        self._now_ns = now
        if due and due[0][0] <= now:
            self._stages_over()
        if self._arrival_ns <= now:
            self._submit()
        if not self._tick_ns:
            if not self._news:
                return
        elif now < self._next_tick_ns:
            return
        else:
            self._next_tick_ns += self._tick_ns
        self._news = self._quiet = False
        if self._running or self._queue.by_number:
            self._ask()

    def _tick_or_change(self, now: int) -> int:
        """The time of the next event, where a clock ticks, or hosts may be lent. now: that of jobs' own."""
        somebody = bool(self._running or self._queue.by_number)
        change = self._offers.next_ns(self._now_ns) if self._offers is not None and somebody else NEVER
        if self._tick_ns:
            if not somebody or (self._quiet and not self._news):  # nobody is asked about nothing
                news = min(now, change) if somebody else self._arrival_ns
                self._next_tick_ns = max(self._next_tick_ns, -(-news // self._tick_ns) * self._tick_ns)
            return min(now, self._next_tick_ns)
        if change <= now and change < NEVER:
            self._news = True
            return change
        return now

    def _submit(self) -> None:
        """Those who come by now wait."""
        while self._arrival_ns <= self._now_ns:
            number = self._to_come.pop()
            life = self._lives[number] = Life(number, self._jobs[number], self._round_ns, self._by_level)
            self._records[number] = life.record
            self._queue.by_number[number] = life.info(self._now_ns)
            self._arrival_ns = self._jobs[self._to_come[-1]].submit_ns if self._to_come else NEVER
        self._news = True
        if not self._to_come:
            self._arriving = self._until_now()

    def _stages_over(self) -> None:
        due, now = self._due, self._now_ns
        while due and due[0][0] <= now:
            _, number, version, life = heapq.heappop(due)
            if version != life.version:
                continue
            if life.stage_over():
                self._free.give(life.gpus)
                self._leave(life, life.record.end_ns or now)
                del self._lives[number]
                self._over += 1
                self._news = True
                if self._running and not self._times.isolated:
                    self._ask_times(list(self._running.values()))
            else:
                heapq.heappush(due, (life.due_ns, number, life.version, life))

    def _ask(self) -> None:
        """The scheduler decides, and its decision is applied."""
        self._decisions += 1
        if self._offers is not None and self._offers.at(self._now_ns) != self._cluster.offered:
            self._cluster = replace(self._cluster, offered=self._offers.at(self._now_ns))
        running = self._at_work.now(self._free)
        decision = self._decide(self._now_ns, self._cluster, self._queue, running, self._times)
        try:
            free = check_decision(decision, self._cluster, self._queue, running)
        except DecisionRefused as refused:
            at = f"at {self._now_ns} ns the scheduler's decision breaks the rule '{refused.rule}'"
            raise BadInput(f"{at}: {refused}") from None
        self._quiet = decision.until_news
        if free is not None:
            self._apply(decision, free)

    def _look(self, number: int) -> Running:
        life = self._running[number]
        return Running(life.info(self._now_ns), life.start_ns, life.gpus, None)

    def _apply(self, decision: Decision, free: Free) -> None:
        """free: the GPUs that it leaves."""
        if decision.memos or decision.left_ns:
            self._remember(decision)
        if decision.lent is None and not (decision.starts or decision.stops or decision.resizes or decision.left_ns):
            return
        self._free = free
        changed: list[Life] = []
        if decision.stops or decision.resizes or decision.lent is not None:
            self._make_way(decision, changed)
        for start in decision.starts:
            del self._queue.by_number[start.job]
            life = self._lives[start.job]
            life.start(self._now_ns, start.workers)
            self._settle(life)
            changed.append(life)
        if self._times.isolated:
            if changed:
                self._ask_times(changed)
        elif self._running and (changed or decision.stops or decision.left_ns):
            self._ask_times(list(self._running.values()))

    def _remember(self, decision: Decision) -> None:
        """What the scheduler says of jobs."""
        for number, memo in decision.memos.items():
            self._lives[number].memo = memo
            if number in self._queue.by_number:
                self._queue.by_number[number] = replace(self._queue.by_number[number], memo=memo)
        for number, left_ns in decision.left_ns.items():
            self._lives[number].told_left_ns = left_ns

    def _make_way(self, decision: Decision, changed: list[Life]) -> None:
        """Jobs stop, hosts change hands, jobs go on elsewhere; those are `changed`."""
        now, back = self._now_ns, list[JobInfo]()
        lent = self._cluster.lent if decision.lent is None else decision.lent
        given_back = self._cluster.lent - lent
        for stop in decision.stops:
            life = self._lives[stop.job]
            life.stop(now)
            if given_back and self._loans is not None:
                self._loans.stops += 1
                self._loans.collateral += sum(gpu.host not in given_back for gpu in life.gpus)
            self._leave(life, now)
            back.append(life.info(now))
        self._queue.put_back(back)
        for resize in decision.resizes:
            self._note(self._lives[resize.job], now)
        if lent != self._cluster.lent:
            self._lend(lent, given_back)
        for resize in decision.resizes:
            life = self._lives[resize.job]
            life.resize(now, resize.workers)
            self._settle(life)
            changed.append(life)

    def _lend(self, lent: frozenset[int], given_back: frozenset[int]) -> None:
        """Hosts change hands."""
        assert self._loans is not None
        self._account_loans()
        self._loans.given_back += len(given_back)
        if self._spells is not None:
            self._loans.changes.append((self._now_ns, lent))
        self._cluster = self._cluster.lending(lent)

    def _account_loans(self) -> None:
        """Add up the GPU time that was lent until now."""
        if self._loans is not None:
            gpus = sum(self._cluster.hosts[host].gpus for host in self._cluster.lent)
            self._loans.held += gpus * (self._now_ns - self._lent_since_ns)
            self._lent_since_ns = self._now_ns

    def _until_now(self) -> Arriving:
        self._account_loans()
        for life in self._running.values():
            life.account(self._now_ns)
        span_ns = self._now_ns - self._first_ns
        held = sum(record.held for record in self._records if record is not None)
        return Arriving(span_ns, held, self._own_gpus * span_ns, 0 if self._loans is None else self._loans.held)

    def _settle(self, life: Life) -> None:
        self._running[life.number] = life
        if life.job.elastic is not None:
            self._elastic[life.number] = None

    def _leave(self, life: Life, end_ns: int) -> None:
        """It does not run any more."""
        if self._spells is not None:
            self._note(life, end_ns)
        life.gpus = ()
        del self._running[life.number]
        if life.job.elastic is not None:
            del self._elastic[life.number]

    def _note(self, life: Life, end_ns: int) -> None:
        """It is not on these GPUs any more."""
        if self._spells is not None and end_ns > life.since_ns:
            self._spells.append(Spell(life.number, life.since_ns, end_ns, life.gpus))

    def _ask_times(self, lives: Sequence[Life]) -> None:
        now_ns = self._now_ns
        then_ns = None if self._times.isolated else now_ns
        for life, answer in zip(lives, self._times([life.asked(then_ns) for life in lives]), strict=True):
            if life.answered(now_ns, answer):
                heapq.heappush(self._due, (life.due_ns, life.number, life.version, life))

    def outcome(self, incomplete: str | None) -> Outcome:
        self._account_loans()
        for life in self._running.values():
            life.account(self._now_ns)
        pairs = zip(self._jobs, self._records, strict=True)
        return Outcome(
            jobs=tuple(record_of(job) if record is None else record for job, record in pairs),
            gpus=self._own_gpus,
            end_ns=self._now_ns,
            by_level=self._by_level,
            spells=tuple(self._spells or ()),
            decisions=self._decisions,
            incomplete=incomplete,
            loans=self._loans,
            arriving=self._arriving,
        )
