"""ONES as a scheduler: what it knows of jobs, limits, a generation of the search at every tick, and what is installed.

    decide = Ones(REPAIRED, seed=1)         # for one run: it remembers, and learns

Jobs start with one GPU. One that runs and has as many as its limit may have twice as many; the largest of all, once it
is half of the cluster and has run for longer than most, is shrunk. The best schedule of a generation is installed
whole, but for jobs whose GPUs are free: those start at once, while everybody else waits until each job that would move
has been through an epoch where it is. Rules: kurisusnowdeng/ones_sc21 at 8535358, src/scheduler.py and monitor.py.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence

import numpy as np

from esa.cluster.inventory import Cluster, Gpu
from esa.cluster.ones.draws import betas, mixed
from esa.cluster.ones.known import Known
from esa.cluster.ones.predictor import Record, fitted
from esa.cluster.ones.search import NOBODY, Cells, Jobs, generation
from esa.cluster.ones.settings import Settings
from esa.cluster.scheduler import NOTHING, Decision, JobInfo, Resize, Running, Start, Stop
from esa.cluster.times import Times
from esa.errors import BadInput


class Ones:
    """A scheduler with a memory, for one run: the same seed and the same run give the same decisions.

    history: of jobs that ended before, as the artefact has it of a run before; what ends in this run is added.
    """

    def __init__(self, settings: Settings, seed: int, history: Sequence[Record] = ()) -> None:
        self._settings = settings
        self._seed = seed
        self._records: list[Record] = [*history]
        self._fits = 0
        self._net = fitted(self._records, (seed, 0), crossed=settings.crossed)
        self._known: dict[int, Known] = {}
        self._ended_ns: list[int] = []  # how long they ran, ascending
        self._cells: list[Gpu] = []
        self._cell_of: dict[Gpu, int] = {}
        self._population: Cells = np.zeros((0, 0), np.int64)  # of numbers of jobs
        self._busy_until_ns = 0

    def __call__(
        self, now_ns: int, cluster: Cluster, waiting: Sequence[JobInfo], running: Sequence[Running], times: Times
    ) -> Decision:
        """The next schedule. BadInput for jobs and clusters that it is not for."""
        if now_ns < self._busy_until_ns:
            return NOTHING
        self._meet(cluster)
        at_work = {one.job.number: one for one in running}
        infos = {job.number: job for job in waiting} | {number: one.job for number, one in at_work.items()}
        self._look(now_ns, infos, at_work)
        if not infos:
            return NOTHING
        numbers = sorted(infos)
        in_force = np.full(len(self._cells), NOBODY, np.int64)
        for row, number in enumerate(numbers):
            if number in at_work:
                in_force[[self._cell_of[gpu] for gpu in at_work[number].workers if gpu in self._cell_of]] = row
        key = np.uint64(mixed(np.uint64(self._seed), now_ns))
        jobs = self._jobs(now_ns, numbers, in_force, key)
        settings = self._settings
        rates = settings.crossover, settings.mutation
        following = generation(self._rows(numbers), in_force, jobs, *rates, settings.free_moves, key)
        self._population = np.where(following < 0, NOBODY, np.array(numbers)[following])
        best = self._fastest(following[: settings.asked], in_force, numbers, infos, jobs, times)
        return self._install(now_ns, following[best], in_force, numbers, infos)

    def _meet(self, cluster: Cluster) -> None:
        cells = [Gpu(n, k) for n, host in enumerate(cluster.hosts) if n not in cluster.down for k in range(host.gpus)]
        if cells == self._cells:
            return
        if cluster.max_jobs < len(cells):
            raise BadInput(f"max_jobs: {cluster.max_jobs}; allowed under ones: as many as GPUs, {len(cells)}, or more")
        self._cells, self._cell_of = cells, {gpu: cell for cell, gpu in enumerate(cells)}
        self._population = np.full((self._settings.population, len(cells)), NOBODY, np.int64)

    def _look(self, now_ns: int, infos: Mapping[int, JobInfo], at_work: Mapping[int, Running]) -> None:
        """What jobs say of themselves; those that are gone are learned from."""
        ended = [number for number in self._known if number not in infos]
        for number in ended:
            gone = self._known.pop(number)
            insort(self._ended_ns, gone.runs_ns(now_ns))
            self._records += gone.records()
        if ended:
            self._fits += 1
            self._net = fitted(self._records, (self._seed, self._fits), crossed=self._settings.crossed)
        for number, job in infos.items():
            if number not in self._known:
                self._known[number] = Known.of(job, len(self._cells), self._settings)
            assert job.training is not None
            self._known[number].look(now_ns, job.training, at_work.get(number))

    def _rows(self, numbers: Sequence[int]) -> Cells:
        """The population by rows of jobs that are there."""
        row_of = np.full(max(numbers[-1], int(self._population.max())) + 2, NOBODY, np.int64)
        row_of[numbers] = np.arange(len(numbers))
        return row_of[self._population]

    def _jobs(self, now_ns: int, numbers: Sequence[int], in_force: Cells, key: np.uint64) -> Jobs:
        """Who is new, who is scored, what each may have, and what is left of it."""
        settings, cells, count = self._settings, len(in_force), len(numbers)
        known = [self._known[number] for number in numbers]
        sizes = np.bincount(in_force[in_force >= 0], minlength=count).tolist()
        scored = np.array([one.epochs >= settings.epochs_before for one in known])
        new = np.array([not size and not ripe for size, ripe in zip(sizes, scored.tolist(), strict=True)])
        limit, most = np.array(sizes), np.zeros(count, np.int64)
        for row, (one, size) in enumerate(zip(known, sizes, strict=True)):
            if size and scored[row]:
                if size == one.limit and self._may_scale(one):
                    one.limit = min(cells, 2 * one.limit)
                limit[row] = min(one.limit, one.growth, one.most)
            elif scored[row]:
                limit[row] = min(one.waiting, one.most)
            most[row] = min(one.limit, one.most)
        self._shrink(now_ns, known, sizes, limit)
        number = np.array(numbers)
        work = np.zeros((count, cells + 1))
        rows = np.nonzero(scored)[0]
        if not len(rows):
            return Jobs(number, new, scored, limit, most, rows, work)
        of = [known[row] for row in rows]
        asked = np.array([one.features(raw=settings.raw_epoch_size) for one in of])
        rho = betas(key, number[rows], np.array([one.done for one in of]), self._net.b(asked))
        left = np.array([one.training.samples for one in of]) * (1.0 / rho - 1.0)
        rates = np.array([one.seen.table for one in of])
        work[rows, 1:] = np.arange(1, cells + 1) * left[:, None] / rates[:, 1:]
        return Jobs(number, new, scored, limit, most, rows[np.argsort(work[rows, 1], kind="stable")], work)

    def _may_scale(self, one: Known) -> bool:
        since = 0 if self._settings.scaled_never else one.scaled_epochs
        return one.epochs - since >= self._settings.epochs_before

    def _shrink(self, now_ns: int, known: Sequence[Known], sizes: Sequence[int], limit: Cells) -> None:
        """The largest job, if it is half of the cluster and has run for longer than the median of all that started."""
        rows = [row for row, one in enumerate(known) if sizes[row] and self._may_scale(one)]
        row = max(rows, key=lambda each: sizes[each], default=0)
        size = sizes[row]
        if size < len(self._cells) // 2 or not self._settings.scale_down:
            return
        runs = known[row].runs_ns(now_ns)
        median = float(np.median([*self._ended_ns, *(one.runs_ns(now_ns) for one in known if one.started)]))
        if runs <= median:
            return
        smaller = max(int(2 * size / (self._settings.scale_down * runs / median + 1)), 1)
        smaller += smaller % 2
        limit[row] = smaller

    def _moved(self, best: Cells, in_force: Cells, numbers: Sequence[int]) -> tuple[list[int], bool]:
        """Whose cells a schedule changes, of those that run, and whether it can be installed whole."""
        cells, before = _by_job(best), _by_job(in_force)
        moved = [row for row in before if cells.get(row) != before[row]]
        known = [self._known[numbers[row]] for row in moved]
        return moved, all(one.epochs - one.scheduled_epochs >= self._settings.epochs_between for one in known)

    def _fastest(
        self,
        schedules: Cells,
        in_force: Cells,
        numbers: Sequence[int],
        infos: Mapping[int, JobInfo],
        jobs: Jobs,
        times: Times,
    ) -> int:
        """Of schedules that can be installed whole, the best ones first, that with the least GPU time left at the speed
        that `times` gives its jobs together, where it puts them; the first, if that cannot be, or none are given.
        """
        if not len(schedules) or not self._moved(schedules[0], in_force, numbers)[1]:
            return 0
        seen: dict[bytes, float] = {}
        best = 0
        for number, row in enumerate(schedules):
            name = row.tobytes()
            if name not in seen and self._moved(row, in_force, numbers)[1]:
                seen[name] = self._left(row, numbers, infos, jobs, times)
                if seen[name] < seen[schedules[best].tobytes()]:
                    best = number
        return best

    def _left(
        self, schedule: Cells, numbers: Sequence[int], infos: Mapping[int, JobInfo], jobs: Jobs, times: Times
    ) -> float:
        """GPU seconds left of a schedule's jobs that are scored, asked of `times`. BadInput for one without a batch."""
        cells = _by_job(schedule)
        places = [Start(numbers[row], tuple(self._cells[cell] for cell in cells[row]), None) for row in cells]
        asked = [infos[one.job].asked(one.hosts) for one in places]
        left = 0.0
        for row, one, answer in zip(cells, asked, times(asked), strict=True):
            if not one.local_batch:
                name = infos[one.job].name
                raise BadInput(f"job {name}: it says no batch; allowed under ones-network: jobs that do")
            if jobs.scored[row]:
                samples = float(jobs.work[row, 1] * self._known[numbers[row]].seen.table[1])
                left += samples * answer.iteration_s / (one.local_batch * (one.additions + 1))
        return left

    def _install(
        self, now_ns: int, best: Cells, in_force: Cells, numbers: Sequence[int], infos: Mapping[int, JobInfo]
    ) -> Decision:
        """What of a schedule is done now."""
        cells, before = _by_job(best), _by_job(in_force)
        known = [self._known[number] for number in numbers]
        moved, whole = self._moved(best, in_force, numbers)
        starts = [row for row in cells if row not in before and (whole or (in_force[cells[row]] == NOBODY).all())]
        if whole:
            for row, one in enumerate(known):
                if one.started and row not in before and row not in cells:
                    one.waiting = one.limit = max(1, one.waiting // 2)
        else:
            moved = []
        if not (moved or starts):
            return NOTHING
        stops = [row for row in moved if row not in cells]
        for row in stops:
            known[row].waiting = known[row].limit
        placed = [row for row in (*starts, *moved) if row in cells]
        for row in placed:
            known[row].settle(len(cells[row]) != len(before.get(row, ())))
        if self._settings.all_scheduled:
            for row in before:
                known[row].scheduled_epochs = known[row].epochs
        self._busy_until_ns = now_ns + max((_delay_ns(infos[numbers[row]]) for row in placed), default=0)
        gpus = {row: tuple(self._cells[cell] for cell in cells[row]) for row in placed}
        return Decision(
            tuple(Start(numbers[row], gpus[row], None) for row in starts),
            tuple(Stop(numbers[row]) for row in stops),
            tuple(Resize(numbers[row], gpus[row], None) for row in moved if row in cells),
        )


def _by_job(row: Cells) -> dict[int, list[int]]:
    """Cells by job, both ascending."""
    found: dict[int, list[int]] = {}
    for cell, who in enumerate(row.tolist()):
        if who != NOBODY:
            found.setdefault(who, []).append(cell)
    return dict(sorted(found.items()))


def _delay_ns(job: JobInfo) -> int:
    """Until its workers run, at most."""
    costs = job.kind.costs
    return max(costs.start_ns + costs.preempt_ns, costs.rescale_ns, costs.migrate_ns)
