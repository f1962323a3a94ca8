"""`python -m tests.p4.tutorials [EXERCISE ...]`: p4lang/tutorials' solutions on both switches, what was seen of each.

The environment's P4_TUTORIALS names the folder of p4lang/tutorials.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from pathlib import Path

from tests.p4.tutorials.exercises import RUNS, Seen
from tests.p4.tutorials.mininet_run import MininetRun, lacking, tutorials

SWITCHES = ("simple_switch_grpc", "esa-switch-grpc")


def see(exercise: str, switch: str, work: Path) -> Seen:
    """Run an exercise's solution; returns what was to be seen."""
    with MininetRun(tutorials(), exercise, switch, work) as net:
        return RUNS[exercise][0](net)


def main() -> int:
    """Print what each exercise showed; 1 if something else was to be seen."""
    parser = argparse.ArgumentParser(prog="python -m tests.p4.tutorials", description=__doc__.splitlines()[0])
    parser.add_argument("exercises", nargs="*", metavar="EXERCISE", help=", ".join(RUNS))
    parser.add_argument("--switch", choices=SWITCHES, action="append", help="only this one")
    parser.add_argument("--work", type=Path, help="where the copies, logs and captures go (default: nowhere kept)")
    options = parser.parse_args()
    if unknown := [name for name in options.exercises if name not in RUNS]:
        parser.error(f"{unknown[0]}: {', '.join(RUNS)} are allowed")
    if lacks := lacking():
        print(f"tutorials: needs {lacks}", file=sys.stderr)
        return 2
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for exercise in options.exercises or RUNS:
            for switch in options.switch or SWITCHES:
                try:
                    seen = see(exercise, switch, options.work or Path(folder))
                except Exception:
                    seen = {"failed": traceback.format_exc()}
                right = seen == RUNS[exercise][1]
                wrong += not right
                print(f"{exercise:15} {switch:20} {'as it should' if right else 'WRONG'} {seen}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
