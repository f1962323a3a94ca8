"""The loop: change an input, run it, keep it if it took a new branch (or one more often), and write down what fails."""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scapy.layers.l2 import Ether

from esa.scapy_layer import ESA
from tests.fuzz import coverage, machines
from tests.fuzz.server_target import ServerTarget
from tests.fuzz.steps import STEP, joined, mutated
from tests.fuzz.switch_target import SwitchTarget
from tests.fuzz.system_target import SystemTarget
from tests.fuzz.worker_target import WorkerTarget

CORPUS = Path(__file__).parent / "corpus"
TARGETS = (SwitchTarget, WorkerTarget, ServerTarget, SystemTarget)
_MAX_CRASHES = 20  # of one target; more say the same


class DifferentError(AssertionError):
    """Two builds of the same code did not do the same."""


def load(name: str, corpus: Path = CORPUS) -> Iterator[tuple[Path, np.ndarray]]:
    """The kept inputs of a target."""
    for path in sorted((corpus / name).glob("*.steps")):
        data = path.read_bytes()
        yield path, np.frombuffer(data[: len(data) // STEP.itemsize * STEP.itemsize], STEP)


def compare(target: Any, steps: np.ndarray) -> None:
    """Run an input as shipped and as plain Python. Raises what the target finds, and DifferentError."""
    shipped = target.run(machines.shipped(), steps)
    if shipped != target.run(machines.plain(), steps):
        raise DifferentError("compiled and plain Python do different things")


@dataclass
class Campaign:
    """One target: what was reached, the inputs that reached it, and what failed."""

    target: Any
    rng: np.random.Generator
    inputs: list[np.ndarray] = field(default_factory=list)
    reached: np.ndarray = field(default_factory=lambda: np.zeros(coverage.branches(), np.uint8))
    crashes: dict[str, tuple[np.ndarray, str]] = field(default_factory=dict)
    executions: int = 0
    seconds: float = 0.0

    def run(self, steps: np.ndarray) -> bool:
        """Run an input counted; whether it did something new. New ones are run in the other builds, too."""
        coverage.start()
        self.executions += 1
        try:
            self.target.run(machines.counted(), steps)
            reached = coverage.reached()
            if not np.any(reached & ~self.reached):
                return False
            self.reached |= reached
            self.inputs.append(steps)
            compare(self.target, steps)
        except Exception as error:  # whatever it is, it is a finding
            self._crashed(steps, error)
            return False
        return True

    def _crashed(self, steps: np.ndarray, error: Exception) -> None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        key = f"{type(error).__name__} {Path(last.filename).name}:{last.lineno}"
        if key not in self.crashes and len(self.crashes) < _MAX_CRASHES:
            self.crashes[key] = shrunk(steps, lambda s: self._fails(s, key)), traceback.format_exc()

    def _fails(self, steps: np.ndarray, key: str) -> bool:
        try:
            self.target.run(machines.counted(), steps)
            if key.startswith(DifferentError.__name__):
                compare(self.target, steps)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            return key == f"{type(error).__name__} {Path(last.filename).name}:{last.lineno}"
        return False

    def fuzz(self, until: float) -> None:
        start = time.monotonic()
        try:
            while time.monotonic() < until:
                recent = self.rng.random() < 0.3
                pick = self.inputs[-8:] if recent else self.inputs
                steps, other = (pick[int(self.rng.integers(len(pick)))] if pick else np.zeros(0, STEP) for _ in "ab")
                self.run(mutated(self.rng, steps, other, self.target.genuine))
        finally:
            self.seconds += time.monotonic() - start

    def minimal(self) -> list[np.ndarray]:
        """The fewest inputs, by greed, that take every branch as often as all of them."""
        covers = []
        for steps in self.inputs:
            coverage.start()
            try:
                self.target.run(machines.counted(), steps)
            except Exception:
                continue
            covers.append((coverage.reached().copy(), steps))
        covered, kept = np.zeros_like(self.reached), []
        while covers:
            gains = [int(np.bitwise_count(c & ~covered).sum()) / (1 + len(s)) for c, s in covers]
            best = int(np.argmax(gains))
            if gains[best] == 0:
                break
            cover, steps = covers.pop(best)
            covered |= cover
            kept.append(steps)
        return kept


def shrunk(steps: np.ndarray, fails: Callable[[np.ndarray], bool]) -> np.ndarray:
    """A shorter input that fails the same way: halves, then single steps, taken away."""
    size = len(steps) // 2
    while size:
        at = 0
        while at < len(steps):
            fewer = joined([steps[:at], steps[at + size :]])
            if fails(fewer):
                steps = fewer
            else:
                at += size
        size //= 2
    return steps


def keep(name: str, inputs: list[np.ndarray], corpus: Path = CORPUS) -> None:
    """Make the corpus of a target these inputs."""
    folder = corpus / name
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {hashlib.sha256(s.tobytes()).hexdigest()[:16] + ".steps": s for s in inputs}
    for path in folder.glob("*.steps"):
        if path.name not in wanted:
            path.unlink()
    for file, steps in wanted.items():
        (folder / file).write_bytes(steps.tobytes())


def describe(target: Any, steps: np.ndarray) -> str:
    """An input for people: its steps, packets dissected by Scapy."""
    lines = []
    for number, (line, data) in enumerate(target.readable(steps)):
        lines.append(f"--- {number}: {line}")
        if data:
            lines.append((Ether(data) if target.name in ("switch", "system") else ESA(data)).show(dump=True))
    return "\n".join(lines)


def write_crashes(campaign: Campaign, folder: Path, seed: int) -> list[Path]:
    """One file to read and one to run again for each crash; the paths of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for key, (steps, trace) in campaign.crashes.items():
        name = f"{campaign.target.name}-{hashlib.sha256(steps.tobytes()).hexdigest()[:12]}"
        (folder / f"{name}.steps").write_bytes(steps.tobytes())
        paths.append(folder / f"{name}.txt")
        text = f"target {campaign.target.name}, seed {seed}\n{key}\n\n{trace}\n{describe(campaign.target, steps)}\n"
        paths[-1].write_text(text)
    return paths
