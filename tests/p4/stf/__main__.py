"""`python -m tests.p4.stf [FOLDER]`: p4c's packet tests on the embedded switch, beside BMv2 with `--bmv2`, as a table.

FOLDER (or P4C_SAMPLES): testdata/p4_16_samples of p4lang/p4c at the version of the p4c-bm2-ss on the PATH, or its
testdata, with the P4_14 samples. With `--veth`, as root, both switches are processes with veth ports: a sample of the
tests whose packets Ethernet carries, or all of them with `--sample 0`.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.p4.stf.suite import (
    PASSED,
    Result,
    Test,
    counts,
    find,
    fits_wires,
    lacking,
    run_bmv2,
    run_embedded,
    run_esa_switch,
    sample,
)

_AT_ONCE = 6  # simple_switch mostly waits
_VETH_SAMPLE = 20


def main() -> int:
    """Print a line for each test that did not pass, and the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.p4.stf", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=os.environ.get("P4C_SAMPLES"))
    parser.add_argument("--bmv2", action="store_true", help="run simple_switch, too (once; its verdicts are kept)")
    parser.add_argument("--native", action="store_true", help="run the embedded switch as machine code")
    parser.add_argument("--veth", action="store_true", help="run esa-switch, a process with veth ports")
    parser.add_argument(
        "--sample", type=int, metavar="N", help=f"N tests, evenly; 0: all (default: all, {_VETH_SAMPLE} with --veth)"
    )
    parser.add_argument("--all", action="store_true", help="also print the tests that pass")
    parser.add_argument("-k", default="", help="only tests whose name has this in it")
    parser.add_argument("--kept", type=Path, default=Path("results/stf"), help="where compiled programs are kept")
    arguments = parser.parse_args()
    samples = None if arguments.folder is None else Path(arguments.folder)
    if lacks := lacking(samples):
        print(f"stf: needs {lacks}", file=sys.stderr)
        return 2
    assert samples is not None
    tests = [test for test in find(samples) if arguments.k in test.name]
    if arguments.veth and not arguments.k:
        tests = [test for test in tests if fits_wires(test)]
    count = (_VETH_SAMPLE if arguments.veth else 0) if arguments.sample is None else arguments.sample
    tests = sample(tests, count) if count else tests
    theirs = None
    if arguments.bmv2:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            theirs = list(pool.map(lambda test: run_bmv2(test, arguments.kept, veth=arguments.veth), tests))
    mine = []
    for at, test in enumerate(tests):
        result = _run(test, arguments)
        mine.append(result)
        other = f" (BMv2: {theirs[at].outcome})" if theirs is not None and theirs[at] != result else ""
        if result.outcome != PASSED or other or arguments.all:
            print(f"{test.name:55} {result.outcome:12}{other} {result.reason}")
    print(f"embedded switch: {', '.join(f'{count} {name}' for name, count in counts(mine).items())}")
    if theirs is not None:
        both = sum(one.outcome == other.outcome == PASSED for one, other in zip(mine, theirs, strict=True))
        print(f"BMv2: {', '.join(f'{count} {name}' for name, count in counts(theirs).items())}")
        print(f"of those that BMv2 passes: {both} of {counts(theirs)[PASSED]}")
    return 0


def _run(test: Test, arguments: argparse.Namespace) -> Result:
    if arguments.veth:
        return run_esa_switch(test, arguments.kept)
    return run_embedded(test, arguments.kept, native=arguments.native)


if __name__ == "__main__":
    sys.exit(main())
