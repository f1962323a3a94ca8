"""Random scenarios with random faults and kills, for as long as one likes: `esa soak --minutes n --seed n`.

Each run is drawn from its own seed: jobs, policies, windows, pools, bad links, and what is killed (SIGKILL) when. Most
sum arrays without pause and check every one; one in five trains PyTorch models, whose final weights must be those of
the same training left alone. A job that starts again has a rank of its old run around for a second. At the end a table;
wrong sums, hangs and leaked rows must be zero.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from esa.errors import BadInput, EsaError
from esa.exits import interruptible
from esa.job import Pool
from esa.net.impairment import Impairment
from esa.policy import POLICIES
from esa.report import load_run
from experiments.common.folders import new_folder
from experiments.live.check import check_live
from experiments.live.errors import RunError
from experiments.live.loop_ranks import LoopJob
from experiments.live.rig import Rig
from experiments.live.rig_switch import epochs_begun, left_over, sweep
from experiments.live.run import run
from experiments.specs.scenario import Scenario
from topologies.p4switch import P4SwitchError
from topologies.single_rack import require_root

GIVE_UP_S = 12.0
HANG_S = 40.0  # beyond that a sum has hung, whatever was done to it
DRAIN_ROWS = 256
KILLS = ("switch", "PS", "controller", "worker", "again")  # again: a rank, and then the same job starts anew
TRAINING = """
name = "soak"
aggregators = 64
[network]
rate = "200 Mb/s"
[timers]
give_up_s = 30.0
[[jobs]]
name = "mlp"
model = "mlp"
iterations = 12
window = 64
[[jobs]]
name = "cnn"
model = "cnn"
iterations = 40
batch_size = 16
learning_rate = 0.02
window = 64
"""


class SoakError(EsaError, RuntimeError):
    """A sum was wrong, something hung, or something was left."""


@dataclass
class Done:
    """What the soak has seen."""

    runs: int = 0
    trainings: int = 0
    all_reduces: int = 0
    fragments: int = 0
    resends: int = 0
    recoveries: int = 0
    outlived: int = 0  # packets of old runs that the switch denied
    jobs_given_up: int = 0
    wrong: int = 0
    hangs: int = 0
    leaked: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    failing: list[str] = field(default_factory=list)

    def table(self, seconds: float) -> Table:
        table = Table("what", "count", title=f"soak of {seconds / 60:.1f} minutes")
        table.add_row("runs", str(self.runs))
        table.add_row("of these, PyTorch trainings", str(self.trainings))
        for name, count in (
            ("all-reduces", self.all_reduces),
            ("fragments", self.fragments),
            ("resends", self.resends),
        ):
            table.add_row(name, f"{count:,}")
        for kind, count in sorted(self.faults.items()):
            table.add_row(f"packets {kind}", f"{count:,}")
        for kind in KILLS:
            table.add_row("run again" if kind == "again" else f"killed: {kind}", str(self.kills[kind]))
        table.add_row("recoveries", str(self.recoveries))
        table.add_row("packets of old runs, denied", f"{self.outlived:,}")
        table.add_row("jobs that gave up, as they should", str(self.jobs_given_up))
        for name, count in (("wrong sums", self.wrong), ("hangs", self.hangs), ("leaked rows, entries", self.leaked)):
            table.add_row(f"{name} (must be 0)", str(count), style="bold red" if count else "bold")
        return table

    @property
    def bad(self) -> int:
        return self.wrong + self.hangs + self.leaked


def draw_jobs(rng: random.Random) -> list[LoopJob]:
    """One to three jobs: policies, sizes, and rows that they fight for."""
    shared = Pool(base=0, size=rng.choice([4, 16, 64, 128]))
    jobs = []
    for number in range(rng.choice([1, 2, 2, 3])):
        name = rng.choice(sorted(POLICIES))
        window = rng.choice([4, 16, 64])
        pool = Pool(base=128, size=128) if POLICIES[name].pool == "slice" else shared
        if POLICIES[name].pool == "slice" and any(POLICIES[job.policy].pool == "slice" for job in jobs):
            name, pool = "esa", shared
        impairment = None
        if rng.random() < 0.6:
            impairment = Impairment(
                loss=rng.choice([0.0, 0.001, 0.01, 0.05]),
                duplicate=rng.choice([0.0, 0.01]),
                reorder=rng.choice([0.0, 0.01, 0.05]),
                jitter_ms=rng.choice([0.0, 0.2]),
                burst_enter=rng.choice([0.0, 0.001]),
            )
        jobs.append(
            LoopJob(
                f"job{number}",
                name,
                workers=rng.choice([2, 2, 3]),
                values=rng.choice([500, 4000, 12_000]),
                window=window,
                pool=pool,
                priority=rng.randrange(1, 256),
                pause_s=0.002,
                give_up_s=GIVE_UP_S,
                ttl_us=rng.choice([100_000, 500_000]),
                impairment=impairment,
                seed=rng.randrange(2**32),
            )
        )
    return jobs


def sum_arrays(seed: int, folder: Path, done: Done) -> None:
    """One run of all-reduce loops: kills, checks, and rows left over at its end."""
    rng = random.Random(seed)
    specs = draw_jobs(rng)
    failing: set[str] = set()  # jobs that lost a worker: they give up, and say who is missing
    hung: list[str] = []
    with Rig(specs, folder) as rig:
        try:
            rig.start()
            rig.ranks.until(lambda: False, 1.0)
            for _ in range(rng.randrange(1, 5)):
                kind = rng.choices(KILLS, weights=(4, 4, 2, 1, 2))[0]
                job = rng.choice(specs)
                before = {spec.name: rig.ranks.sums(spec.name) for spec in specs}
                if kind == "switch":
                    rig.kill_switch()
                    rig.ranks.until(lambda: False, rng.choice([0.0, 0.0, 1.0]))
                    rig.restart_switch()
                elif kind == "PS":
                    if job.name in failing:
                        continue
                    rig.kill_server(job.name)
                    rig.ranks.until(lambda: False, rng.choice([0.0, 0.0, 1.0]))
                    rig.start_server(job.name)
                elif kind == "controller":
                    rig.kill_supervisor()
                    rig.start_supervisor()
                elif kind == "again":
                    if job.name in failing:
                        continue
                    count(rig, done, [job.name])
                    if rng.random() < 0.5:  # a new PS, or the one of the run before
                        rig.kill_server(job.name)
                        rig.start_server(job.name)
                    epoch = rig.run_again(job.name)
                    before[job.name] = 0
                    outlived = rig.outlive(job.name, epoch)
                    done.outlived += outlived
                    if not outlived:
                        done.wrong += 1
                        done.failing.append(f"seed {seed}: packets of {job.name}'s old run were not denied, {folder}")
                else:
                    if job.name in failing or len(specs) == 1:
                        continue
                    failing.add(job.name)
                    rig.kill_worker(job.name, rng.randrange(job.workers))
                done.kills[kind] += 1
                alive = [spec.name for spec in specs if spec.name not in failing]

                def recovered(alive: list[str] = alive, before: dict[str, int] = before) -> bool:
                    return all(rig.ranks.sums(name) >= before[name] + 2 for name in alive)

                if rig.ranks.until(recovered, HANG_S):
                    done.recoveries += 1
                else:
                    hung += [
                        f"{name} after a killed {kind}" for name in alive if rig.ranks.sums(name) < before[name] + 2
                    ]
                    break
                rig.ranks.until(lambda: False, rng.uniform(0.0, 1.0))
            hung += rig.stop(HANG_S)
            begun = epochs_begun(rig)
            twice = [f"epoch {epoch} of {name} twice" for name, epoch in set(begun) if begun.count((name, epoch)) > 1]
            done.wrong += len(twice)
            done.failing += [f"seed {seed}: {what}, {folder}" for what in twice]
            entries = left_over(rig)
            done.leaked += len(entries)
            done.failing += [f"seed {seed}: nobody's: {entry}, {folder}" for entry in entries]
        finally:
            count(rig, done)
        for rank in rig.ranks:
            name = f"{rank.job.name} rank {rank.rank} ({rank.job.policy})"
            if rank.last == "wrong":
                done.wrong += 1
                done.failing.append(f"seed {seed}: wrong sum at {name}, {folder}")
            elif rank.last == "error" and not rank.killed and rank.job.name not in failing:
                hung.append(f"{name}: {rank.events[-1]['message']}")
        done.jobs_given_up += len(failing)
        done.hangs += len(hung)
        done.failing += [f"seed {seed}: hang: {what}, {folder}" for what in hung]
        if not hung:
            left = sweep(rig, DRAIN_ROWS)
            if left:
                done.leaked += abs(left)
                done.failing.append(f"seed {seed}: {left} rows left, {folder}")


def count(rig: Rig, done: Done, names: Sequence[str] = ()) -> None:
    """Add up what the jobs, or those named, have done so far."""
    for spec in rig.specs:
        if not names or spec.name in names:
            done.all_reduces += rig.ranks.sums(spec.name)
    for rank in rig.ranks:
        if names and rank.job.name not in names:
            continue
        for end in rank.of("end"):
            done.fragments += int(end["stats"]["fragments"])
            done.resends += int(end["stats"]["resends"])
            for counters in end["faults"].values():
                for kind in ("lost", "duplicated", "reordered", "delayed"):
                    done.faults[kind] += counters[kind]


class Trainings:
    """Trainings whose switch and PSs are killed, next to the same ones left alone."""

    def __init__(self) -> None:
        self._undisturbed: dict[str, str] = {}  # job -> digest of its final weights

    def one(self, seed: int, folder: Path, done: Done) -> None:
        rng = random.Random(seed)
        if not self._undisturbed:
            self._undisturbed = self._train("ps", folder / "undisturbed", done, None)
        policy = rng.choice(["esa", "atp", "switchml", "ps", "esa-coin"])
        digests = self._train(policy, folder / "disturbed", done, rng)
        done.trainings += 1
        for job, digest in digests.items():
            if digest != self._undisturbed[job]:
                done.wrong += 1
                done.failing.append(f"seed {seed}: other weights of {job} under {policy}, {folder}")

    def _train(self, policy: str, folder: Path, done: Done, rng: random.Random | None) -> dict[str, str]:
        folder.mkdir(parents=True)
        path = folder / "scenario.toml"
        path.write_text(TRAINING)
        scenario = Scenario.load(path, check_live, policy=policy)
        over = threading.Event()
        killer = threading.Thread(target=_kill_now_and_then, args=(rng, folder, over, done), daemon=True)
        if rng is not None:
            killer.start()
        try:
            summary, where = run(scenario, folder, Console(quiet=True))
        finally:
            over.set()
            if rng is not None:
                killer.join()
        finished = load_run(where)
        done.recoveries += len(finished.of("restart"))
        done.fragments += sum(job.fragments for job in summary.jobs)
        done.resends += sum(job.resends for job in summary.jobs)
        return {end["job"]: end["weights_sha256"] for end in finished.of("end")}


def _kill_now_and_then(rng: random.Random, folder: Path, over: threading.Event, done: Done) -> None:
    """Once the training is under way, kill its switch and its PSs from outside, as an administrator might."""
    while not over.wait(0.1) and not any('"iteration"' in path.read_text() for path in folder.glob("*/records.jsonl")):
        pass
    for _ in range(rng.randrange(1, 3)):
        if over.wait(rng.uniform(0.0, 1.0)):
            return
        kind = rng.choice(["switch", "PS"])
        word = f"@esa{os.getpid()}p" if kind == "switch" else f"{folder.resolve()}/"
        module = "esa.switch" if kind == "switch" else "esa.hosts"
        for process in _processes(module, word)[:1]:
            os.kill(process, signal.SIGKILL)
            done.kills[kind] += 1


def _processes(module: str, word: str) -> list[int]:
    """Our own: those that run `module` and have `word` in their arguments."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            arguments = (path / "cmdline").read_bytes().split(b"\0") if path.name.isdigit() else []
        except OSError:
            continue
        if module.encode() in arguments and any(word.encode() in argument for argument in arguments):
            found.append(int(path.name))
    return found


def soak(minutes: float, seed: int, results: Path, console: Console) -> Done:
    """Run after run until the time is up; however it ends, its table is printed."""
    done, trainings = Done(), Trainings()
    start = time.monotonic()
    number = seed
    try:
        while time.monotonic() < start + 60 * minutes:
            folder = results / str(number)
            folder.mkdir(parents=True)
            bad = done.bad
            console.print(
                f"  {time.monotonic() - start:6.0f} s  seed {number}: {done.all_reduces:,} all-reduces so far"
            )
            try:
                if number % 5 == 4:
                    trainings.one(number, folder, done)
                else:
                    sum_arrays(number, folder, done)
            except (RunError, P4SwitchError) as error:
                done.hangs += 1
                done.failing.append(f"seed {number}: {str(error).splitlines()[0]}, {folder}")
            done.runs += 1
            if done.bad == bad:
                shutil.rmtree(folder)
            number += 1
    finally:
        console.print(done.table(time.monotonic() - start))
        for line in done.failing:
            console.print(f"  {line}", soft_wrap=True)
    return done


def soak_until(minutes: float, seed: int, results: Path) -> None:
    """`soak` as a command. BadInput, NotRootError, FolderError before anything starts; SoakError for what was wrong."""
    if not 0 < minutes <= 10_000:
        raise BadInput(f"minutes: {minutes:g}; allowed: above 0, at most 10,000")
    require_root()
    folder = new_folder(results, "soak")
    with interruptible(f"the table says what was seen until then; runs that failed, and the last one, are in {folder}"):
        done = soak(minutes, seed, folder, Console(highlight=False))
    if done.bad:
        raise SoakError(f"{done.bad} wrong sums, hangs and leaks; the runs' folders are kept in {folder}")
