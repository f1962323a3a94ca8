"""One script run many times on a rack that stays up, with a Ctrl-C in between: `esa again --rounds n --seed n`.

Each round launches the script twice: the first launch gets SIGINT at a random moment of its training, the second is
left alone, and its weights must be those that gloo's sums give, within what int32 lanes lose. Told for each policy:
how far the weights were away, how long the ranks outlived the signal, and the same of gloo.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from controller import Controller, Switch
from esa.errors import BadInput, EsaError
from esa.exits import interruptible
from topologies import record
from topologies.single_rack import require_root

POLICIES = ("esa", "atp", "switchml", "ps")
GLOO = "gloo"
SCRIPT = Path(__file__).parent / "again_train.py"
COMMAND = [sys.executable, "-m", "topologies.launcher"]
RANKS = 2
ITERATIONS = 20
# Of the weights, in the norm. A step's gradients are exact to about 3e-8 for two workers (docs/protocol.md, Numbers),
# as gloo's own float32 sums are; twenty steps with momentum add such differences up.
BOUND = 1e-5
STOPPED_WITHIN_S = 2.0  # of the interrupt: the last rank
MOMENTS_S = 1.5  # of the training in which the interrupt comes
LIMIT_S = 240.0  # for a launch; the first after a change compiles

Weights = npt.NDArray[np.float32]


class AgainError(EsaError, RuntimeError):
    """A launch did other than it should."""


@dataclass(frozen=True)
class Interrupt:
    """One Ctrl-C, seconds: at what time of the training, and how much later what was over.

    stopped_s: the last rank's own code, leaving the run included. ranks_s: its process; what lies between is Python
    taking torch down, which takes a processor's time. launch_s: the launch, its job off the switch.
    """

    moment_s: float
    stopped_s: float
    ranks_s: float
    launch_s: float


@dataclass(frozen=True)
class Round:
    """What one round has shown. away: |weights - gloo's| / |gloo's|."""

    interrupt: Interrupt
    away: float


def train(rack: str, how: str, folder: Path) -> Weights:
    """The weights of a whole launch under a policy, or of gloo's sums."""
    weights = folder / f"{how}.npy"
    weights.unlink(missing_ok=True)
    done = subprocess.run(
        _launch(rack, how, weights, ITERATIONS), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    if done.returncode != 0:
        raise AgainError(f"a launch under {how} ended with status {done.returncode}: {_said(done.stderr)}")
    loaded: Weights = np.load(weights)
    return loaded


def interrupt(rack: str, how: str, moment_s: float, folder: Path, *, straggler_s: float = 0.0) -> Interrupt:
    """Launch, and press Ctrl-C at this time of the training; all of it has to end by it.

    straggler_s: by how much one rank is later than the others in every iteration, so that they wait for it.
    """
    command = _launch(rack, how, folder / "never.npy", 100_000)
    command += ["--pause", "0.002", "--straggler", str(straggler_s)]
    # A session of its own: a real Ctrl-C that ends this process shall not be taken for one of ours.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with process, contextlib.ExitStack() as stack:
        try:
            ranks = [stack.enter_context(_Process(pid)) for pid in _training(process)]
            time.sleep(moment_s)
            pressed = time.monotonic()
            process.send_signal(signal.SIGINT)
            _until_said(process, r"\[\d+\] stopped\n")
            stopped_s = time.monotonic() - pressed
            for rank in ranks:
                rank.wait(pressed + LIMIT_S)
            ranks_s = time.monotonic() - pressed
            _, said = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    if process.returncode != 128 + signal.SIGINT:
        raise AgainError(f"an interrupted launch under {how} ended with status {process.returncode}: {_said(said)}")
    if "SIGTERM to rank" in said:
        raise AgainError(f"SIGINT did not end the ranks of a launch under {how}: {_said(said)}")
    return Interrupt(moment_s, stopped_s, ranks_s, time.monotonic() - pressed)


def one_round(rack: str, how: str, rng: random.Random, gloo: Weights, folder: Path) -> Round:
    """A launch that is interrupted, then one that is not; nothing of either is left on the switch."""
    straggler_s = rng.choice([0.0, 0.0, 0.2])
    pressed = interrupt(rack, how, rng.uniform(0.0, MOMENTS_S), folder, straggler_s=straggler_s)
    weights = train(rack, how, folder)
    left = left_over(rack)
    if left:
        raise AgainError(f"after a round under {how} the switch still has {', '.join(left)}")
    return Round(pressed, distance(weights, gloo))


def distance(weights: Weights, reference: Weights) -> float:
    """|weights - reference| / |reference|, in the norm."""
    exact = reference.astype(np.float64)
    return float(np.linalg.norm(weights.astype(np.float64) - exact) / np.linalg.norm(exact))


def left_over(rack: str) -> list[str]:
    """What is on a rack's switch although nothing runs, in words."""
    switch = record.find(rack).switch
    assert switch is not None
    with Switch.connect(switch.address, switch.device_id) as client:
        controller = Controller(client)
        return [f"job {job.job}" for job in controller.jobs()] + controller.leftovers()


def _launch(rack: str, how: str, weights: Path, iterations: int) -> list[str]:
    policy = ["--policy", "esa" if how == GLOO else how]
    command = [*COMMAND, "launch", "--rack", rack, "--nproc", str(RANKS), *policy, str(SCRIPT)]
    command += [str(weights), "--iterations", str(iterations)]
    return [*command, "--gloo"] if how == GLOO else command


def _training(process: subprocess.Popen[str]) -> list[int]:
    """The ranks' process ids, once all of them train."""
    return [int(match[1]) for match in _until_said(process, r"\[\d+\] training (\d+)\n")]


def _until_said(process: subprocess.Popen[str], pattern: str) -> list[re.Match[str]]:
    """Read what a launch prints until every rank has said this."""
    assert process.stdout is not None
    assert process.stderr is not None
    found: list[re.Match[str]] = []
    for line in process.stdout:
        found += [match for match in [re.fullmatch(pattern, line)] if match]
        if len(found) == RANKS:
            return found
    raise AgainError(f"a launch ended and its ranks had not said {pattern}: {_said(process.stderr.read())}")


def _said(text: str) -> str:
    return " | ".join(text.strip().splitlines()[-6:])


class _Process:
    """Somebody's process, whose end can be waited for."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._descriptor = os.pidfd_open(pid)

    def wait(self, deadline: float) -> None:
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise AgainError(f"rank with process id {self._pid} did not end")

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


@contextlib.contextmanager
def rack_that_is_up(log: Path) -> Iterator[str]:
    """A rack held by a process of its own; what it says goes to `log`."""
    name = f"again-{os.getpid()}"
    command = [*COMMAND, "up", "--name", name, "--hosts", str(RANKS + 1)]
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        deadline = time.monotonic() + LIMIT_S
        while not ((found := record.load(name)) and found.up):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AgainError(f"the rack did not come up: {_said(log.read_text())}")
            time.sleep(0.1)
        yield name
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def epochs_begun(log: str) -> list[tuple[str, int]]:
    """(job, epoch) of every run that a rack said it began, in order."""
    return [(name, int(epoch)) for name, epoch in re.findall(r"job (\S+): a run begins, epoch (\d+)", log)]


def measure(
    rounds: int, policies: Sequence[str], seed: int, folder: Path, say: Callable[[str], None]
) -> dict[str, list[Round]]:
    """All rounds by policy, gloo's first. AgainError where one is not as it should be."""
    found: dict[str, list[Round]] = {}
    with rack_that_is_up(folder / "rack.log") as rack:
        gloo = train(rack, GLOO, folder)
        found = {how: [] for how in (GLOO, *policies)}
        rngs = {how: random.Random(f"{seed} {how}") for how in found}
        for number in range(rounds):
            for how, rng in rngs.items():  # by turns: other load on the machine meets all alike
                each = one_round(rack, how, rng, gloo, folder)
                found[how].append(each)
                pressed = each.interrupt
                say(
                    f"{how} {number + 1}/{rounds}: Ctrl-C at {pressed.moment_s:.2f} s; ranks stopped in"
                    f" {pressed.stopped_s:.2f} s, ended in {pressed.ranks_s:.2f} s, the launch in"
                    f" {pressed.launch_s:.2f} s; weights {each.away:.1e} away"
                )
        begun = epochs_begun((folder / "rack.log").read_text())
    if len(set(begun)) != len(begun) or len(begun) < 2 * rounds * len(policies):
        raise AgainError(f"an epoch was given twice, or a run not begun: {begun}")
    return found


def table(found: dict[str, list[Round]]) -> Table:
    shown = Table("sums by", "whole runs", "interrupts", "weights away", "stopped", "ended", "launch ended")
    shown.title = "seconds from Ctrl-C: median and worst"
    for how, rounds in found.items():
        pressed = [each.interrupt for each in rounds]
        times = zip(*((each.stopped_s, each.ranks_s, each.launch_s) for each in pressed), strict=True)
        shown.add_row(
            how,
            str(len(rounds)),
            str(len(pressed)),
            f"{max(each.away for each in rounds):.1e}",
            *(f"{median(each):.2f}, {max(each):.2f}" for each in map(list, times)),
        )
    return shown


def wrong(found: dict[str, list[Round]]) -> list[str]:
    """What is beyond its bound, in words."""
    lines = []
    for how, rounds in found.items():
        for number, each in enumerate(rounds, 1):
            if each.away > BOUND:
                lines.append(f"{how}, round {number}: weights {each.away:.1e} away, more than {BOUND:g}")
            if each.interrupt.stopped_s > STOPPED_WITHIN_S:
                lines.append(f"{how}, round {number}: ranks stopped {each.interrupt.stopped_s:.1f} s after Ctrl-C")
    return lines


def again(rounds: int, names: str | None, seed: int) -> None:
    """So many rounds of each of these policies, separated by commas.

    BadInput, NotRootError before anything starts; AgainError where a round was other than it should be.
    """
    policies = names.split(",") if names else list(POLICIES)
    if unknown := sorted(set(policies) - set(POLICIES)):
        raise BadInput(f"policies: '{unknown[0]}'; allowed: {', '.join(POLICIES)}")
    console = Console(highlight=False)
    require_root()
    with interruptible("the rack is down, nothing is kept"), tempfile.TemporaryDirectory(prefix="esa-again-") as folder:
        found = measure(rounds, policies, seed, Path(folder), lambda text: console.print(f"  {text}"))
    console.print(table(found))
    problems = wrong(found)
    for line in problems:
        console.print(f"  {line}", soft_wrap=True)
    if problems:
        raise AgainError(f"{len(problems)} rounds beyond their bounds: {problems[0]}")
