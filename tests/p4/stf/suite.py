"""The packet tests in a folder of p4c's samples: found, compiled (kept), run, judged."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from esa.switch import Pipeline
from esa.switch.errors import UnsupportedError
from tests.p4.stf import bmv2, embedded, wired
from tests.p4.stf.script import parse
from tests.p4.stf.verdict import difference
from tests.p4.stf.wires import MIN_FRAME

COMPILER = "p4c-bm2-ss"
PASSED, FAILED, REFUSED, NOT_COMPILED, NO_FRAMES = "passed", "failed", "refused", "not compiled", "no frames"
_COMPILE_LIMIT_S = 600  # of a machine with much else to do


@dataclass(frozen=True)
class Test:
    """`name`: without its ending, below the samples' folder."""

    name: str
    program: Path
    script: Path

    __test__ = False  # not for pytest


@dataclass(frozen=True)
class Result:
    """One of the five outcomes, and why where it is not the first."""

    outcome: str
    reason: str = ""


def find(samples: Path) -> list[Test]:
    """Every pair of a v1model (or P4_14) program and an STF under a folder, by name."""
    tests = []
    for script in sorted(samples.rglob("*.stf")):
        program = script.with_suffix(".p4")
        if program.exists() and (_is_p4_14(program) or "v1model.p4" in program.read_text(errors="replace")):
            tests.append(Test(str(script.relative_to(samples).with_suffix("")), program, script))
    return tests


def lacking(samples: Path | None) -> str:
    """What a run needs and this machine has not; empty if nothing."""
    if samples is None:
        return "p4c's packet tests: P4C_SAMPLES names the folder, testdata/p4_16_samples in p4lang/p4c"
    if shutil.which(COMPILER) is None:
        return f"{COMPILER} on the PATH"
    return "" if samples.is_dir() else f"the folder {samples}"


def _is_p4_14(program: Path) -> bool:
    return "p4_14_samples" in program.parts


@cache
def _version() -> str:
    return subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True).stdout


def compiled(test: Test, kept: Path) -> Path:
    """The program's JSON, kept by the texts that it may include. Raises ValueError if it does not compile."""
    included = sorted(path for path in test.program.parent.glob("*") if path.suffix in (".h", ".p4inc"))
    texts = [path.read_bytes() for path in (test.program, *included)]
    digest = hashlib.sha256(b"\0".join([_version().encode(), test.name.encode(), *texts])).hexdigest()[:16]
    path = kept / f"{test.name.replace('/', '_')}-{digest}.json"
    if path.exists():
        return path
    kept.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    _compile(test, draft, ["-o", str(draft)])
    draft.replace(path)
    return path


def p4info(test: Test, kept: Path) -> Path:
    """The program's P4Info, kept beside its JSON. Raises ValueError if it does not compile."""
    path = compiled(test, kept).with_suffix(".p4info.txt")
    if not path.exists():
        draft = path.with_suffix(".draft.txt")
        with tempfile.NamedTemporaryFile(suffix=".json") as unused:
            _compile(test, draft, ["-o", unused.name, "--p4runtime-files", str(draft)])
        draft.replace(path)
    return path


def _compile(test: Test, made: Path, options: Sequence[str]) -> None:
    command = [COMPILER, "--std", "p4-14" if _is_p4_14(test.program) else "p4-16", *options, str(test.program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_LIMIT_S, check=False)
    if done.returncode or not made.exists():
        errors = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise ValueError(errors[0] if errors else f"{COMPILER} ended with status {done.returncode}")


def run_embedded(test: Test, kept: Path, *, native: bool = False) -> Result:
    """Run a test on the embedded switch; `native`: as machine code, which takes time to compile."""
    try:
        path = compiled(test, kept)
    except ValueError as error:
        return Result(NOT_COMPILED, str(error))
    program = json.loads(path.read_text())
    try:
        pipeline = Pipeline.load(program, compiled=native)
    except UnsupportedError as error:
        return Result(REFUSED, str(error))
    return _judge(test, lambda commands: embedded.run(pipeline, program, commands))


def run_esa_switch(test: Test, kept: Path) -> Result:
    """Run a test on `esa-switch`, a process with veth ports."""
    try:
        path, info = compiled(test, kept), p4info(test, kept)
    except ValueError as error:
        return Result(NOT_COMPILED, str(error))
    program = json.loads(path.read_text())
    if result := _no_frames(test):
        return result
    return _on_wires(test, program, _judge(test, lambda commands: wired.run_embedded(path, info, program, commands)))


def run_bmv2(test: Test, kept: Path, *, veth: bool = False) -> Result:
    """Run a test on simple_switch, with pipes or `veth` ports; what it did is kept beside the program."""
    try:
        path = compiled(test, kept)
    except ValueError as error:
        return Result(NOT_COMPILED, str(error))
    if veth and (result := _no_frames(test)):
        return result
    digest = hashlib.sha256(test.script.read_bytes()).hexdigest()[:8]
    verdict = path.with_suffix(f".{digest}.bmv2-{'veth' if veth else 'pipes'}")
    if not verdict.exists():
        program = json.loads(path.read_text())
        run = wired.run_bmv2 if veth else bmv2.run
        result = _judge(test, lambda commands: run(path, program, commands))
        if veth:
            result = _on_wires(test, program, result)
        if result.reason.startswith(subprocess.TimeoutExpired.__name__):  # the machine's, not the switch's
            return result
        verdict.write_text(json.dumps([result.outcome, result.reason]))
    return Result(*json.loads(verdict.read_text()))


def _no_frames(test: Test) -> Result | None:
    """The result of a test with packets that no Ethernet carries."""
    reason = wired.too_short(parse(test.script.read_text()))
    return None if reason is None else Result(NO_FRAMES, reason)


def _on_wires(test: Test, program: dict[str, Any], result: Result) -> Result:
    """A result on wires; where a test failed because no wire carries what leaves, which the script need not say, that.

    What leaves is what does without wires.
    """
    if result.outcome == FAILED:
        left = embedded.run(Pipeline.load(program, compiled=False), program, parse(test.script.read_text()))
        shortest = min((len(packet) for packets in left.values() for packet in packets), default=MIN_FRAME)
        if shortest < MIN_FRAME:
            return Result(NO_FRAMES, f"{shortest} bytes leave, and no frame has less than {MIN_FRAME}")
    return result


def fits_wires(test: Test) -> bool:
    """Whether Ethernet carries a test's packets."""
    return _no_frames(test) is None


def sample(tests: Sequence[Test], count: int) -> list[Test]:
    """So many of the tests, evenly over their names."""
    count = min(count, len(tests))
    return [tests[len(tests) * at // count] for at in range(count)]


def _judge(test: Test, run: Any) -> Result:
    try:
        commands = parse(test.script.read_text())
        reason = difference(commands, run(commands))
    except Exception as error:  # whatever a switch trips over is the test's result
        return Result(FAILED, f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Result(PASSED) if reason is None else Result(FAILED, reason)


def counts(results: Sequence[Result]) -> dict[str, int]:
    """How many tests had which outcome."""
    names = (PASSED, FAILED, REFUSED, NOT_COMPILED, NO_FRAMES)
    return {name: sum(r.outcome == name for r in results) for name in names}
