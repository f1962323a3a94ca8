"""How long the jobs take to recover: `esa recovery`.

Two jobs of two workers sum arrays on a rack, every process a real one and every sum checked. Something is lost or
killed (SIGKILL) and started again at once; measured is

    a lost packet          how much longer an all-reduce takes that lost one packet than the median of the others
    a killed switch, PS    from the kill until every rank has completed an all-reduce that it began after it
    a killed controller    from the kill, before or while it adds a job, until the switch has that job
    a killed worker        from the kill until all others of its job have their error, which names it
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from controller import Controller, Switch
from esa.errors import EsaError
from esa.exits import interruptible
from esa.job import Pool
from esa.net.impairment import Impairment
from experiments.common.folders import make_folder
from experiments.live.loop_ranks import LoopJob
from experiments.live.rig import Rig
from experiments.live.rig_switch import is_whole
from topologies.single_rack import require_root

POLICIES = ("esa", "atp", "switchml", "ps")
LIMIT_S = 30.0
LOSS = 0.0005  # about one packet in an all-reduce of two workers and 20,000 values


class RecoveryError(EsaError, RuntimeError):
    """Something did not come back, or a sum was wrong."""


def _jobs(policy: str, **settings: object) -> list[LoopJob]:
    return [LoopJob(name, policy, pool=Pool(base=i * 1024, size=1024), **settings) for i, name in enumerate("ab")]


def _check(rig: Rig, what: str, fine: bool) -> None:
    if fine and all(rank.last != "wrong" for rank in rig.ranks):
        return
    last = "; ".join(f"{rank.job.name} rank {rank.rank}: {rank.events[-1:]}" for rank in rig.ranks)
    servers = ", ".join(f"{name} {server.poll()}" for name, server in rig.servers.items())
    raise RecoveryError(f"{what}: wrong, or not within {LIMIT_S:.0f} s; {last}; PSs {servers}; see {rig.folder}")


def _warm(rig: Rig, rng: random.Random) -> None:
    sums = {job.name: rig.ranks.sums(job.name) + 5 for job in rig.specs}
    _check(
        rig,
        "before the next kill",
        rig.ranks.until(lambda: all(rig.ranks.sums(name) > sums[name] for name in sums), LIMIT_S),
    )
    rig.ranks.until(lambda: False, rng.uniform(0, 0.1))  # anywhere in an all-reduce


def _until_through(rig: Rig, what: str, killed_at: float, names: list[str]) -> float:
    """Seconds from the kill until every rank of these jobs has completed an all-reduce that it began after it."""

    ranks = [rank for name in names for rank in rig.ranks.of(name)]
    through = rig.ranks.until(lambda: all(rank.of("sum")[-1]["start"] > killed_at for rank in ranks), LIMIT_S)
    _check(rig, what, through)
    return max(next(s["t"] for s in rank.of("sum") if s["start"] > killed_at) for rank in ranks) - killed_at


def _lost_packets(policy: str, folder: Path, repeats: int) -> Iterator[float]:
    rig = Rig(_jobs(policy, impairment=Impairment(loss=LOSS), seed=7)[:1], folder)
    with rig:
        rig.start()
        rig.ranks.until(lambda: rig.ranks.sums("a") >= 30 * repeats, 2 * LIMIT_S)
        _check(rig, "lost packets", not rig.stop(LIMIT_S))
        each = list(zip(*(rank.of("sum") for rank in rig.ranks.of("a")), strict=False))
    took = [(max(s["t"] - s["start"] for s in sums), sum(s["lost"] for s in sums)) for sums in each]
    usual = median(seconds for seconds, lost in took if not lost)
    for seconds, lost in took:
        if lost == 1:
            yield max(0.0, seconds - usual)


def _killed_switch(policy: str, folder: Path, repeats: int, rng: random.Random) -> Iterator[float]:
    with Rig(_jobs(policy), folder) as rig:
        rig.start()
        for _ in range(repeats):
            _warm(rig, rng)
            killed_at = time.monotonic()
            rig.kill_switch()
            rig.restart_switch()
            yield _until_through(rig, f"a killed switch under {policy}", killed_at, list("ab"))
        _check(rig, "the end", not rig.stop(LIMIT_S))


def _killed_server(policy: str, folder: Path, repeats: int, rng: random.Random) -> Iterator[float]:
    with Rig(_jobs(policy), folder) as rig:
        rig.start()
        for _ in range(repeats):
            _warm(rig, rng)
            killed_at = time.monotonic()
            rig.kill_server("a")
            rig.start_server("a")
            yield _until_through(rig, f"a killed PS under {policy}", killed_at, ["a"])
        _check(rig, "the end", not rig.stop(LIMIT_S))


def _killed_controller(policy: str, folder: Path, repeats: int, rng: random.Random) -> Iterator[float]:
    left = repeats
    with Rig(_jobs(policy), folder, supervised=False) as rig:
        idle = LoopJob("c", policy, pool=Pool(base=2048, size=1024))  # a job that nobody runs
        rig.hosts["c"] = rig.hosts["a"]
        number = rig.add(idle, 3).job
        rig.start()
        while left:
            _warm(rig, rng)
            node = rig.net.switch
            with Switch.connect(node.grpc_address, node.device_id) as switch:
                if any(job.job == number for job in Controller(switch).jobs()):
                    Controller(switch).remove_job(number)
            rig.start_supervisor()
            rig.ranks.until(lambda: False, rng.uniform(0.3, 2.0))
            killed_at = time.monotonic()
            rig.kill_supervisor()
            too_late = is_whole(rig)
            rig.start_supervisor()
            _check(rig, "a killed controller", rig.ranks.until(lambda: is_whole(rig), LIMIT_S))
            if not too_late:
                yield time.monotonic() - killed_at
                left -= 1
            rig.kill_supervisor()
        _check(rig, "the end", not rig.stop(LIMIT_S))


def _killed_worker(policy: str, folder: Path, repeats: int, rng: random.Random) -> Iterator[float]:
    for _ in range(repeats):
        settings = {"workers": 3, "values": 5000}
        with Rig(_jobs(policy, **settings), folder, supervised=False) as rig:
            rig.start()
            _warm(rig, rng)
            victim = rng.randrange(3)
            killed_at = time.monotonic()
            rig.kill_worker("a", victim)
            others = [rank for rank in rig.ranks.of("a") if not rank.killed]
            _check(
                rig,
                "a killed worker",
                rig.ranks.until(lambda o=others: all(rank.last == "error" for rank in o), LIMIT_S),
            )
            name = f"rank {victim} ({rig.net.ip(rig.hosts['a'][victim])})"
            for rank in others:
                if name not in rank.events[-1]["message"]:
                    raise RecoveryError(
                        f"a killed worker under {policy}: {name} is not named: {rank.events[-1]['message']}"
                    )
            yield max(rank.events[-1]["t"] for rank in others) - killed_at
            _check(rig, "the other job", not rig.stop(LIMIT_S, ["b"]))


def measure(repeats: int, seed: int, folder: Path, say: Callable[[str], None]) -> list[dict[str, object]]:
    """Every kind of recovery, `repeats` times each; seconds."""
    rows: list[dict[str, object]] = []
    rng = random.Random(seed)

    def row(what: str, policy: str, seconds: Iterator[float]) -> None:
        took = list(seconds)
        say(f"{what}, {policy}: {', '.join(f'{1000 * each:,.0f}' for each in took)} ms")
        rows.append(
            {"what": what, "policy": policy, "times": len(took), "median_s": median(took), "worst_s": max(took)}
        )

    for policy in POLICIES:
        row("lost packet", policy, _lost_packets(policy, folder / f"packet-{policy}", repeats))
    for policy in POLICIES:
        row("killed switch", policy, _killed_switch(policy, folder / f"switch-{policy}", repeats, rng))
    for policy in POLICIES:
        row("killed PS", policy, _killed_server(policy, folder / f"ps-{policy}", repeats, rng))
    row("killed controller", "esa", _killed_controller("esa", folder / "controller", repeats, rng))
    few = max(2, repeats // 3)
    for policy in ("esa", "atp", "ps"):
        row("killed worker", policy, _killed_worker(policy, folder / f"worker-{policy}", few, rng))
    return rows


def recovery(repeats: int, seed: int, results: Path) -> None:
    """Measure each kind `repeats` times; results/recovery.json keeps it. NotRootError, FolderError, RecoveryError."""
    console = Console(highlight=False)
    require_root()
    make_folder(results)
    with (
        tempfile.TemporaryDirectory(prefix="esa-recovery-") as folder,
        interruptible("the lines above are all that there is"),
    ):
        rows = measure(repeats, seed, Path(folder), lambda text: console.print(f"  {text}"))
    table = Table("recovery from", "policy", "times", "median", "worst", title="every sum was checked")
    for row in rows:
        table.add_row(
            str(row["what"]),
            str(row["policy"]),
            str(row["times"]),
            *(f"{1000 * float(str(row[key])):,.0f} ms" for key in ("median_s", "worst_s")),
        )
    console.print(table)
    (results / "recovery.json").write_text(json.dumps(rows, indent=2) + "\n")
